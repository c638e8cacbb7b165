/**
 * Requests per second through the Express adapter against hand-written Express, knex and jsonwebtoken, on PostgreSQL, in the
 * same run: 10,000 users, 100,000 documents, 30 of them the caller's. Prints the median of the per-round ratios (above 1: ahead
 * of the floor). The library is measured as it is published, so build it first.
 *
 *     npm run build && POSTGRES_URL=postgres://... npx tsx bench/http.ts [rounds] [seconds a slice]
 *     CACHE_CALLERS=5 ... npx tsx bench/http.ts              measures the library with the option cacheCallers
 */
import type { Agent } from 'node:http'
import { median, rounded, saveResult } from './results.js'
import { type Call, type Caller, keepingAgent, openDocuments, type Side, send, workloads } from './servers/documents.js'

const rounds = Number(process.argv[2] ?? 7)
const sliceMs = Number(process.argv[3] ?? 2) * 1000
const connections = 32
const sides = ['ours', 'floor'] as const
const admin = process.env.POSTGRES_URL
if (!admin) throw new Error('Set POSTGRES_URL: this bench is about PostgreSQL.')

async function perSecond(agent: Agent, port: number, token: string, next: () => Call, ms: number): Promise<number> {
  const end = Date.now() + ms
  let done = 0
  const loop = async () => {
    while (Date.now() < end) {
      await send(agent, port, token, next())
      done += 1
    }
  }
  await Promise.all(Array.from({ length: connections }, loop))
  return (done * 1000) / ms
}

const { servers, callers, database, close } = await openDocuments(admin, { ours: { side: 'ours' }, floor: { side: 'floor' } })
try {
  const [caller] = callers as [Caller]
  let turn = 0
  const figures: { workload: string; ratio: number; ours: number; floor: number }[] = []
  console.log(`requests/s, ${connections} connections, median of ${rounds} rounds of ${sliceMs / 1000} s`)
  for (const [workload, call] of Object.entries(workloads)) {
    const next = () => call(caller, turn++)
    const agent = keepingAgent(connections)
    const rates: Record<Side, number[]> = { ours: [], floor: [] }
    for (const side of sides) await perSecond(agent, servers[side].port, caller.tokens[side], next, sliceMs)
    for (let round = 0; round < rounds; round += 1) {
      for (const side of round % 2 === 0 ? sides : sides.toReversed())
        rates[side].push(await perSecond(agent, servers[side].port, caller.tokens[side], next, sliceMs))
    }
    const ratio = median(rates.ours.map((rate, i) => rate / (rates.floor[i] as number)))
    const [ours, floor] = [median(rates.ours), median(rates.floor)]
    console.log(`  ${workload.padEnd(24)} ${ratio.toFixed(2)}   (ours ${ours.toFixed(0)}/s, floor ${floor.toFixed(0)}/s)`)
    figures.push({ workload, ratio: rounded(ratio), ours: Math.round(ours), floor: Math.round(floor) })
    agent.destroy()
  }
  saveResult(process.env.CACHE_CALLERS ? 'http-cached' : 'http', [database], figures)
} finally {
  await close()
}
