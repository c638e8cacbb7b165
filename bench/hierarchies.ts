/**
 * Measures related() with recursive against the flat rule: 1,000,000 folders in trees of ten levels, on every server that can be reached
 * (POSTGRES_URL, MARIADB_URL) and better-sqlite3. Both rules show the same number of rows: the user of the flat rule owns the inner folders of
 * a tree, the user of the recursive one only its root. Prints medians in milliseconds.
 *
 *     npx tsx bench/hierarchies.ts [rounds]
 */
import Knex from 'knex'
import { initPerms } from '../src/index.js'
import { type Actor, runAsActor } from '../src/policy/context.js'
import { FlatFolder, Folder, fillFolders, TREE } from './hierarchies-world.js'

const rounds = Number(process.argv[2] ?? 25)
const trees = 1000
const actor = (id: number): Actor => ({ id: id as never, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null })
const median = (list: number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

async function taken(as: Actor, work: () => PromiseLike<unknown>): Promise<number> {
  const from = performance.now()
  await runAsActor(as, work)
  return performance.now() - from
}

const cases: [string, (model: typeof Folder, id: number) => PromiseLike<unknown>][] = [
  ['get one', (model, id) => model.query().findById(id)],
  ['list 20', (model) => model.query().orderBy('id').limit(20)],
  ['count', (model) => model.query().resultSize()],
]

const servers: [string, string | undefined][] = [
  ['better-sqlite3', ':memory:'],
  ['pg', process.env.POSTGRES_URL],
  ['mysql2', process.env.MARIADB_URL],
]
for (const [name, connection] of servers) {
  if (connection === undefined) continue
  const knex = Knex({ client: name, connection: name === 'better-sqlite3' ? { filename: connection } : connection, useNullAsDefault: true })
  await knex.schema.dropTableIfExists('bench_folder')
  const perms = initPerms({ knex, models: [Folder, FlatFolder] })
  await fillFolders(knex, trees)
  console.log(`${name}: ms, the recursive rule, the flat rule, their ratio (median of ${rounds})`)
  for (const [title, work] of cases) {
    const times: [number[], number[]] = [[], []]
    for (let round = 0; round <= rounds; round += 1) {
      const tree = (round * 37) % trees
      const deepest = tree * TREE + TREE
      const both = [
        await taken(actor(tree), () => work(Folder, deepest)),
        await taken(actor(1_000_000 + tree), () => work(FlatFolder as typeof Folder, deepest)),
      ]
      if (round > 0) for (const [i, time] of both.entries()) times[i]?.push(time)
    }
    const [deep, flat] = [median(times[0]), median(times[1])]
    console.log(`  ${title.padEnd(10)} ${deep.toFixed(2).padStart(8)} ${flat.toFixed(2).padStart(8)}   ${(deep / flat).toFixed(2)}`)
  }
  await perms.close()
  await knex.schema.dropTableIfExists('bench_folder')
  await knex.destroy()
}
