/**
 * Measures shared() against owner(): 1,000,000 rows, each shared with one user, on every server that can be reached (POSTGRES_URL,
 * MARIADB_URL) and better-sqlite3. All rules show the same number of rows per condition. Prints medians in milliseconds.
 *
 *     npx tsx bench/shares.ts [rounds] [users]
 */
import Knex from 'knex'
import { initPerms, permsMigrations } from '../src/index.js'
import { type Actor, runAsActor } from '../src/policy/context.js'
import { EACH, fillSheets, idOf, OwnSheet, SharedSheet, Sheet } from './shares-world.js'

const rounds = Number(process.argv[2] ?? 15)
const users = Number(process.argv[3] ?? 50_000)
const actor = (id: number): Actor => ({ id: id as never, user: {}, grants: [], sessionId: null, abilities: null, impersonatorId: null })
const median = (list: number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

const cases: [string, (model: typeof Sheet, id: string) => PromiseLike<unknown>][] = [
  ['get one', (model, id) => model.query().findById(id)],
  ['list 20', (model) => model.query().orderBy('id').limit(20)],
  ['count', (model) => model.query().resultSize()],
]
const rules = [
  ['owner()', OwnSheet],
  ['shared()', SharedSheet],
  ['anyOf(owner(), shared())', Sheet],
] as const

const servers: [string, string | undefined][] = [
  ['better-sqlite3', ':memory:'],
  ['pg', process.env.POSTGRES_URL],
  ['mysql2', process.env.MARIADB_URL],
]
for (const [name, connection] of servers) {
  if (connection === undefined) continue
  const knex = Knex({ client: name, connection: name === 'better-sqlite3' ? { filename: connection } : connection, useNullAsDefault: true })
  const perms = initPerms({ knex, tables: { prefix: 'bench_shares_' }, models: [Sheet, SharedSheet, OwnSheet] })
  await knex.schema.dropTableIfExists('bench_sheet')
  await perms.migrate()
  await fillSheets(knex, users)
  console.log(`${name}: ms by rule: ${rules.map(([title]) => title).join(', ')} (median of ${rounds})`)
  for (const [title, work] of cases) {
    const times: number[][] = rules.map(() => [])
    for (let round = 0; round <= rounds; round += 1) {
      const user = 1 + ((round * 37) % (users - 1))
      for (const [i, [, model]] of rules.entries()) {
        const id = idOf((i === 1 ? user - 1 : user) * EACH)
        const from = performance.now()
        await runAsActor(actor(user), () => work(model, id))
        if (round > 0) times[i]?.push(performance.now() - from)
      }
    }
    console.log(`  ${title.padEnd(10)} ${times.map((list) => median(list).toFixed(2).padStart(8)).join(' ')}`)
  }
  await knex.schema.dropTableIfExists('bench_sheet')
  await knex.migrate.rollback({ migrationSource: permsMigrations(), tableName: 'bench_shares_migrations' }, true)
  for (const table of ['bench_shares_migrations', 'bench_shares_migrations_lock']) await knex.schema.dropTableIfExists(table)
  await perms.close()
  await knex.destroy()
}
