/**
 * Measures how long the verification of a password takes for each kind of hash, and how long it blocks the event loop: `npx tsx bench/passwords.ts`.
 * The times in the first table should agree within a few percent: they are what a stranger can measure at the sign-in.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import bcrypt from 'bcryptjs'
import { bcryptHasher } from '../src/auth/passwords/bcrypt-hasher.js'

const ROUNDS = 9
const hasher = bcryptHasher()
const password = 'correct horse battery'

const stored: Record<string, string | null> = {
  'a current hash': await hasher.hash(password),
  'no stored hash': null,
  'an unreadable one': 'not a hash',
  'cost 4': bcrypt.hashSync(password, 4),
  'cost 10': bcrypt.hashSync(password, 10),
}
const passwords: Record<string, string> = { right: password, wrong: 'wrong horse', '5000 bytes': 'x'.repeat(5000) }

for (const [what, hash] of Object.entries(stored)) {
  for (const [which, text] of Object.entries(passwords)) {
    const times: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const start = performance.now()
      await hasher.verify(text, hash)
      times.push(performance.now() - start)
    }
    times.sort((a, b) => a - b)
    console.log(`${what.padEnd(20)} ${which.padEnd(12)} ${(times[ROUNDS >> 1] ?? 0).toFixed(1)} ms (median of ${ROUNDS})`)
  }
}

const delay = monitorEventLoopDelay({ resolution: 1 })
delay.enable()
const start = performance.now()
await Promise.all(Array.from({ length: 32 }, () => hasher.verify(password, null)))
const seconds = (performance.now() - start) / 1000
delay.disable()
console.log(
  `32 at once: ${(32 / seconds).toFixed(1)}/s; event loop late by ${(delay.percentile(99) / 1e6).toFixed(1)} ms (p99), ${(delay.max / 1e6).toFixed(1)} ms (max)`,
)
