/**
 * How long GET /health waits while 8 clients sign in at bcrypt cost 12 on the same server, beside the same without sign-ins; and
 * how many sign-ins a second that is.
 *
 *     npx tsx bench/health.ts [seconds]
 */
import { spawn } from 'node:child_process'
import { Agent, request } from 'node:http'
import { fileURLToPath } from 'node:url'

const seconds = Number(process.argv[2] ?? 10)
const port = 4320
const clients = 8
const agent = new Agent({ keepAlive: true })

function send(method: string, path: string, body?: object): Promise<number> {
  return new Promise((resolve, reject) => {
    const text = body && JSON.stringify(body)
    const headers = text ? { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) } : {}
    const sent = request({ agent, host: '127.0.0.1', port, method, path, headers }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(answer.statusCode ?? 0))
    })
    sent.on('error', reject)
    sent.end(text)
  })
}

const quantile = (list: number[], q: number): number =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))] ?? 0

/** Milliseconds that /health took, asked every 10 ms whether the one before was answered or not. */
async function watchHealth(): Promise<number[]> {
  const waits: number[] = []
  const pending: Promise<void>[] = []
  const end = performance.now() + seconds * 1000
  for (let next = performance.now(); next < end; next += 10) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, next - performance.now())))
    const begun = performance.now()
    pending.push(
      send('GET', '/health').then(() => {
        waits.push(performance.now() - begun)
      }),
    )
  }
  await Promise.all(pending)
  return waits
}

const child = spawn(process.execPath, ['--import', 'tsx', fileURLToPath(new URL('./servers/sign-in.ts', import.meta.url))], {
  env: { ...process.env, PORT: String(port), NODE_ENV: 'production' },
  stdio: 'inherit',
})
try {
  for (let i = 0; !(await send('GET', '/health').catch(() => 0)); i += 1) {
    if (child.exitCode !== null || i > 300) throw new Error('The server did not start.')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  const signIn = () => send('POST', '/api/users/login/', { email: 'ada@example.com', password: 'correct horse battery' })
  if ((await signIn()) !== 200) throw new Error('sign-in failed')
  const calm = await watchHealth()
  let isOver = false
  let signIns = 0
  const loops = Array.from({ length: clients }, async () => {
    while (!isOver) {
      if ((await signIn()) !== 200) throw new Error('sign-in failed')
      signIns += 1
    }
  })
  const busy = await watchHealth()
  isOver = true
  const counted = signIns
  await Promise.all(loops)
  const line = (waits: number[]) =>
    `p50 ${quantile(waits, 0.5).toFixed(1)}, p99 ${quantile(waits, 0.99).toFixed(1)}, max ${Math.max(...waits).toFixed(1)} ms`
  console.log(`GET /health, nobody signing in:        ${line(calm)}`)
  console.log(`GET /health, ${clients} signing in (cost 12):     ${line(busy)}`)
  console.log(`sign-ins: ${(counted / seconds).toFixed(1)} a second`)
} finally {
  child.kill()
  agent.destroy()
}
