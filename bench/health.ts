/**
 * How long GET /health waits while 8 clients sign in at bcrypt cost 12 on the same server, and how many sign-ins a second that is: with
 * the library's threads, beside bcryptjs on the main thread and native bcrypt. With the threads p99 shall be within 20 ms, and the
 * sign-ins no fewer than those of the main thread.
 *
 *     npx tsx bench/health.ts [seconds each]
 */
import { type BenchServer, startSignInServer } from './servers/start.js'

const seconds = Number(process.argv[2] ?? 10)
const clients = 8
const most = 20

const quantile = (list: readonly number[], q: number): number =>
  [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))] ?? 0

/** Milliseconds that /health took, asked every 10 ms whether the one before was answered or not. */
async function watchHealth({ send }: BenchServer): Promise<number[]> {
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

interface Measured {
  readonly waits: readonly number[]
  readonly signIns: number
}

/** @returns what was measured without sign-ins, and with them */
async function measure(hasher: 'threads' | 'main' | 'native'): Promise<[Measured, Measured]> {
  const server = await startSignInServer({ port: 4320, cost: 12, hasher })
  try {
    const signIn = async () => {
      const status = await server.send('POST', '/api/users/login/', { email: 'ada@example.com', password: 'correct horse battery' })
      if (status !== 200) throw new Error(`sign-in: ${status}`)
    }
    await signIn()
    const calm = await watchHealth(server)
    let isOver = false
    let signIns = 0
    const loops = Array.from({ length: clients }, async () => {
      while (!isOver) {
        await signIn()
        signIns += 1
      }
    })
    const begun = performance.now()
    const busy = await watchHealth(server)
    // Until the last answer: a main thread that hashes lets them wait long.
    const counted = signIns / ((performance.now() - begun) / 1000)
    isOver = true
    await Promise.all(loops)
    return [
      { waits: calm, signIns: 0 },
      { waits: busy, signIns: counted },
    ]
  } finally {
    await server.stop()
  }
}

const line = (title: string, { waits, signIns }: Measured) => {
  const [half, slow] = [quantile(waits, 0.5), quantile(waits, 0.99)].map((wait) => wait.toFixed(1).padStart(6))
  console.log(
    `${title.padEnd(34)} ${half} ${slow} ${Math.max(...waits)
      .toFixed(1)
      .padStart(7)} ${signIns.toFixed(1).padStart(10)}`,
  )
}

console.log(`${''.padEnd(34)}    p50    p99     max ms   sign-ins/s`)
const [calm, ours] = await measure('threads')
line('GET /health, nobody signing in', calm)
line(`${clients} signing in, the library's threads`, ours)
const [, main] = await measure('main')
line(`${clients} signing in, bcryptjs on main thread`, main)
const [, native] = await measure('native')
line(`${clients} signing in, native bcrypt`, native)
const isQuick = quantile(ours.waits, 0.99) <= most
const isBusy = ours.signIns >= main.signIns
console.log(`p99 within ${most} ms: ${isQuick ? 'yes' : 'NO'}; as many sign-ins as on the main thread: ${isBusy ? 'yes' : 'NO'}`)
if (!isQuick || !isBusy) process.exitCode = 1
