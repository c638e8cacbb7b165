/**
 * Measures what the permissions cost: the same seven operations through this library and through plain Objection with a hand-written
 * where, in the same run, on PostgreSQL (POSTGRES_URL) and better-sqlite3: a file, as it is in production, and in memory, where
 * nothing but this process costs. Plain Objection has connections of its own. Prints the median of the per-round ratios.
 *
 *     npm run build && npx tsx bench/perms.ts [rounds]
 */
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Knex from 'knex'
import { Model, snakeCaseMappers } from 'objection'
import { BasePermsModel, column, createTables, HasUserMixin, initPerms, runAs, User, UserOwnershipMixin } from 'objection-perms'

const rounds = Number(process.argv[2] ?? 9)
const sliceMs = 400
const documents = 2000

class BenchDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
  category: column.string({ maxLength: 40 }).nullable(),
}) {}

class Plain extends Model {
  static override tableName = 'bench_document'
  static override columnNameMappers = snakeCaseMappers()
  static override jsonSchema = {
    type: 'object',
    required: ['title', 'content', 'userId'],
    properties: {
      id: { type: 'string' },
      userId: { type: 'string' },
      title: { type: 'string', maxLength: 200 },
      content: { type: 'string' },
    },
  }
  static override relationMappings = () => ({
    user: { relation: Model.BelongsToOneRelation, modelClass: PlainUser, join: { from: 'bench_document.user_id', to: 'user.id' } },
  })
}
class PlainUser extends Model {
  static override tableName = 'user'
  static override columnNameMappers = snakeCaseMappers()
}

type Case = { readonly name: string; readonly ours: () => PromiseLike<unknown>; readonly plain: () => PromiseLike<unknown> }

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

const median = (list: number[]): number => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)] ?? Number.NaN

async function bench(title: string, make: () => ReturnType<typeof Knex>, concurrency: number): Promise<void> {
  const knex = make()
  // Of the same shape as ours, and untouched by it; a database in memory has but one connection.
  const bare = title.includes('memory') ? knex : make()
  const perms = initPerms({ knex, passwords: { cost: 10 } })
  for (const table of [
    'bench_document',
    'second_factor',
    'invitation',
    'audit_log',
    'user_setting',
    'token',
    'user_role',
    'user',
    'domain',
    'objection_perms_migrations',
    'objection_perms_migrations_lock',
  ])
    await knex.schema.dropTableIfExists(table)
  await perms.migrate()
  await createTables(knex, [BenchDocument])
  await knex.schema.alterTable('bench_document', (table) => table.index(['category']))
  const users = [await User.create({ email: 'a@example.com' }), await User.create({ email: 'b@example.com' })]
  const ids: string[] = []
  for (let i = 0; i < documents; i += 1) {
    const owner = users[i % 2] as User
    const row = await BenchDocument.create({
      title: `title ${i}`,
      content: 'x'.repeat(200),
      category: `category ${i % 50}`,
      userId: owner.id,
    })
    if (owner === users[0]) ids.push(row.id)
  }
  if (title === 'pg') await knex.raw('analyze')
  const me = users[0] as User
  Plain.knex(bare)
  PlainUser.knex(bare)
  let turn = 0
  const next = () => ids[turn++ % ids.length] as string
  const nextCategory = () => `category ${2 * (turn++ % 25)}`
  const cases: Case[] = [
    {
      name: 'find by id',
      ours: () => BenchDocument.query().findById(next()),
      plain: () => Plain.query().findById(next()).where('user_id', me.id),
    },
    {
      name: 'list of 50',
      ours: () => BenchDocument.query().orderBy('createdAt', 'desc').limit(50),
      plain: () => Plain.query().where('user_id', me.id).orderBy('created_at', 'desc').limit(50),
    },
    {
      name: 'equality filter',
      ours: () => BenchDocument.query().where('category', nextCategory()).limit(20),
      plain: () => Plain.query().where('user_id', me.id).where('category', nextCategory()).limit(20),
    },
    {
      name: 'page with total',
      ours: () => BenchDocument.query().orderBy('createdAt', 'desc').page(0, 20),
      plain: () => Plain.query().where('user_id', me.id).orderBy('created_at', 'desc').page(0, 20),
    },
    {
      name: 'joined graph',
      ours: () => BenchDocument.query().withGraphJoined('user').limit(20),
      plain: () => Plain.query().withGraphJoined('user').where('bench_document.user_id', me.id).where('user.id', me.id).limit(20),
    },
    {
      name: 'patch',
      ours: () => BenchDocument.query().findById(next()).patch({ title: 'new' }),
      plain: () =>
        Plain.query()
          .findById(next())
          .where('user_id', me.id)
          .patch({ title: 'new', updatedAt: new Date() } as never),
    },
    {
      name: 'insert',
      ours: () => BenchDocument.query().insert({ title: 'new', content: 'y' }),
      plain: () =>
        Plain.query().insert({
          id: randomUUID(),
          title: 'new',
          content: 'y',
          userId: me.id,
          createdAt: new Date(),
          updatedAt: new Date(),
        } as never),
    },
  ]
  console.log(`${title}: time per operation against plain Objection, median of ${rounds} rounds (below 1 is faster)`)
  for (const { name, ours, plain } of cases) {
    // Plain classes run outside the caller's context: inside it, the library refuses them the tables of models with a policy.
    const measureOurs = () => runAs(me, () => perSecond(ours, concurrency))
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
    console.log(
      `  ${name.padEnd(16)} ${median(ratios).toFixed(2)}   (ours ${median(rates[0] ?? []).toFixed(0)}/s, plain ${median(rates[1] ?? []).toFixed(0)}/s)`,
    )
  }
  await perms.close()
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
if (process.env.POSTGRES_URL) await bench('pg', () => Knex({ client: 'pg', connection: process.env.POSTGRES_URL as string }), 4)
else console.log('PostgreSQL left out: POSTGRES_URL is not set.')
