import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

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

function spawnZoo(env: Readonly<Record<string, string>>, command = [process.execPath]): { child: ChildProcess; output: () => string } {
  if (!existsSync(join(root, 'dist/index.js'))) throw new Error('The example runs on the built package: npm run build first.')
  const [first = process.execPath, ...rest] = command
  const child = spawn(first, [...rest, '--import', 'tsx', 'examples/zoo/main.ts'], { cwd: root, env: environment(env) })
  let text = ''
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return { child, output: () => text }
}

/** Starts it and waits until it is open. @throws Error with what it printed where it ends before */
export async function startZoo(env: Readonly<Record<string, string>>, command?: string[]): Promise<ZooProcess> {
  const { child, output } = spawnZoo(env, command)
  const url = await new Promise<string>((resolve, reject) => {
    const look = () => {
      const found = /The zoo is open at (http:\/\/\S+)/.exec(output())
      if (found) resolve(found[1] as string)
    }
    child.stdout?.on('data', look)
    child.once('exit', (code) => reject(new Error(`The zoo ended with ${code}:\n${output()}`)))
  })
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
    async stop(signal = 'SIGTERM') {
      if (child.exitCode !== null) return child.exitCode
      const ended = once(child, 'exit')
      child.kill(signal)
      const [code] = (await ended) as [number | null]
      return code
    },
  }
}

/** Runs it where it must not start. @returns how it ended, and what it printed */
export async function failToStart(env: Readonly<Record<string, string>>): Promise<{ code: number | null; output: string }> {
  const { child, output } = spawnZoo(env)
  const timer = setTimeout(() => child.kill(), 15_000)
  const [code] = (await once(child, 'close')) as [number | null]
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
