/**
 * The memory (RSS) and the delay of the event loop of the library's server, and of the hand-written one, on PostgreSQL under load: GET /me,
 * lists, gets and creates of 10,000 callers in turns, over 32 connections. Prints them after each tenth of the requests, so that one sees
 * whether the memory stays flat. The third server is the library's again, with --max-semi-space-size=16: without it, Node gives a process
 * more memory for new objects than it needs. Aim: at most twice the memory of the hand-written server. All run from the built package.
 *
 *     npm run build && POSTGRES_URL=postgres://... REQUESTS=100000 npx tsx bench/memory.ts
 */
import { median, rounded, saveResult } from './results.js'
import { keepingAgent, openDocuments, type ServerPlan, send, workloads } from './servers/documents.js'

const requests = Number(process.env.REQUESTS ?? 100_000)
const samples = 10
const connections = 32
const aim = 2
const admin = process.env.POSTGRES_URL
if (!admin) throw new Error('Set POSTGRES_URL: this bench is about PostgreSQL.')

const names = ['ours', 'limited', 'floor'] as const
type Name = (typeof names)[number]
const plans: Record<Name, ServerPlan> = {
  ours: { side: 'ours' },
  limited: { side: 'ours', options: ['--max-semi-space-size=16'] },
  floor: { side: 'floor' },
}
const { servers, callers, database, clean, close } = await openDocuments(admin, plans, 10_000)
const agent = keepingAgent(connections)
const calls = Object.values(workloads)

/** Sends so many requests: each caller sends one of each workload, then the next caller does. */
async function load(name: Name, from: number, count: number): Promise<void> {
  const { side, port } = servers[name]
  let turn = from
  const loop = async () => {
    while (turn < from + count) {
      const [i, round] = [turn % calls.length, Math.floor(turn / calls.length)]
      turn += 1
      const [caller, call] = [callers[round % callers.length], calls[i]]
      if (caller && call) await send(agent, port, caller.tokens[side], call(caller, round))
    }
  }
  await Promise.all(Array.from({ length: connections }, loop))
}

interface Sample {
  readonly requests: number
  /** Megabytes. */
  readonly rss: number
  /** Milliseconds of delay of the event loop since the sample before. */
  readonly p50: number
  readonly p99: number
  readonly perSecond: number
}

const measured: Record<Name, Sample[]> = { ours: [], limited: [], floor: [] }
const lastOf = (name: Name): Sample => measured[name].at(-1) as Sample
try {
  console.log(`requests: MB of RSS, p50 and p99 of the event loop's delay in ms: ${names.join(', ')}`)
  for (let sample = 0; sample <= samples; sample += 1) {
    const count = sample === 0 ? 0 : requests / samples
    for (const name of names) {
      await servers[name].usage()
      const begun = performance.now()
      await load(name, (sample - 1) * count, count)
      const perSecond = Math.round(count / ((performance.now() - begun) / 1000))
      const { rss, delay } = await servers[name].usage()
      const [p50, p99] = count === 0 ? [0, 0] : [rounded(delay.p50), rounded(delay.p99)]
      measured[name].push({ requests: sample * count, rss: rounded(rss), p50, p99, perSecond })
      await clean()
    }
    const columns = names.map((name) => {
      const { rss, p50, p99 } = lastOf(name)
      return `${rss.toFixed(0).padStart(6)} MB ${p50.toFixed(1).padStart(6)} ${p99.toFixed(1).padStart(6)} ms`
    })
    console.log(`  ${String((sample * requests) / samples).padStart(8)} ${columns.join(' |')}`)
  }
  for (const name of names) {
    const list = measured[name]
    // The first half fills the caches and compiles the code.
    const growth = lastOf(name).rss / (list[samples / 2] as Sample).rss
    const ratio = lastOf(name).rss / lastOf('floor').rss
    const p99 = median(list.slice(1).map((one) => one.p99))
    console.log(
      `  ${name.padEnd(8)} ${ratio.toFixed(2)} of the floor's memory, ${growth.toFixed(2)} in the second half, median p99 ${p99.toFixed(1)} ms`,
    )
  }
  if (lastOf('ours').rss > aim * lastOf('floor').rss) process.exitCode = 1
  saveResult('memory', [database], measured)
} finally {
  agent.destroy()
  await close()
}
