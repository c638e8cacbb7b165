/** Reads the raw figures of the bench that compares this library with others, whose runner is not part of this repository. */
import { readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import Knex from 'knex'
import { median, type Result, resultOf, rounded } from '../results.js'
import { versionOf } from '../servers/empty-database.js'
import type { PeersFigures } from './figures.js'

/** The contestants on the page, by their name in the raw figures, and the package that each measures. */
export const contestants: Readonly<Record<string, { readonly title: string; readonly package?: string }>> = {
  ours: { title: 'objection-perms, Express' },
  'ours-node': { title: 'objection-perms, node:http' },
  'ours-cache': { title: 'objection-perms, Express, cacheCallers' },
  floor: { title: 'handwritten: Express, Knex' },
  'floor-objection': { title: 'handwritten: Express, Objection' },
  ceiling: { title: 'handwritten: node:http, pg' },
  'better-auth': { title: 'Better Auth', package: 'better-auth' },
  adonis: { title: 'AdonisJS', package: 'peers/adonis:@adonisjs/core' },
  feathers: { title: 'Feathers', package: 'peers/feathers:@feathersjs/feathers' },
}

/** The workloads on the page: those of http.ts. */
export const peerWorkloads: Readonly<Record<string, string>> = {
  me32: 'GET /me',
  list32: 'list of 20 with total',
  get32: 'get one',
  post32: 'create one',
}

interface Raw {
  readonly node: string
  readonly results: Readonly<Record<string, Readonly<Record<string, readonly { readonly rps: number; readonly errors: number }[]>>>>
}

/**
 * Reads a file of raw figures, such as `out/latest.json` in the folder of that bench.
 *
 * @param database the URL of the PostgreSQL server that was measured
 */
export async function readPeers(file: string, database: string): Promise<Result<PeersFigures>> {
  const { node, results } = JSON.parse(readFileSync(file, 'utf8')) as Raw
  const ratios: Record<string, Record<string, number>> = {}
  for (const workload of Object.keys(peerWorkloads)) {
    const { floor = [], ...others } = results[workload] ?? {}
    const known = Object.entries({ floor, ...others }).filter(([name]) => name in contestants)
    for (const [name, rounds] of known) {
      const errors = rounds.reduce((sum, round) => sum + round.errors, 0)
      if (errors > 0) console.log(`${workload}, ${name}: ${errors} requests failed. Measure again if they are more than a few.`)
    }
    ratios[workload] = Object.fromEntries(
      known.map(([name, rounds]) => [name, rounded(median(rounds.map(({ rps }, i) => rps / (floor[i]?.rps ?? Number.NaN))))]),
    )
  }
  const knex = Knex({ client: 'pg', connection: database, pool: { min: 0, max: 1 } })
  try {
    const figures = { versions: versionsIn(dirname(dirname(file))), ratios }
    return { ...resultOf('peers', [await versionOf(knex)], figures), node, date: statSync(file).mtime.toISOString().slice(0, 10) }
  } finally {
    await knex.destroy()
  }
}

/** The installed versions of the contestants, in the folder of that bench. */
function versionsIn(folder: string): Record<string, string> {
  const found: Record<string, string> = {}
  for (const [name, contestant] of Object.entries(contestants)) {
    if (!contestant.package) continue
    const [module = '', place = '.'] = contestant.package.split(':').reverse()
    const { version } = JSON.parse(readFileSync(join(folder, place, 'node_modules', module, 'package.json'), 'utf8')) as { version: string }
    found[name] = version
  }
  return found
}
