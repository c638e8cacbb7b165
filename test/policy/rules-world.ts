import fc from 'fast-check'
import type { Knex } from 'knex'
import { type JSONSchema, Model, snakeCaseMappers } from 'objection'
import {
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  type Perms,
  PermsMixin,
  type SqlRule,
  Token,
  User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { dialectOf } from '../../src/schema/storage.js'
import type { SuiteIds } from '../helpers/id-kinds.js'
import type { Caller, Ids, Row } from './rules-plans.js'

const grantsOfCallers: Caller['grants'][] = [
  [],
  [{ role: 'admin', domain: null }],
  [{ role: 'superadmin', domain: 'press' }],
  [
    { role: 'editor', domain: 'press' },
    { role: 'user', domain: 'zoo' },
  ],
  [
    { role: 'editor', domain: null },
    { role: 'admin', domain: 'zoo' },
  ],
  [
    { role: 'Editor', domain: 'closed' },
    { role: 'admin', domain: 'closed' },
  ],
]

/** The relations of things. The names of columns are those of the database. */
function relationsOf(classes: { Maker: typeof Model; Part: typeof Model; Label: typeof Model }): any {
  const labels = (filter?: (query: any) => unknown) => ({
    relation: Model.ManyToManyRelation,
    modelClass: classes.Label,
    join: {
      from: 'thing.id',
      through: { from: 'thing_label.thing_id', to: 'thing_label.label_id', ...(filter ? { filter } : {}) },
      to: 'label.id',
    },
  })
  const parts = { relation: Model.HasManyRelation, modelClass: classes.Part, join: { from: 'thing.id', to: 'part.thing_id' } }
  return {
    maker: { relation: Model.BelongsToOneRelation, modelClass: classes.Maker, join: { from: 'thing.maker_id', to: 'maker.id' } },
    parts,
    heavyParts: { ...parts, filter: (query: any) => query.where('part.weight', '>', 1) },
    labels: labels(),
    firstLabels: labels((query) => query.where('place', 1)),
  }
}

/** Models that declare their columns. */
function declaredModels(ids: SuiteIds) {
  const values = {
    str: column.string({ maxLength: 20 }).nullable(),
    txt: column.text().nullable(),
    int: column.integer().nullable(),
    dec: column.decimal(8, 2).nullable(),
    big: column.bigint().nullable(),
    yes: column.boolean().nullable(),
    day: column.date().nullable(),
    at: column.datetime().nullable(),
    uid: ids.column().nullable(),
    kind: column.enum(['a', 'B', 'ä']).nullable(),
  }
  const rank = column.integer().nullable()
  class Maker extends BaseModel.withColumns({ id: ids.key(), name: column.string(), rank }) {}
  class Part extends HasUserMixin(BaseModel).withColumns({ id: ids.key(), thingId: ids.column().nullable(), weight: rank }) {
    static override userIdNullable = true
  }
  class Label extends BaseModel.withColumns({ id: ids.key(), word: column.string() }) {}
  class Thing extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns({
    id: ids.key(),
    ...values,
    makerId: ids.column().nullable(),
  }) {
    static override userIdNullable = true
    static override unguarded = ['domain']
    static override adminBypass = false
    static override relationMappings = () => relationsOf({ Maker, Part, Label })
  }
  return { Maker, Part, Label, Thing }
}

/** Models of an application that only JSON Schemas describe. */
function legacyModels(ids: SuiteIds) {
  const id = {
    integer: { type: 'integer' },
    bigint: { type: 'integer' },
    uuid: { type: 'string', format: 'uuid' },
    string: { type: 'string' },
  }[ids.name]
  const nullable = (type: string, more: object = {}) => ({ type: [type, 'null'], ...more })
  const reference = { ...id, type: [id.type, 'null'] }
  const schema = (properties: object): JSONSchema => ({ type: 'object', properties: { id, ...properties } }) as JSONSchema
  class AppModel extends Model {
    static override columnNameMappers = snakeCaseMappers()
  }
  class Maker extends AppModel {
    static override tableName = 'maker'
    static override jsonSchema = schema({ name: { type: 'string' }, rank: nullable('integer') })
  }
  class Part extends HasUserMixin(PermsMixin(AppModel)) {
    static override tableName = 'part'
    static override userIdNullable = true
    static override jsonSchema = schema({ thingId: reference, weight: nullable('integer') })
  }
  class Label extends AppModel {
    static override tableName = 'label'
    static override jsonSchema = schema({ word: { type: 'string' } })
  }
  class Thing extends HasDomainMixin(HasUserMixin(PermsMixin(AppModel))) {
    static override tableName = 'thing'
    static override userIdNullable = true
    static override unguarded = ['domain']
    static override adminBypass = false
    static override jsonSchema = schema({
      str: nullable('string', { maxLength: 20 }),
      txt: nullable('string'),
      int: nullable('integer'),
      dec: nullable('number'),
      yes: nullable('boolean'),
      uid: reference,
      kind: { enum: ['a', 'B', 'ä', null] },
      makerId: reference,
    })
    static override relationMappings = () => relationsOf({ Maker, Part, Label })
  }
  return { Maker, Part, Label, Thing } as unknown as ReturnType<typeof declaredModels>
}

/** Creates the tables as an application does that does not know the library, with the default collation of the database. */
async function createLegacyTables(knex: Knex, ids: SuiteIds): Promise<void> {
  const dialect = dialectOf(knex)
  const key = (table: Knex.CreateTableBuilder, name: string) => ids.inTable(table, name, dialect)
  await knex.schema.createTable('maker', (table) => {
    key(table, 'id').primary()
    table.string('name')
    table.integer('rank')
  })
  await knex.schema.createTable('thing', (table) => {
    key(table, 'id').primary()
    table.string('str', 20)
    table.text('txt')
    table.integer('int')
    table.decimal('dec', 8, 2)
    table.boolean('yes')
    table.string('kind', 9)
    for (const name of ['uid', 'maker_id', 'user_id', 'domain_id']) key(table, name).nullable()
  })
  await knex.schema.createTable('part', (table) => {
    for (const name of ['thing_id', 'user_id']) key(table, name).nullable()
    key(table, 'id').primary()
    table.integer('weight')
  })
  await knex.schema.createTable('label', (table) => {
    key(table, 'id').primary()
    table.string('word')
  })
}

export type RulesWorld = Awaited<ReturnType<typeof openRules>>

/** Fills a database with random rows, which the seed determines. */
export async function openRules(
  knex: Knex,
  ids: SuiteIds,
  { isLegacy, seed, samples }: { isLegacy: boolean; seed: number; samples: Readonly<Record<string, readonly unknown[]>> },
) {
  const dialect = dialectOf(knex)
  if (dialect === 'sqlite') await knex.raw('pragma synchronous = off')
  const { Maker, Part, Label, Thing } = (isLegacy ? legacyModels : declaredModels)(ids)
  // UUIDs are the default of the library's models.
  const isDefault = ids.name === 'uuid'
  const Account = isDefault ? User : (class Account extends User.withColumns({ id: ids.key() }) {} as unknown as typeof User)
  const Place = isDefault ? Domain : (class Place extends Domain.withColumns({ id: ids.key() }) {} as unknown as typeof Domain)
  const perms: Perms = initPerms({
    knex,
    user: Account,
    domain: Place,
    models: isLegacy ? [Thing, Part as never] : [Thing, Maker, Part, Label],
  })
  await createTables(knex, [Account, UserRole, Place, Token, UserSetting, ...(isLegacy ? [] : [Maker, Thing, Part, Label])])
  if (isLegacy) await createLegacyTables(knex, ids)
  await knex.schema.createTable('thing_label', (table) => {
    for (const name of ['thing_id', 'label_id']) ids.inTable(table, name, dialect)
    table.integer('place')
  })

  let count = 0
  const next = () => ids.nth(++count)
  // A JSON Schema describes a BIGINT as a number, while the ids of users are strings.
  const isNumeric = isLegacy && ids.name === 'bigint'
  const ownId = () => (isNumeric ? (Number(next()) as never) : next())
  const domains: Record<keyof Ids, Domain> = {
    press: await Place.create({ id: next(), name: 'press' }),
    zoo: await Place.create({ id: next(), name: 'zoo' }),
    closed: await Place.create({ id: next(), name: 'closed' }),
  }
  const callers: (Caller | null)[] = [null]
  for (const [i, grants] of grantsOfCallers.entries()) {
    const user = await Account.create({ id: next(), email: `u${i}@example.com` })
    for (const { role: name, domain } of grants)
      await UserRole.create({ user, role: name, ...(domain ? { domain: domains[domain] } : {}) } as never)
    callers.push({ id: user.id, grants })
  }
  await domains.closed.update({ active: false } as never)
  const domainIds: Ids = { press: domains.press.id, zoo: domains.zoo.id, closed: domains.closed.id }

  const users = callers.flatMap((caller) => (caller ? [caller.id] : []))
  const sample = (name: string) => fc.constantFrom(...(samples[name] as unknown[]))
  const userSample = fc.constantFrom(...(isNumeric ? users.map(Number) : users))
  const column = (name: string) => (name === 'uid' ? fc.oneof(sample(name), userSample) : sample(name))
  const small = fc.option(fc.constantFrom(0, 1, 2))
  const rowOf = fc.record({
    userId: fc.option(fc.constantFrom(...users)),
    domainId: fc.option(fc.constantFrom(...Object.values(domainIds))),
    // Each column is sometimes NULL.
    values: fc.record(Object.fromEntries(Object.keys(samples).map((name) => [name, fc.option(column(name), { freq: 4 })]))),
    rank: small,
    hasMaker: fc.boolean(),
    parts: fc.array(fc.record({ userId: fc.option(fc.constantFrom(...users)), weight: small }), { maxLength: 3 }),
    labels: fc.uniqueArray(fc.record({ word: fc.constantFrom('a', 'b'), place: fc.constantFrom(1, 2) }), {
      maxLength: 2,
      selector: ({ word }) => word,
    }),
  })
  const rows: Row[] = []
  const labels = { a: ownId(), b: ownId() }
  await knex.transaction(async (trx) => {
    for (const [word, id] of Object.entries(labels)) await Label.query(trx).insert({ id, word })
    for (const made of fc.sample(rowOf, { seed, numRuns: 60 })) {
      const maker = made.hasMaker ? { id: ownId(), rank: made.rank } : null
      if (maker) await Maker.query(trx).insert({ ...maker, name: 'm' } as never)
      const { userId, domainId } = made
      const id = ownId()
      await Thing.query(trx).insert({ id, ...made.values, userId, domainId, makerId: maker?.id ?? null } as never)
      for (const part of made.parts) await Part.query(trx).insert({ id: ownId(), ...part, thingId: id } as never)
      for (const { word, place } of made.labels) await trx('thing_label').insert({ thing_id: id, label_id: labels[word as 'a'], place })
      rows.push({ ...made, id, maker } as unknown as Row)
    }
  })

  /** Creates a class with this policy. All these classes have the same table. */
  function thingWith(policy: SqlRule): typeof Thing {
    return class extends Thing {
      static override tableName = 'thing'
      static override policy = { read: policy }
    }
  }
  return { perms, Account, Thing, thingWith, press: domains.press, domainIds, callers, rows }
}
