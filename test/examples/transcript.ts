import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'

/** A block of a transcript, with the line where it begins. */
export interface Block {
  readonly line: number
  readonly language: string
  readonly text: string
}

/** The fenced blocks of a Markdown document, in their order. */
export function blocksOf(markdown: string): Block[] {
  const lines = markdown.split('\n')
  const blocks: Block[] = []
  for (let i = 0; i < lines.length; i++) {
    const language = /^```(\w+)$/.exec(lines[i] ?? '')?.[1]
    if (language === undefined) continue
    const end = lines.indexOf('```', i)
    blocks.push({ line: i + 1, language, text: lines.slice(i + 1, end).join('\n') })
    i = end
  }
  return blocks
}

/** A shell that keeps its variables from one command to the next. */
export class Shell {
  readonly #child: ChildProcess
  readonly #ended: Promise<unknown>
  #output = ''
  #onOutput: () => void = () => {}

  constructor(cwd: string) {
    this.#child = spawn('sh', [], { cwd, stdio: ['pipe', 'pipe', 'pipe'] })
    this.#ended = once(this.#child, 'exit')
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => {
        this.#output += chunk.toString()
        this.#onOutput()
      })
    }
  }

  /** @returns what the commands printed, errors too */
  async run(commands: string): Promise<string> {
    const end = '---- that was all ----\n'
    this.#output = ''
    const done = new Promise<void>((resolve) => {
      this.#onOutput = () => {
        if (this.#output.endsWith(end)) resolve()
      }
    })
    this.#child.stdin?.write(`${commands}\nprintf '\\n%s' '${end.trimEnd()}'\necho\n`)
    await Promise.race([done, this.#ended])
    return this.#output.slice(0, -end.length).trim()
  }

  async close(): Promise<void> {
    this.#child.stdin?.end()
    await this.#ended
  }
}

const kinds = [
  /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/, // an id
  /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/,
  /^[A-Z2-7]{32}$/, // a secret in base32
  /^(?:[a-z2-9]{5}-){5}[a-z2-9]$/, // a recovery code
]

/** Whether a text is as the transcript has it: '...' is anything, and ids, moments and secrets are others each time. */
export function isAlike(written: string, actual: string): boolean {
  if (kinds.some((kind) => kind.test(written) && kind.test(actual))) return true
  const parts = written.split('...').map((part) => part.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  return new RegExp(`^${parts.join('[^]+')}$`).test(actual)
}

/** Where an answer differs from the one in the transcript; undefined where it does not. */
export function difference(written: unknown, actual: unknown, path = 'the answer'): string | undefined {
  if (typeof written === 'string' && typeof actual === 'string')
    return isAlike(written, actual) ? undefined : `${path} is ${JSON.stringify(actual)} and not ${JSON.stringify(written)}`
  if (!isObject(written) || !isObject(actual) || Array.isArray(written) !== Array.isArray(actual))
    return written === actual ? undefined : `${path} is ${JSON.stringify(actual)} and not ${JSON.stringify(written)}`
  const keys = [Object.keys(written), Object.keys(actual)].map((some) => some.sort().join(', '))
  if (keys[0] !== keys[1]) return `${path} has ${keys[1]} and not ${keys[0]}`
  for (const [key, value] of Object.entries(written)) {
    const found = difference(value, actual[key], `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null
