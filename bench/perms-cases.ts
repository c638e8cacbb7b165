import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import type * as Objection from 'objection'
import type * as Library from 'objection-perms'

/** One operation through the library and the same one by hand. */
export interface Case {
  readonly name: string
  readonly ours: () => PromiseLike<unknown>
  readonly plain: () => PromiseLike<unknown>
}

export interface Cases {
  readonly cases: readonly Case[]
  /** Runs fn as the user whose rows the operations use. Plain classes run outside: inside, the library refuses them its tables. */
  asUser<T>(fn: () => T): Promise<Awaited<T>>
  close(): Promise<void>
}

const documents = 2000

/**
 * Fills a database and returns the operations of the benchmarks.
 *
 * @param library the package to measure, and `objection` the one that it uses
 * @param bare a Knex instance of the same database for plain Objection, which may be the same one
 */
export async function openCases(library: typeof Library, objection: typeof Objection, knex: Knex, bare: Knex): Promise<Cases> {
  const { BasePermsModel, column, createTables, HasUserMixin, initPerms, runAs, User, UserOwnershipMixin } = library
  const { Model, snakeCaseMappers } = objection

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

  const perms = initPerms({ knex, passwords: { cost: 10 } })
  await dropTables(knex)
  await perms.migrate()
  await createTables(knex, [BenchDocument])
  await knex.schema.alterTable('bench_document', (table) => table.index(['category']))
  const me = await User.create({ email: 'a@example.com' })
  const other = await User.create({ email: 'b@example.com' })
  const ids: string[] = []
  for (let i = 0; i < documents; i += 1) {
    const owner = i % 2 === 0 ? me : other
    const values = { title: `title ${i}`, content: 'x'.repeat(200), category: `category ${i % 50}`, userId: owner.id }
    const row = await BenchDocument.create(values)
    if (owner === me) ids.push(row.id)
  }
  if (knex.client.driverName === 'pg') await knex.raw('analyze')
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
  return { cases, asUser: (fn) => runAs(me, fn), close: () => perms.close() }
}

async function dropTables(knex: Knex): Promise<void> {
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
    'perms_tables',
  ])
    await knex.schema.dropTableIfExists(table)
}
