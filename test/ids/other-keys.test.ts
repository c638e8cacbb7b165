import { expect } from 'chai'
import { Model } from 'objection'
import {
  ActiveRecordMixin,
  Api,
  asSystem,
  BaseModel,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  everyone,
  initPerms,
  type Perms,
  PermsMixin,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

class Country extends BasePermsModel.withColumns({ code: column.string({ maxLength: 2 }), title: column.string() }) {
  static override idColumn = 'code'
  static override policy = open
}
/** Declares its key as Objection's documentation does. */
class Invoice extends BasePermsModel.withColumns({ number: column.integer(), title: column.string() }) {
  static override get idColumn(): string {
    return 'number'
  }
  static override policy = open
}
/** Keeps a column id besides its key. */
class Town extends BaseModel.withColumns({ id: column.uuid().nullable(), townCode: column.string({ maxLength: 9 }) }) {
  static override idColumn = 'town_code'
}
class Flake extends BasePermsModel.withColumns({ id: column.bigint().default(() => String(2n ** 60n + 1n)), title: column.string() }) {
  static override policy = open
}
/** An application's own model, which only its JSON Schema describes. */
class Task extends PermsMixin(ActiveRecordMixin(Model)) {
  declare title: string
  static override tableName = 'tasks'
  static override jsonSchema = { type: 'object', properties: { id: { type: 'integer' }, title: { type: 'string' } } } as const
  static override policy = open
}

const models = [Country, Invoice, Town, Flake]

eachDatabase('A key of a model', (db) => {
  let perms: Perms
  let ask: Client
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      models: [...models, Task],
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, models as never[])
    await db.knex.schema.createTable('tasks', (table) => {
      table.increments('id')
      table.string('title')
    })
    const all = {
      list: { public: true },
      get: { public: true },
      create: { public: true },
      update: { public: true },
      delete: false,
    } as const
    const resources = [Country, Invoice, Flake, Task].map((model) => new CrudResource({ model: model as typeof Country, methods: all }))
    ask = clientOf(new Api({ resources }), perms)
  })
  after(() => perms?.close())

  it('with another name replaces the id of BaseModel, in the table too', async () => {
    expect(Object.keys(Country.columnSpecs)).to.deep.equal(['createdAt', 'updatedAt', 'code', 'title'])
    expect(Object.keys(await db.knex('country').columnInfo())).to.have.members(['code', 'title', 'created_at', 'updated_at'])
    const made = await ask('POST', '/countries', null, { body: { code: 'se', title: 'Sweden' } })
    expect([made.status, made.body.code, 'id' in made.body]).to.deep.equal([201, 'se', false])
    expect((await ask('POST', '/countries', null, { body: { code: 'se', title: 'Twice' } })).status).to.equal(409)
    expect((await ask('GET', '/countries/se')).body.title).to.equal('Sweden')
    expect((await asSystem(() => Country.getOr404('se'))).title).to.equal('Sweden')
  })

  it('may be declared by a getter, and is numbered by the database if it is an integer', async () => {
    for (const number of [1, 2]) {
      const made = await ask('POST', '/invoices', null, { body: { title: 'a' } })
      expect([made.status, made.body.number, made.headers.location]).to.deep.equal([201, number, `/invoices/${number}`])
    }
    expect((await ask('GET', '/invoices/02')).status).to.equal(404)
    expect((await ask('POST', '/invoices', null, { body: { title: 'a', number: 9 } })).status).to.equal(422)
  })

  it('leaves a column id that the class itself declares', async () => {
    expect(Town.columnSpecs).to.have.property('id')
    const town = await asSystem(() => Town.create({ townCode: 'lund' }))
    expect([(await asSystem(() => Town.getOr404('lund'))).id, town.id]).to.deep.equal([null, null])
  })

  it('that the application makes has one spelling in filters too [promise 75]', async () => {
    const { body } = await ask('POST', '/flakes', null, { body: { title: 'a' } })
    expect((await ask('GET', `/flakes?id=${body.id}`)).body.data).to.have.length(1)
    for (const text of [`0${body.id}`, `-0${body.id}`, '-0'])
      for (const filter of ['id', 'id__in', 'id__ne', 'id__gt'])
        expect((await ask('GET', `/flakes?${filter}=${text}`)).status, `${filter}=${text}`).to.equal(422)
    expect((await ask('GET', `/flakes/0${body.id}`)).status).to.equal(404)
  })

  it('that only a JSON Schema describes has one spelling too: MariaDB equates 7abc with 7 [promise 75] [promise 57]', async () => {
    const { body } = await ask('POST', '/tasks', null, { body: { title: 'a' } })
    const id = String(body.id)
    for (const text of [`${id}abc`, ` ${id}`, `${id}.0`, `0${id}`, `${id}e0`, '']) {
      const queries = [
        () => Task.query().where('id', text),
        () => Task.query().where({ id: text }),
        () => Task.query().whereIn('tasks.id', [text]),
        () => Task.query().findOne({ id: text }),
        () => Task.query().where('id', text).patch({ title: 'changed' }),
        () => Task.query().where('id', text).delete(),
      ]
      for (const [i, query] of queries.entries())
        expect(await rejection(asSystem(async () => await query())), `${text}, query ${i}`).to.be.instanceOf(ValidationError)
      expect(await asSystem(async () => await Task.query().findById(text)), text).to.equal(undefined)
      expect((await ask('GET', `/tasks?id=${encodeURIComponent(text)}`)).status, text).to.equal(422)
      expect((await ask('GET', `/tasks/${encodeURIComponent(text || '%')}`)).status, text).to.equal(404)
    }
    expect(await asSystem(() => Task.query().where('id', id).resultSize())).to.equal(1)
    expect(await db.knex('tasks').pluck('title')).to.deep.equal(['a'])
  })
})
