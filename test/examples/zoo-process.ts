import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startInSharedProcess } from '../helpers/shared-process/programs.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** The example server in a process of its own, as `npm start` runs it. */
export interface ZooProcess {
  readonly url: string
  /** The text that it has printed so far. */
  output(): string
  /** The link in the last mail of this subject to an address; mail goes out after the answer. @throws Error where none comes */
  link(to: string, subject: string): Promise<string>
  /** Ends it with a signal. @returns the exit code */
  stop(signal?: NodeJS.Signals): Promise<number | null>
}

const settings = `HOST PORT DATABASE_URL JWT_SECRET ADMIN_EMAIL ADMIN_PASSWORD NODE_ENV FRAMEWORK PASSWORD_COST THROTTLE COOKIES
  BASE_URL MAIL MAIL_FROM`.split(/\s+/)

/** Removes the inherited settings of the application: the environment of the test run must not choose the database. */
function environment(env: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const inherited = { ...process.env }
  // It runs on the built package, whose coverage is not measured.
  for (const name of [...settings, 'NODE_V8_COVERAGE']) delete inherited[name]
  return { ...inherited, PORT: '0', ...env }
}

interface Started {
  output(): string
  /** The exit code. */
  readonly ended: Promise<number | null>
  signal(name: NodeJS.Signals): void
}

function start(env: Readonly<Record<string, string>>, onOutput: () => void, command?: readonly string[]): Started {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('The example runs on the built package: npm run build first.')
  // Frameworks read NODE_ENV once.
  if (command === undefined && env['NODE_ENV'] === undefined) return startShared(env, onOutput)
  const [first = process.execPath, ...rest] = command ?? []
  const child = spawn(first, [...rest, '--import', 'tsx', 'examples/zoo/main.ts'], { cwd: root, env: environment(env) })
  let text = ''
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      onOutput()
    })
  const ended = once(child, 'close').then(([code]) => code as number | null)
  return { output: () => text, ended, signal: (name) => void child.kill(name) }
}

/** Starts it in a process that an earlier zoo has used: loading the frameworks takes longer than most tests. */
function startShared(env: Readonly<Record<string, string>>, onOutput: () => void): Started {
  let text = ''
  const file = join(root, 'examples/zoo/main.ts')
  const program = { file, args: [], cwd: root, env: environment(env), stdin: '', folder: join(root, 'examples/zoo') }
  const { ended, signal } = startInSharedProcess(program, {
    node: ['--import', 'tsx'],
    onOutput(more) {
      text += more
      onOutput()
    },
  })
  return { output: () => text, ended: ended.then(({ code }) => (typeof code === 'number' ? code : null)), signal }
}

/** Starts it and waits until it is open. @throws Error with what it printed where it ends before */
export async function startZoo(env: Readonly<Record<string, string>>, command?: string[]): Promise<ZooProcess> {
  let started: Started | undefined
  const url = await new Promise<string>((resolve, reject) => {
    const onOutput = () => {
      const found = /The zoo is open at (http:\/\/\S+)/.exec(started?.output() ?? '')
      if (found) resolve(found[1] as string)
    }
    started = start(env, onOutput, command)
    void started.ended.then((code) => reject(new Error(`The zoo ended with ${code}:\n${started?.output()}`)))
  })
  const { output, ended, signal } = started as Started
  return {
    url,
    output,
    async link(to, subject) {
      const head = `  | To: ${to}\n  | Subject: ${subject}\n`
      for (let i = 0; i < 100; i++) {
        const at = output().lastIndexOf(head)
        const found = at < 0 ? null : /\| (https?:\/\/\S+)/.exec(output().slice(at))
        if (found) return found[1] as string
        await new Promise((resolve) => setTimeout(resolve, 50))
      }
      throw new Error(`No mail '${subject}' to ${to}:\n${output()}`)
    },
    async stop(name = 'SIGTERM') {
      signal(name)
      return await ended
    },
  }
}

/** Runs it where it must not start. @returns how it ended, and what it printed */
export async function failToStart(env: Readonly<Record<string, string>>): Promise<{ code: number | null; output: string }> {
  const { output, ended, signal } = start(env, () => undefined)
  const timer = setTimeout(() => signal('SIGKILL'), 15_000)
  const code = await ended
  clearTimeout(timer)
  return { code, output: output() }
}

/** The lines for the shell that the server printed. */
export function shellLines(output: string): string[] {
  return output.split('\n').filter((line) => /^(curl|\w+=\$\(curl) /.test(line))
}

export const hasCurl = (() => {
  try {
    execFileSync('sh', ['-c', 'command -v curl'])
    return true
  } catch {
    return false
  }
})()

/**
 * Runs printed lines in one shell, in their order; where there is no curl, sends with fetch what they say.
 *
 * @returns for each line what it printed; of assignments, nothing
 */
export async function runShellLines(lines: readonly string[]): Promise<string[]> {
  if (!hasCurl) return await runWithFetch(lines)
  const separator = '----'
  const script = lines.map((line) => `${line}\necho\necho '${separator}'`).join('\n')
  const output = execFileSync('sh', ['-c', script], { encoding: 'utf8' })
  return output
    .split(`${separator}\n`)
    .slice(0, -1)
    .map((text) => text.trim())
}

async function runWithFetch(lines: readonly string[]): Promise<string[]> {
  const variables: Record<string, string> = {}
  const outputs: string[] = []
  for (const line of lines) {
    const url = /http:\/\/\S+/.exec(line)?.[0] as string
    const data = /-d '((?:[^']|'\\'')*)'/.exec(line)?.[1]?.replaceAll("'\\''", "'")
    const token = /Bearer \$(\w+)/.exec(line)?.[1]
    const response = await fetch(url, {
      method: data === undefined ? 'GET' : 'POST',
      headers: {
        ...(data === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${variables[token]}` }),
      },
      ...(data === undefined ? {} : { body: data }),
    })
    const text = await response.text()
    const variable = /^(\w+)=/.exec(line)?.[1]
    if (variable) variables[variable] = (JSON.parse(text) as { access_token: string }).access_token
    outputs.push(variable ? '' : text)
  }
  return outputs
}
