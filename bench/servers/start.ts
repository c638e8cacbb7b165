import { spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'

/** A server of this folder in a process of its own, and a client that keeps its connections. */
export interface BenchServer {
  /** @returns the status */
  send(method: string, path: string, body?: object): Promise<number>
  stop(): Promise<void>
}

/** Starts `sign-in.ts` and waits until it answers. */
export async function startSignInServer(options: {
  port: number
  cost: number
  hasher?: 'threads' | 'native' | 'main'
}): Promise<BenchServer> {
  const { port, cost, hasher = 'threads' } = options
  const agent = new Agent({ keepAlive: true })
  const send: BenchServer['send'] = (method, path, body) =>
    new Promise((resolve, reject) => {
      const text = body && JSON.stringify(body)
      const headers = text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}
      const sent = request({ agent, host: '127.0.0.1', port, method, path, headers }, (answer) => {
        answer.resume()
        answer.on('end', () => resolve(answer.statusCode ?? 0))
      })
      sent.on('error', reject)
      sent.end(text)
    })
  const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('./sign-in.ts', import.meta.url))], {
    env: { ...process.env, PORT: String(port), COST: String(cost), HASHER: hasher, NODE_ENV: 'production' },
    // It ends with its standard input, and so with this process, however that ends.
    stdio: ['pipe', 'inherit', 'inherit'],
  })
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  for (let i = 0; !(await send('GET', '/health').catch(() => 0)); i += 1) {
    if (child.exitCode !== null || i > 300) throw new Error('The server did not start.')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return {
    send,
    async stop() {
      agent.destroy()
      child.stdin.end()
      await ended
    },
  }
}
