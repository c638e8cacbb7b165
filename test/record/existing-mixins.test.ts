import { expect } from 'chai'
import { type JSONSchema, Model } from 'objection'
import {
  Api,
  asSystem,
  authenticated,
  CrudResource,
  Domain,
  HasDomainMixin,
  inDomain,
  initPerms,
  NotFoundError,
  owner,
  type Perms,
  PermsMixin,
  Role,
  runAs,
  SoftDeleteMixin,
  type User,
} from '../../src/index.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

/** An application's base class, whose models describe their columns in jsonSchema and have integer ids. */
class AppModel extends Model {}

class Memo extends SoftDeleteMixin(PermsMixin(AppModel)) {
  declare id: number
  declare body: string
  declare authorId: string
  static override tableName = 'memos'
  static override columnNames = { deletedAt: 'removedAt' }
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['body'],
    properties: { id: { type: 'integer' }, body: { type: 'string', maxLength: 100 }, authorId: { type: 'string', format: 'uuid' } },
    additionalProperties: false,
  }
  static override policy = { read: authenticated(), create: owner('authorId'), update: owner('authorId'), delete: owner('authorId') }
}

class Report extends SoftDeleteMixin(HasDomainMixin(PermsMixin(AppModel))) {
  declare id: number
  declare title: string
  static override tableName = 'reports'
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['title'],
    properties: { id: { type: 'integer' }, title: { type: 'string', maxLength: 100 } },
  }
  static override policy = { read: authenticated(), create: authenticated(), update: authenticated(), delete: authenticated() }
}

eachDatabase('Mixins over an existing base class with jsonSchema and integer ids', (db) => {
  let perms: Perms
  let ask: Client
  let ada: User
  let bob: User
  let both: User
  let press: Domain
  let radio: Domain
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
      models: [Memo, Report],
    })
    await db.knex.schema.createTable('memos', (table) => {
      table.increments('id')
      table.string('body', 100).notNullable()
      table.uuid('authorId').notNullable()
      table.datetime('removedAt', { precision: 3 }).nullable()
    })
    await db.knex.schema.createTable('reports', (table) => {
      table.increments('id')
      table.string('title', 100).notNullable()
      table.uuid('domain_id').nullable()
      table.datetime('deleted_at', { precision: 3 }).nullable()
    })
    await migrateAtOnce(perms)
    await asSystem(async () => {
      press = await Domain.create({ name: 'press' })
      radio = await Domain.create({ name: 'radio' })
      ada = await createUser({ email: 'ada@example.com' }, { role: 'writer', domain: 'press' })
      bob = await createUser({ email: 'bob@example.com' }, { role: 'writer', domain: 'radio' })
      both = await createUser({ email: 'both@example.com' }, { role: 'writer', domain: 'press' })
      await both.grantRole(Role.USER, { domain: 'radio' })
    })
    ask = clientOf(new Api({ resources: [new CrudResource({ model: Memo }), new CrudResource({ model: Report })] }), perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of ['memos', 'reports']) await db.knex(table).delete()
  })

  const memo = (body: string, user = ada) => runAs(user, () => Memo.create({ body, authorId: user.id }))

  describe('SoftDeleteMixin', () => {
    it('marks deleted rows, which no query returns except withDeleted()', async () => {
      const [first, second] = [await memo('first'), await memo('second')]
      expect([typeof first.id, first.isDeleted]).to.deep.equal(['number', false])
      await runAs(ada, async () => {
        await first.delete()
        expect([first.isDeleted, first.deletedAt instanceof Date]).to.deep.equal([true, true])
        expect((await Memo.query()).map(({ id }) => id)).to.deep.equal([second.id])
        expect(await Memo.query().findById(first.id)).to.equal(undefined)
        expect([await Memo.get(first.id), await Memo.query().resultSize()]).to.deep.equal([null, 1])
        expect((await Memo.withDeleted().orderBy('id')).map(({ id, isDeleted }) => [id, isDeleted])).to.deep.equal([
          [first.id, true],
          [second.id, false],
        ])
        expect(await rejection(first.update({ body: 'changed' }))).to.be.instanceOf(NotFoundError)
        expect(await Memo.query().deleteById(second.id)).to.equal(1)
      })
      const rows = await db.knex('memos').orderBy('id')
      expect(rows.map(({ removedAt }) => removedAt === null)).to.deep.equal([false, false])
    })

    it('restores rows and deletes them permanently, under the delete rule', async () => {
      const { id } = await memo('first')
      const found = await runAs(ada, async () => {
        await Memo.query().deleteById(id)
        return (await Memo.withDeleted().findById(id)) as Memo
      })
      expect(found.deletedAt).to.be.instanceOf(Date)
      expect((await runAs(bob, () => rejection(found.restore()))).name).to.equal('ForbiddenError')
      expect((await runAs(bob, () => rejection(found.hardDelete()))).name).to.equal('ForbiddenError')
      expect((await db.knex('memos').first()).removedAt).not.to.equal(null)
      await runAs(ada, async () => {
        await found.restore()
        expect([found.isDeleted, (await Memo.getOr404(id)).deletedAt]).to.deep.equal([false, null])
        await found.hardDelete()
      })
      expect(await db.knex('memos')).to.deep.equal([])
    })

    it('works over HTTP, where clients cannot set the mark', async () => {
      const { accessToken } = await signInAs(ada)
      const made = await ask('POST', '/memos/', accessToken, { body: { body: 'first', authorId: ada.id } })
      expect(made.status, JSON.stringify(made.body)).to.equal(201)
      const path = `/memos/${made.body.id}/`
      for (const deletedAt of ['2020-01-01T00:00:00Z', null]) {
        const marked = await ask('PATCH', path, accessToken, { body: { deletedAt } })
        expect([marked.status, marked.body.errors[0].field]).to.deep.equal([422, 'deletedAt'])
      }
      expect((await ask('DELETE', path, accessToken)).status).to.equal(204)
      expect((await ask('GET', path, accessToken)).status).to.equal(404)
      expect((await ask('GET', '/memos/', accessToken)).body.data).to.deep.equal([])
      expect(await db.knex('memos')).to.have.lengthOf(1)
    })
  })

  describe('HasDomainMixin', () => {
    it('gives new rows the only domain of the caller, or that of inDomain()', async () => {
      expect((await runAs(ada, () => Report.create({ title: 'a' }))).domainId).to.equal(press.id)
      expect((await runAs(bob, () => Report.query().insertAndFetch({ title: 'b' }))).domainId).to.equal(radio.id)
      expect(fieldsOf(await runAs(both, () => rejection(Report.create({ title: 'c' }))))).to.deep.equal(['domainId'])
      expect((await runAs(both, () => inDomain('radio', () => Report.create({ title: 'c' })))).domainId).to.equal(radio.id)
      const rows = await db.knex('reports').orderBy('id')
      expect(rows.map(({ title, domain_id }) => [title, domain_id])).to.deep.equal([
        ['a', press.id],
        ['b', radio.id],
        ['c', radio.id],
      ])
    })

    it('keeps the rows of a domain from users of another, in queries and writes', async () => {
      const report = await runAs(ada, () => Report.create({ title: 'a' }))
      await runAs(bob, async () => {
        expect([await Report.query(), await Report.get(report.id)]).to.deep.equal([[], null])
        expect(await Report.query().findById(report.id).patch({ title: 'taken over' })).to.equal(0)
        expect(await Report.query().deleteById(report.id)).to.equal(0)
        expect((await rejection(Report.create({ title: 'b', domainId: press.id }))).name).to.equal('MissingReferenceError')
        expect(await rejection(report.update({ title: 'taken over' }))).to.be.instanceOf(NotFoundError)
      })
      expect((await runAs(ada, () => rejection(report.update({ domainId: radio.id })))).name).to.equal('MissingReferenceError')
      expect(await db.knex('reports').select('title', 'domain_id')).to.deep.equal([{ title: 'a', domain_id: press.id }])
    })

    it('works over HTTP together with SoftDeleteMixin', async () => {
      const [mine, other] = [(await signInAs(ada)).accessToken, (await signInAs(bob)).accessToken]
      const made = await ask('POST', '/reports/', mine, { body: { title: 'a' } })
      expect([made.status, made.body.domainId], JSON.stringify(made.body)).to.deep.equal([201, press.id])
      const path = `/reports/${made.body.id}/`
      for (const [method, body] of [['GET'], ['PATCH', { title: 'b' }], ['DELETE']] as const)
        expect((await ask(method, path, other, body && { body })).status, method).to.equal(404)
      expect((await ask('GET', '/reports/', other)).body.data).to.deep.equal([])
      expect((await ask('DELETE', path, mine)).status).to.equal(204)
      expect((await ask('GET', path, mine)).status).to.equal(404)
      await runAs(ada, async () => {
        const [row] = (await Report.withDeleted()) as Report[]
        await row?.restore()
      })
      expect((await ask('GET', path, mine)).body).to.include({ id: made.body.id, domainId: press.id })
      await runAs(bob, async () => expect(await Report.withDeleted()).to.deep.equal([]))
    })
  })
})
