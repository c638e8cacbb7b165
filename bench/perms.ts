/**
 * Measures what the permissions cost: the same seven operations through this library and through plain Objection with a hand-written
 * where, in the same run, on PostgreSQL (POSTGRES_URL) and better-sqlite3: a file, as it is in production, and in memory, where
 * nothing but this process costs. Plain Objection has connections of its own. Prints the median of the per-round ratios.
 *
 *     npm run build && npx tsx bench/perms.ts [rounds]
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Knex from 'knex'
import * as objection from 'objection'
import * as library from 'objection-perms'
import { openCases } from './perms-cases.js'
import { median, rounded, saveResult } from './results.js'
import { versionOf } from './servers/empty-database.js'

const rounds = Number(process.argv[2] ?? 9)
const sliceMs = 400

async function perSecond(work: () => PromiseLike<unknown>, concurrency: number): Promise<number> {
  const end = Date.now() + sliceMs
  let done = 0
  const started = process.hrtime.bigint()
  const loop = async () => {
    while (Date.now() < end) {
      await work()
      done += 1
    }
  }
  await Promise.all(Array.from({ length: concurrency }, loop))
  return (done * 1e9) / Number(process.hrtime.bigint() - started)
}

const figures: { database: string; operations: Record<string, number> }[] = []
const versions = new Set<string>()

async function bench(title: string, make: () => ReturnType<typeof Knex>, concurrency: number): Promise<void> {
  const knex = make()
  // Of the same shape as ours, and untouched by it; a database in memory has but one connection.
  const bare = title.includes('memory') ? knex : make()
  const { cases, asUser, close } = await openCases(library, objection, knex, bare)
  const operations: Record<string, number> = {}
  versions.add(await versionOf(knex))
  console.log(`${title}: time per operation against plain Objection, median of ${rounds} rounds (below 1 is faster)`)
  for (const { name, ours, plain } of cases) {
    // Plain classes run outside the caller's context: inside it, the library refuses them the tables of models with a policy.
    const measureOurs = () => asUser(() => perSecond(ours, concurrency))
    const measurePlain = () => perSecond(plain, concurrency)
    await measureOurs()
    await measurePlain()
    const ratios: number[] = []
    const rates: number[][] = [[], []]
    for (let round = 0; round < rounds; round += 1) {
      const order = round % 2 === 0 ? [measureOurs, measurePlain] : [measurePlain, measureOurs]
      const seen = new Map<unknown, number>()
      for (const measure of order) seen.set(measure, await measure())
      ratios.push((seen.get(measurePlain) as number) / (seen.get(measureOurs) as number))
      rates[0]?.push(seen.get(measureOurs) as number)
      rates[1]?.push(seen.get(measurePlain) as number)
    }
    operations[name] = rounded(median(ratios))
    console.log(
      `  ${name.padEnd(16)} ${median(ratios).toFixed(2)}   (ours ${median(rates[0] ?? []).toFixed(0)}/s, plain ${median(rates[1] ?? []).toFixed(0)}/s)`,
    )
  }
  figures.push({ database: title, operations })
  await close()
  if (bare !== knex) await bare.destroy()
  await knex.destroy()
}

const sqlite = (filename: string) => () => Knex({ client: 'better-sqlite3', connection: { filename }, useNullAsDefault: true })
const folder = mkdtempSync(join(tmpdir(), 'objection-perms-bench-'))
try {
  await bench('better-sqlite3, file', sqlite(join(folder, 'bench.db')), 1)
} finally {
  rmSync(folder, { recursive: true, force: true })
}
await bench('better-sqlite3, memory', sqlite(':memory:'), 1)
if (process.env.POSTGRES_URL) await bench('PostgreSQL', () => Knex({ client: 'pg', connection: process.env.POSTGRES_URL as string }), 4)
else console.log('PostgreSQL left out: POSTGRES_URL is not set.')
saveResult('perms', [...versions], figures)
