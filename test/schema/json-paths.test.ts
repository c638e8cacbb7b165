import { expect } from 'chai'
import { raw } from 'objection'
import { CrudResource } from '../../src/http/crud/crud-resource.js'
import { Api } from '../../src/http/serve/api.js'
import {
  asAnonymous,
  asSystem,
  BasePermsModel,
  column,
  createTables,
  Domain,
  everyone,
  ForbiddenError,
  hasMany,
  initPerms,
  nobody,
  type Perms,
  role,
  Token,
  User,
  UserRole,
  UserSetting,
  ValidationError,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'
import { type Client, clientOf } from '../http/client.js'

const open = { read: everyone(), create: everyone(), update: everyone(), delete: everyone() }

class Shop extends BasePermsModel.withColumns({ name: column.string() }) {
  static override relationMappings = { accounts: hasMany(() => Account, 'shopId') }
  static override policy = open
}

class Account extends BasePermsModel.withColumns({
  name: column.string(),
  shopId: column.uuid().nullable(),
  billing: column.json<{ plan?: string }>().nullable().writableBy(role('admin')),
  fixed: column.json<object>().nullable().immutable(),
  kept: column.json<object>().nullable().readOnly(),
  secret: column.json<object>().nullable().hidden(),
  mine: column.json<object>().nullable().readableBy(role('admin')),
  size: column
    .json<object>({
      type: 'object',
      properties: {
        width: { type: 'integer', minimum: 0 },
        tags: { type: 'array', items: { type: 'string', maxLength: 3 } },
        inner: { type: 'object', properties: { on: { type: 'boolean' } }, additionalProperties: false },
      },
      required: ['width'],
      additionalProperties: false,
    })
    .nullable(),
  pair: column.json<object>({ type: 'array', maxItems: 2 }).nullable(),
  extraInfo: column.json<object>().nullable(),
}) {
  static override policy = open
}

/** A model whose column no caller may set, and whose policy is a check() in code. */
class Closed extends BasePermsModel.withColumns({ name: column.string(), data: column.json<object>().nullable().writableBy(nobody()) }) {
  static override adminBypass = false
  static override policy = open
}

// Objection would select the columns that a row of the graph names, and knows no such column.
const onlyIds = { fetchStrategy: 'OnlyIdentifiers' } as never

const values = {
  name: 'one',
  billing: { plan: 'free', items: [{ price: 1 }] },
  fixed: { a: 1 },
  kept: { a: 1 },
  secret: { pin: '1234' },
  mine: { a: 1 },
  size: { width: 1, tags: ['a'], inner: { on: true } },
  pair: [1],
  extraInfo: { a: { b: 1 } },
}

eachDatabase('Keys of patch() that set a part of a json column', (db) => {
  let perms: Perms
  let ask: Client
  let account: Account
  let shop: Shop
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), jwt: { secret: 'k'.repeat(48) } })
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, Shop, Account, Closed])
    const methods = { list: { public: true }, get: { public: true }, create: { public: true }, update: { public: true } }
    ask = clientOf(new Api({ resources: [new CrudResource({ model: Account, path: 'accounts', methods })] }), perms as never)
  })
  after(() => perms.close())
  beforeEach(async () => {
    await asSystem(async () => {
      await Account.query().delete()
      shop = await Shop.create({ name: 's' } as never)
      account = await Account.create({ ...values, shopId: shop.id } as never)
    })
  })
  const stored = () => asSystem(() => Account.getOr404(account.id))
  const forms = [
    'billing:plan',
    'billing:items[0].price',
    'billing:[plan]',
    "billing:['plan']",
    'billing:["plan"]',
    'billing:items.0',
    'billing:new',
  ]

  for (const key of forms) {
    it(`are checked by writableBy(): ${key} [promise 42]`, async () => {
      const ways: (() => PromiseLike<unknown>)[] = [
        () => Account.query().patch({ [key]: 'pro' } as never),
        () =>
          Account.query()
            .findById(account.id)
            .patch({ [key]: 'pro', name: 'two' } as never),
        () => Account.query().patchAndFetchById(account.id, { [key]: 'pro' } as never),
        () => Account.query().update({ [key]: 'pro', name: 'two' } as never),
        () => account.$query().patch({ [key]: 'pro' } as never),
        () => account.$query().patchAndFetch({ [key]: 'pro' } as never),
        () => account.getClone().update({ [key]: 'pro' } as never),
        () => Account.query().patch({ [key]: raw('\'"pro"\'') } as never),
        () => shop.$relatedQuery('accounts').patch({ [key]: 'pro' } as never),
        () => Shop.query().upsertGraph({ id: shop.id, accounts: [{ id: account.id, [key]: 'pro' }] } as never, onlyIds),
      ]
      for (const way of ways) {
        const error = await rejection(asAnonymous(way))
        expect(error, String(way)).to.satisfy((one: unknown) => one instanceof ForbiddenError || one instanceof ValidationError)
      }
      expect((await stored()).billing).to.deep.equal(values.billing)
      expect((await stored()).name).to.equal('one')
    })
  }

  it('are refused by a writableBy() rule that allows no caller [promise 42]', async () => {
    const row = await asSystem(() => Closed.create({ name: 'a', data: { a: 1 } } as never))
    expect(await rejection(asAnonymous(() => Closed.query().patch({ 'data:a': 2 } as never)))).to.be.instanceOf(ForbiddenError)
    expect(await rejection(asAnonymous(() => row.$query().patch({ 'data:a': 2 } as never)))).to.be.instanceOf(ForbiddenError)
  })

  it('are validated as the part of the column that they set [promise 42]', async () => {
    const wrong: [string, unknown][] = [
      ['size:width', -1],
      ['size:width', 'wide'],
      ['size:[width]', 1.5],
      ['size:depth', 1],
      ['size:tags[0]', 'toolong'],
      ['size:tags.5', 7],
      ['size:tags', ['toolong']],
      ['size:inner.on', 'yes'],
      ['size:inner.off', true],
      ['size:inner', { on: 1 }],
      ['pair:[1]', 2],
      ['pair:[9]', 2],
      ['size:width', '\0'],
      ['extraInfo:a', '\0'],
    ]
    for (const [key, value] of wrong) {
      const ways: (() => PromiseLike<unknown>)[] = [
        () => Account.query().patch({ [key]: value } as never),
        () => account.$query().patch({ [key]: value } as never),
        () => account.getClone().update({ [key]: value } as never),
        () => Shop.query().upsertGraph({ id: shop.id, accounts: [{ id: account.id, [key]: value }] } as never, onlyIds),
      ]
      for (const way of ways) {
        const error = await rejection(asSystem(way))
        expect(error, `${key} ${error.stack}`).to.be.instanceOf(ValidationError)
        expect(fieldsOf(error)).to.deep.equal([key])
      }
    }
    expect((await stored()).size).to.deep.equal(values.size)
  })

  it('are refused when the key contains SQL [promise 42]', async () => {
    const keys = [
      "billing:x'||'y",
      "extraInfo:[x']",
      "extraInfo:a}', '1') || ('{",
      'extraInfo:["a,b"]',
      'extraInfo:[a?]',
      'extraInfo:["{a}"]',
      'extraInfo:null',
      'extraInfo:',
      ':a',
      'account.billing:plan',
      'billing :plan',
      ' billing:plan',
      'BILLING:plan',
      'extra_info:a',
      'name:a',
      'nothing:a',
    ]
    for (const key of keys) {
      const error = await rejection(asSystem(() => Account.query().patch({ [key]: 'x' } as never)))
      expect(error, key).to.be.instanceOf(ValidationError)
      expect(fieldsOf(error), key).to.deep.equal([key])
      expect(await rejection(asSystem(() => Account.query().insert({ name: 'n', [key]: 'x' } as never))), key).to.be.instanceOf(
        ValidationError,
      )
    }
    for (const key of forms) {
      const ways: (() => PromiseLike<unknown>)[] = [
        () => Account.query().insert({ name: 'n', [key]: 'x' } as never),
        () => Account.create({ name: 'n', [key]: 'x' } as never),
        () => Shop.query().insertGraph({ name: 't', accounts: [{ name: 'n', [key]: 'x' }] } as never),
      ]
      for (const way of ways) expect(await rejection(asSystem(way)), key).to.be.instanceOf(ValidationError)
    }
  })

  it('from a client are unknown, in bodies, filters, fields, sort and include [promise 42] [promise 43]', async () => {
    const columns = ['billing', 'fixed', 'kept', 'secret', 'mine', 'size', 'extraInfo']
    for (const name of columns) {
      for (const key of [`${name}:a`, `${name}:[0]`, `${name}:a.b`]) {
        const body = { [key]: 1 }
        expect((await ask('PATCH', `/accounts/${account.id}`, null, { body })).status, key).to.equal(422)
        expect((await ask('POST', '/accounts', null, { body: { name: 'n', ...body } })).status, key).to.equal(422)
        for (const query of [
          `${encodeURIComponent(key)}=1`,
          `fields=${key}`,
          `sort=${key}`,
          `include=${key}`,
          `${encodeURIComponent(key)}__like=1`,
        ])
          expect((await ask('GET', `/accounts?${query}`)).status, query).to.equal(422)
      }
    }
    expect(JSON.stringify((await ask('GET', `/accounts/${account.id}`)).body)).not.to.contain('1234')
  })

  if (db.dialect === 'pg') {
    it('set the part of the column when no rule refuses it', async () => {
      await asSystem(async () => {
        await Account.query().patch({ 'billing:plan': 'pro', 'size:width': 5, 'size:tags[1]': 'bc', 'extraInfo:a.b': null } as never)
        await account.$query().patch({ 'extraInfo:[c]': { d: 1 }, name: 'two' } as never)
      })
      const row = await stored()
      expect(row.billing).to.deep.equal({ ...values.billing, plan: 'pro' })
      expect(row.size).to.deep.equal({ width: 5, tags: ['a', 'bc'], inner: { on: true } })
      expect(row.extraInfo).to.deep.equal({ a: { b: null }, c: { d: 1 } })
      expect(row.name).to.equal('two')
      await asAnonymous(() => Account.query().patch({ 'extraInfo:a.b': 2 } as never))
      expect((await stored()).extraInfo).to.deep.equal({ a: { b: 2 }, c: { d: 1 } })
    })

    it('of hidden columns add nothing to the JSON of rows [promise 43]', async () => {
      const { ref } = Account
      const [rows, shown] = await asAnonymous(async () => {
        const found = await Account.query()
          .where(ref('secret:pin').castText(), '1234')
          .whereJsonSupersetOf('secret', { pin: '1234' })
          .orderBy(ref('secret:pin'))
        return [found, JSON.stringify(found)] as const
      })
      expect(rows).to.have.length(1)
      expect(shown).not.to.contain('1234')
    })
  }
})
