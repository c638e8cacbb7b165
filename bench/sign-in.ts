/**
 * How long a sign-in that fails takes, over HTTP and in all, by why it fails: what a stranger can measure. The kinds take turns, in
 * another order each time. The medians shall differ by less than 5 %.
 *
 *     npx tsx bench/sign-in.ts [tries of each kind, 400] [cost of bcrypt, 10]
 */
import { startSignInServer } from './servers/start.js'

const tries = Number(process.argv[2] ?? 400)
const cost = Number(process.argv[3] ?? 10)
const most = 0.05
const server = await startSignInServer({ port: 4330, cost })

const kinds = {
  'known, wrong password': 'ada@example.com',
  'unknown address': 'nobody@example.com',
  'no password set': 'bea@example.com',
  'disabled, wrong password': 'cyn@example.com',
  'hash of cost 4, wrong password': 'dot@example.com',
}
const times = new Map<string, number[]>(Object.keys(kinds).map((kind) => [kind, []]))
const quantile = (list: readonly number[], q: number): number => [...list].sort((a, b) => a - b)[Math.floor(list.length * q)] ?? 0

/** Fisher and Yates. */
function shuffled<T>(list: readonly T[]): T[] {
  const order = [...list]
  for (let i = order.length - 1; i > 0; i -= 1) {
    const j = Math.floor(Math.random() * (i + 1))
    const [a, b] = [order[i] as T, order[j] as T]
    order[i] = b
    order[j] = a
  }
  return order
}

try {
  const warmUp = 5
  for (let round = -warmUp; round < tries; round += 1) {
    for (const [kind, email] of shuffled(Object.entries(kinds))) {
      const begun = performance.now()
      const status = await server.send('POST', '/api/users/login/', { email, password: 'a wrong password' })
      if (status !== 401) throw new Error(`${kind}: ${status}`)
      if (round >= 0) times.get(kind)?.push(performance.now() - begun)
    }
  }
} finally {
  await server.stop()
}

const medians = [...times.values()].map((list) => quantile(list, 0.5))
const [base = 0] = medians
const where = process.env.POSTGRES_URL ? 'PostgreSQL' : 'SQLite'
console.log(`${tries} tries each, cost ${cost}, ${where}: the median, how far it is from the first, the middle 80 %`)
for (const [kind, list] of times) {
  const [low, median, high] = [0.1, 0.5, 0.9].map((q) => quantile(list, q)) as [number, number, number]
  const difference = `${((median / base - 1) * 100).toFixed(1)} %`
  console.log(
    `${kind.padEnd(32)} ${median.toFixed(2).padStart(7)} ms ${difference.padStart(8)}   ${low.toFixed(2)} to ${high.toFixed(2)} ms`,
  )
}
const spread = Math.max(...medians) / Math.min(...medians) - 1
console.log(`The slowest takes ${(spread * 100).toFixed(1)} % longer than the fastest: ${spread < most ? 'fine' : 'TOO MUCH'}.`)
if (spread >= most) process.exitCode = 1
