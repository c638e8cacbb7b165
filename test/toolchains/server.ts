import { type ChildProcess, spawn } from 'node:child_process'

/** A server in a process of its own. */
export interface Server {
  readonly url: string
  /** The text that it has printed so far. */
  output(): string
  stop(): Promise<void>
}

/**
 * Starts a Node program that serves HTTP, and waits until it prints its port.
 *
 * @param port finds the port in what the program has printed
 */
export async function startServer(args: readonly string[], cwd: string, env: NodeJS.ProcessEnv, port: RegExp): Promise<Server> {
  const { NODE_V8_COVERAGE: _coverage, NODE_OPTIONS: _options, ...inherited } = process.env
  const child = spawn(process.execPath, args, { cwd, env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  const ended = new Promise<never>((_, reject) => {
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`The server ended with ${code}:\n${output}`)))
  })
  ended.catch(() => {})
  const found = new Promise<string>((resolve) => {
    const read = (chunk: Buffer) => {
      output += chunk
      const [, number] = port.exec(output) ?? []
      if (number !== undefined) resolve(number)
    }
    child.stdout.on('data', read)
    child.stderr.on('data', read)
  })
  const number = await Promise.race([found, ended])
  return { url: `http://localhost:${number}`, output: () => output, stop: () => stop(child) }
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const gone = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const force = setTimeout(() => child.kill('SIGKILL'), 5000)
  await gone
  clearTimeout(force)
}

/** Sends a request with a JSON body, if there is one. */
export function send(url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  if (body === undefined) return fetch(url, { headers })
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) })
}
