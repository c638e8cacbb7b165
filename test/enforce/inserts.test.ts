import { expect } from 'chai'
import { Model } from 'objection'
import {
  anyOf,
  authenticated,
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  everyone,
  initPerms,
  type Perms,
  runAs,
  TooManyValuesError,
  transaction,
  User,
  where,
} from '../../src/index.js'
import { countQueries, eachDriver } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const told: string[] = []
const columns = { name: column.string({ maxLength: 50 }).unique(), note: column.string().nullable() }

class InsertTag extends BasePermsModel.withColumns(columns) {
  static override policy = { read: everyone(), create: authenticated(), update: authenticated(), delete: authenticated() }
  static override relationMappings(): any {
    const through = { from: 'insert_friend.oneId', to: 'insert_friend.twoId' }
    const join = { from: 'insert_tag.id', through, to: 'insert_tag.id' }
    return { friends: { relation: Model.ManyToManyRelation, modelClass: InsertTag, join } }
  }
  override async $afterInsert(context: never): Promise<void> {
    await super.$afterInsert(context)
    told.push(this.name)
  }
}
class InsertPlain extends BaseModel.withColumns(columns) {}
/** A database makes the ids. */
class InsertCounted extends BaseModel.withColumns({ id: column.integer(), ...columns }) {}

/** Each new row is compared with many values. */
class InsertLong extends BasePermsModel.withColumns({ name: column.string() }) {
  static override policy = {
    read: everyone(),
    create: anyOf(...Array.from({ length: 300 }, (_, i) => where({ name: `no ${i}` })), authenticated()),
  }
}

eachDriver('Inserts', (db) => {
  let perms: Perms
  let me: User

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [InsertTag, InsertPlain, InsertLong] })
    await createTables(db.knex, [User, InsertTag, InsertPlain, InsertLong])
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('insert_counted', (table) => {
      table.increments('id')
      table.string('name').unique()
      table.string('note')
      table.timestamp('created_at')
      table.timestamp('updated_at')
    })
    await db.knex.schema.createTable('insert_friend', (table) => {
      table.uuid('one_id').notNullable()
      table.uuid('two_id').notNullable()
      table.primary(['one_id', 'two_id'])
    })
    me = await User.create({ email: 'me@example.com' })
  })
  after(() => perms?.close())
  beforeEach(async () => {
    for (const table of ['insert_friend', 'insert_tag', 'insert_plain', 'insert_counted', 'insert_long']) await db.knex(table).delete()
    told.length = 0
  })

  const asMe = <T>(fn: () => T) => runAs(me, fn)
  const classes = { InsertTag, InsertPlain, InsertCounted } as const

  for (const [name, given] of Object.entries(classes)) {
    const cls: any = given
    const idsInTable = async () => (await cls.query()).map((row: any) => String(row.id))

    it(`onConflict().ignore() gives a row that was not inserted no id: ${name}`, async () => {
      const first = await asMe(async () => await cls.query().insert({ name: 'a' }).onConflict('name').ignore())
      expect(await idsInTable()).to.deep.equal([String(first.id)])
      const second = await asMe(async () => await cls.query().insert({ name: 'a', note: 'second' }).onConflict('name').ignore())
      expect([second.name, second.note, second.id]).to.deep.equal(['a', 'second', undefined])
      const third = await asMe(async () => await cls.query().insertAndFetch({ name: 'a' }).onConflict('name').ignore())
      expect(third.id).to.equal(undefined)
      const fetched = await asMe(async () => await cls.query().insertAndFetch({ name: 'b' }).onConflict('name').ignore())
      expect(await idsInTable()).to.have.members([String(first.id), String(fetched.id)])
      const returned =
        db.dialect === 'mysql'
          ? null
          : await asMe(async () => await cls.query().insert({ name: 'a' }).onConflict('name').ignore().returning('*'))
      expect(returned?.id).to.equal(undefined)
      if (cls === InsertTag) expect(told).to.deep.equal(['a', 'b'])
    })

    it(`onConflict().ignore() of several rows gives those that were inserted: ${name}`, async function () {
      // Objection inserts several rows at once on PostgreSQL only.
      if (db.dialect !== 'pg') this.skip()
      await cls.query().insert({ name: 'b' })
      told.length = 0
      for (const method of ['insert', 'insertAndFetch']) {
        const names = ['a', 'b', 'c'].map((one) => ({ name: one === 'b' ? one : `${one} ${method}` }))
        const rows = await asMe(async () => await cls.query()[method](names).onConflict('name').ignore())
        const stored = new Map((await cls.query()).map((row: any) => [row.name, row.id]))
        expect(rows.map((row: any) => [row.name, row.id])).to.deep.equal([
          [`a ${method}`, stored.get(`a ${method}`)],
          [`c ${method}`, stored.get(`c ${method}`)],
        ])
      }
      if (cls === InsertTag) expect(told).to.deep.equal(['a insert', 'c insert', 'a insertAndFetch', 'c insertAndFetch'])
      const none = await asMe(
        async () =>
          await cls
            .query()
            .insert([{ name: 'b' }, { name: 'b' }])
            .onConflict('name')
            .ignore(),
      )
      expect(none).to.deep.equal([])
      const some = await asMe(
        async () =>
          await cls
            .query()
            .insert([{ name: 'b' }, { name: 'd' }])
            .onConflict('name')
            .ignore()
            .returning('name'),
      )
      expect(await idsInTable()).to.include(String(some[0].id))
    })
  }

  it('relate() with onConflict().ignore() returns the number of created links', async () => {
    const [first, second]: any[] = [await InsertTag.query().insert({ name: 'a' }), await InsertTag.query().insert({ name: 'b' })]
    const relate = (ids: unknown) =>
      asMe(async () => await first.$relatedQuery('friends').relate(ids).onConflict(['one_id', 'two_id']).ignore())
    expect(await relate(second.id)).to.equal(1)
    expect(await relate(second.id)).to.equal(0)
    if (db.dialect === 'pg') expect(await relate([first.id, second.id])).to.equal(1)
    expect(await db.knex('insert_friend')).to.have.length(db.dialect === 'pg' ? 2 : 1)
  })

  it('onConflict().merge() returns the id of the changed row', async function () {
    if (db.dialect === 'mysql') this.skip()
    const first = await InsertPlain.query().insert({ name: 'a' })
    const merged = await InsertPlain.query().insert({ name: 'a', note: 'new' }).onConflict('name').merge(['note'])
    expect(merged.id).to.equal(first.id)
    expect(await InsertPlain.query().findById(first.id)).to.include({ note: 'new' })
  })

  const many = (count: number) => Array.from({ length: count }, (_, i) => ({ name: `row ${i}` }))

  it('an insert of more rows than one statement allows inserts all of them or none', async function () {
    if (db.dialect !== 'pg') this.skip()
    this.timeout(60_000)
    const rows = await asMe(async () => await InsertTag.query().insert(many(9000) as never))
    expect(rows).to.have.length(9000)
    expect(await InsertTag.query().resultSize()).to.equal(9000)
    await InsertTag.query().delete().where('name', '<>', 'row 8999')
    expect(await rejection(asMe(async () => await InsertTag.query().insert(many(9000) as never)))).to.have.property('code', 'taken')
    expect(await InsertTag.query().resultSize()).to.equal(1)
    await InsertTag.query().delete()
    await asMe(() =>
      transaction(async () => {
        await rejection(InsertTag.query().insert([...many(2000), ...many(1)] as never) as never)
        await InsertTag.query().insert(many(1000) as never)
      }),
    )
    expect(await InsertTag.query().resultSize()).to.equal(1000)
    const { statements } = await countQueries(db.knex, () => InsertPlain.query().insert(many(500) as never))
    expect(statements).to.have.length(1)
  })

  it('an insert of many rows succeeds when the policy compares each with many values', async function () {
    if (db.dialect !== 'pg') this.skip()
    await asMe(async () => await InsertLong.query().insert(many(1200) as never))
    expect(await InsertLong.query().resultSize()).to.equal(1200)
  })

  it('[promise 47] refuses a statement with too many values, and names the limit', async function () {
    if (db.dialect === 'mysql') this.skip()
    const ids = Array.from({ length: 70_000 }, () => crypto.randomUUID())
    const limit = db.dialect === 'pg' ? '65535' : '32766'
    const statements: Record<string, () => PromiseLike<unknown>> = {
      find: () => InsertTag.query().whereIn('id', ids),
      findByIds: () => InsertTag.query().findByIds(ids),
      patch: () => InsertTag.query().patch({ note: 'x' }).whereIn('id', ids),
      delete: () => InsertTag.query().delete().whereIn('id', ids),
      count: () => InsertTag.query().whereIn('id', ids).resultSize(),
      plain: () => InsertPlain.query().whereIn('id', ids),
      inTransaction: () => transaction(async () => await InsertTag.query().whereIn('id', ids)),
    }
    for (const [what, run] of Object.entries(statements)) {
      const error = await rejection(asMe(async () => await run()))
      expect(error, what).to.be.instanceOf(TooManyValuesError).and.to.include({ status: 422, code: 'too_many_values' })
      expect(error.message).to.include(limit)
    }
    expect(await InsertTag.query().resultSize()).to.equal(0)
  })

  it('a driver that sends values in the text accepts 70,000 values', async function () {
    if (db.dialect !== 'mysql') this.skip()
    const ids = Array.from({ length: 70_000 }, () => crypto.randomUUID())
    expect(await asMe(async () => await InsertTag.query().whereIn('id', ids))).to.deep.equal([])
  })
})
