/**
 * Compares the cost of the permissions in two builds of the package, such as before and after a change: CPU time of each operation
 * through the library, relative to plain Objection, on better-sqlite3 in memory. The builds run in processes of their own and take
 * turns, in many short slices. The fifth of the slices that was least disturbed counts, so the result is stable on a busy machine.
 *
 *     npx tsx bench/compare.ts BEFORE AFTER [rounds] [case]...
 *
 * BEFORE and AFTER are folders of the package, each with dist/ (npm run build) and node_modules/. Exits with 1 if a ratio of AFTER is
 * worse by more than 0.10.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Request, Times } from './compare-worker.js'

const allowed = 0.1
const operations = 50
const slices = 10
const warmUp = { slices: 1, operations: 2000 }

const [before, after, roundsText = '20', ...only] = process.argv.slice(2)
if (!before || !after) throw new Error('Usage: npx tsx bench/compare.ts BEFORE AFTER [rounds] [case]...')
const rounds = Number(roundsText)

const worker = fileURLToPath(new URL('./compare-worker.ts', import.meta.url))
const builds = [before, after].map((folder) => fork(worker, [resolve(folder)], { execArgv: ['--import', 'tsx'] }))
for (const build of builds)
  build.once('exit', (code) => {
    if (code) throw new Error(`A build ended with ${code}.`)
  })

const messageFrom = async (build: ChildProcess): Promise<unknown> => (await once(build, 'message'))[0]

async function measure(build: ChildProcess, request: Request): Promise<Times> {
  build.send(request)
  return (await messageFrom(build)) as Times
}

/** The time that a fifth of the slices did not exceed. */
const leastDisturbed = (times: readonly number[]): number => [...times].sort((a, b) => a - b)[Math.floor(times.length / 5)] as number

async function timesOf(name: string): Promise<Times[]> {
  const all: Times[] = builds.map(() => ({ ours: [], plain: [] }))
  for (const build of builds) await measure(build, { name, ...warmUp })
  for (let round = 0; round < rounds; round += 1) {
    for (const [i, build] of builds.entries()) {
      const { ours, plain } = await measure(build, { name, slices, operations })
      all[i]?.ours.push(...ours)
      all[i]?.plain.push(...plain)
    }
  }
  return all
}

const [names = []] = (await Promise.all(builds.map(messageFrom))) as string[][]
console.log('CPU time against plain Objection (microseconds of the library and of plain Objection)')
for (const name of names.filter((one) => only.length === 0 || only.includes(one))) {
  const [old, now] = (await timesOf(name)).map(({ ours, plain }) => ({ ours: leastDisturbed(ours), plain: leastDisturbed(plain) }))
  if (!old || !now) throw new Error('Two builds are needed.')
  const change = now.ours / now.plain - old.ours / old.plain
  if (change > allowed) process.exitCode = 1
  const shown = ({ ours, plain }: { ours: number; plain: number }) =>
    `${(ours / plain).toFixed(2)} (${ours.toFixed(0)} / ${plain.toFixed(0)})`
  console.log(`  ${name.padEnd(16)} before ${shown(old)}, after ${shown(now)}: ${change > 0 ? '+' : ''}${change.toFixed(2)}`)
}
for (const build of builds) build.send('end')
