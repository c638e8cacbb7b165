import { expect } from 'chai'
import { Model, snakeCaseMappers } from 'objection'
import {
  allOf,
  anyOf,
  authenticated,
  explain,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  related,
  runAs,
  User,
  where,
} from '../../src/index.js'
import { createTables } from '../../src/migrations.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

// No model of the library declares these names, so that nothing but the mappers of the class can find the columns.
class AppBase extends Model {
  static override columnNameMappers = snakeCaseMappers()
}

class Fan extends PermsMixin(AppBase) {
  declare admirerId: string
  declare bandId: number
  declare isSecret: boolean
  static override tableName = 'fan'
  static override idColumn = ['admirer_id', 'band_id']
  static override policy = {
    read: anyOf(where({ isSecret: false }), owner('admirerId')),
    create: owner('admirerId'),
    update: owner('admirerId'),
    delete: allOf(owner('admirerId'), where({ isSecret: { ne: true } })),
  }
}

class Band extends PermsMixin(AppBase) {
  declare id: number
  static override tableName = 'band'
  static override relationMappings = {
    fans: { relation: Model.HasManyRelation, modelClass: Fan, join: { from: 'band.id', to: 'fan.band_id' } },
    admirers: {
      relation: Model.ManyToManyRelation,
      modelClass: User,
      join: { from: 'band.id', through: { modelClass: Fan, from: 'fan.band_id', to: 'fan.admirer_id' }, to: 'user.id' },
    },
  }
  static override policy = { read: where({ id: { lt: 10 } }), update: related('fans', owner('admirerId')) }
}

const codeOf = async (query: PromiseLike<unknown>) => ((await rejection(query)) as { code?: string }).code

class Pump extends PermsMixin(Model) {
  declare id: number
  declare updatedAt: string
  static override tableName = 'pump'
  static override columnNames = (property: string) => property
  static override jsonSchema = { type: 'object', properties: { id: { type: 'integer' }, title: { type: 'string' } } }
  static override policy = { read: authenticated(), update: authenticated() }
  override $beforeUpdate(): void {
    this.updatedAt = 'now'
  }
}

eachDatabase('A model whose columnNames keep the names', (db) => {
  it('writes, filters and sorts by undeclared columns whose names other models have too', async () => {
    const perms = initPerms({ knex: db.knex, models: [Pump] })
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('pump', (table) => {
      table.integer('id').primary()
      table.string('title')
      table.string('updatedAt') // the library's own models have the column updated_at
    })
    await db.knex('pump').insert({ id: 1, title: 'Old' })
    const ada = await User.create({ email: 'ada@example.com' })
    const found = await runAs(ada, async () => {
      await Pump.query()
        .findById(1)
        .patch({ title: 'New' } as object)
      return await Pump.query().where('updatedAt', 'now').orderBy('updatedAt').select('updatedAt', 'pump.id')
    })
    expect(found.map((row) => row.toJSON())).to.deep.equal([{ updatedAt: 'now', id: 1 }])
    await perms.close()
  })
})

eachDatabase('A model with columnNameMappers and without a schema', (db) => {
  let perms: Perms
  let [ada, bob]: User[] = []
  const isSecret = () => (db.name === 'pg' ? false : 0)
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Fan, Band] })
    await migrateAtOnce(perms)
    await createTables(db.knex, [])
    await db.knex.schema.createTable('band', (table) => {
      table.integer('id').primary()
      table.string('band_name')
    })
    await db.knex.schema.createTable('fan', (table) => {
      table.string('admirer_id', 36).notNullable()
      table.integer('band_id').notNullable()
      table.boolean('is_secret').notNullable().defaultTo(false)
      table.primary(['admirer_id', 'band_id'])
    })
    ;[ada, bob] = [await User.create({ email: 'ada@example.com' }), await User.create({ email: 'bob@example.com' })]
    await db.knex('band').insert([{ id: 1 }, { id: 11 }])
  })
  after(() => perms.close())

  it('maps the properties that its rules name to columns, in every statement', async () => {
    const mine = { admirerId: String(ada?.id), bandId: 1 }
    await runAs(ada as User, async () => {
      await Fan.query().insert(mine)
      expect(await codeOf(Fan.query().insert({ ...mine, bandId: 11 }))).to.equal('missing_reference')
      expect(await codeOf(Fan.query().findById([mine.admirerId, 1]).patch({ bandId: 11 }))).to.equal('missing_reference')
      const other = { admirerId: String(bob?.id), bandId: 1 }
      expect(await codeOf(Fan.query().insert(other))).to.equal('forbidden')
      expect(await Fan.query().findById([mine.admirerId, 1]).patch({ isSecret: true })).to.equal(1)
      expect(await Fan.query().resultSize()).to.equal(1)
      expect(
        await Band.query()
          .where({ id: 1 })
          .patch({ bandName: 'x' } as object),
      ).to.equal(1)
      expect(await Fan.query().delete()).to.equal(0)
    })
    await runAs(bob as User, async () => {
      expect(await Fan.query().resultSize()).to.equal(0)
      expect(
        await Band.query()
          .where({ id: 1 })
          .patch({ bandName: 'x' } as object),
      ).to.equal(0)
    })
    await db.knex('fan').update({ is_secret: isSecret() })
    expect(await runAs(bob as User, () => Fan.query().resultSize())).to.equal(1)
    expect(await runAs(bob as User, () => Fan.query().delete())).to.equal(0)
    expect(await runAs(ada as User, () => Fan.query().delete())).to.equal(1)
    expect(explain(Fan, 'read', ada as User).sql)
      .to.contain('is_secret')
      .and.to.contain('admirer_id')
      .and.not.to.contain('admirerId')
  })

  it('has rules that name a column as the table does', async () => {
    class Raw extends Fan {
      static override policy = { ...Fan.policy, read: where({ is_secret: false }) }
    }
    expect(explain(Raw, 'read', ada as User).sql).to.contain('is_secret')
  })
})
