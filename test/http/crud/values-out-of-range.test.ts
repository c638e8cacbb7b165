import { expect } from 'chai'
import { type JSONSchema, Model } from 'objection'
import { Api, BaseModel, CrudResource, column, createTables, everyone, initPerms, type Perms, PermsMixin } from '../../../src/index.js'
import { testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

class Thing extends PermsMixin(Model) {
  static override tableName = 'things'
  static override jsonSchema: JSONSchema = {
    type: 'object',
    properties: { id: { type: 'integer' }, size: { type: 'number' }, key: { type: 'string' }, shelf: { type: 'integer' } },
  }
  static override policy = open
}

class Part extends PermsMixin(Model) {
  static override tableName = 'parts'
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, thing_id: { type: 'integer' } } }
  static override policy = open
}

/** A key of 64 bits, larger than the integers of JavaScript. */
class Flake extends PermsMixin(Model) {
  static override tableName = 'flakes'
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' } } }
  static override policy = open
}

class Day extends BaseModel.withColumns({ day: column.date(), big: column.bigint() }) {}

const tooLarge = ['2147483648', '9007199254740993', '9223372036854775807', '9223372036854775808', '99999999999999999999', '-2147483649']

eachDatabase('A value that a column cannot hold', (db) => {
  let perms: Perms
  let ask: Client
  const errors: unknown[] = []
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await db.knex.schema.createTable('things', (table) => {
      table.increments('id')
      table.specificType('size', db.dialect === 'mysql' ? 'float' : 'real')
      if (db.dialect === 'pg') table.uuid('key')
      else table.string('key', 36)
      table.specificType('shelf', 'smallint')
    })
    await db.knex.schema.createTable('parts', (table) => {
      table.increments('id')
      table.integer('thing_id')
    })
    await db.knex.schema.createTable('flakes', (table) => table.bigInteger('id').primary())
    await createTables(db.knex, [Day])
    await db.knex('things').insert({ size: 1.5, key: '00000000-0000-4000-8000-000000000001', shelf: 3 })
    const all = { list: { public: true }, get: { public: true }, create: false, update: { public: true }, delete: { public: true } }
    const resource = (model: typeof Thing | typeof Part | typeof Flake | typeof Day, more: object = {}) =>
      new CrudResource({ model, methods: all, ...more })
    ask = clientOf(
      new Api({
        resources: [
          resource(Thing),
          resource(Thing, { path: 'keyed', name: 'Keyed', id: 'key' }),
          resource(Thing, { path: 'sized', name: 'Sized', id: 'size' }),
          resource(Part, { path: 'parts', parent: { model: Thing, param: 'thing_id' } }),
          resource(Flake),
          resource(Day, { id: 'day' }),
          resource(Day, { path: 'bigs', name: 'Big', id: 'big' }),
        ],
      }),
      perms,
      errors,
    )
  })
  after(() => perms.close())
  afterEach(() => expect(errors).to.deep.equal([]))

  const statusOf = async (method: string, path: string, more: object = {}) => (await ask(method, path, null, more)).status

  it('in a path gives 404, for each method and for parents', async () => {
    expect(await statusOf('GET', '/things/1')).to.equal(200)
    for (const id of tooLarge) {
      expect(await statusOf('GET', `/things/${id}`), id).to.equal(404)
      expect(await statusOf('PATCH', `/things/${id}`, { body: { shelf: 1 } }), id).to.equal(404)
      expect(await statusOf('DELETE', `/things/${id}`), id).to.equal(404)
      expect(await statusOf('GET', `/things/${id}/parts/`), id).to.equal(404)
      expect(await statusOf('GET', `/things/1/parts/${id}`), id).to.equal(404)
      expect(await statusOf('GET', `/bigs/${id}`), id).to.equal(404)
    }
    for (const key of ['x', '1', '00000000-0000-4000-8000-00000000000x', 'x'.repeat(300), '%00'])
      expect(await statusOf('GET', `/keyed/${key}`), key).to.equal(404)
    for (const size of ['1e300', '-1e300', 'NaN', '1e999']) expect(await statusOf('GET', `/sized/${size}`), size).to.equal(404)
    for (const day of ['0001-01-01', '0099-12-31', '9999-12-31', '10000-01-01'])
      expect(await statusOf('GET', `/days/${day}`), day).to.equal(404)
  })

  it('in a filter matches no row, and excludes none', async () => {
    const found = async (query: string) => {
      const { status, body } = await ask('GET', `/things/?${query}`)
      expect(status, `${query}: ${JSON.stringify(body)}`).to.equal(200)
      return body.data.length
    }
    for (const number of ['2147483648', '9007199254740991']) {
      for (const field of ['id', 'shelf']) {
        expect(await found(`${field}=${number}`), field).to.equal(0)
        expect(await found(`${field}__in=1,3,${number}`), field).to.equal(1)
        expect(await found(`${field}__ne=${number}`), field).to.equal(1)
        expect(await found(`${field}__lt=${number}`), field).to.equal(1)
        expect(await found(`${field}__gte=${number}`), field).to.equal(0)
        expect(await found(`${field}__gt=-${number}`), field).to.equal(1)
      }
    }
    expect(await found('size__lt=1e300')).to.equal(1)
    expect(await found('size=1e300')).to.equal(0)
    expect(await found('key__like=0000%25')).to.equal(1)
    expect(await found('key__ilike=x%25')).to.equal(0)
  })

  it('never finds the row with the nearest number', async () => {
    await db.knex.raw('insert into flakes (id) values (9007199254740992)')
    expect(await statusOf('GET', '/flakes/9007199254740993')).to.equal(404)
  })
})
