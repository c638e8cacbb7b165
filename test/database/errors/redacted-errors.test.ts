import { inspect } from 'node:util'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { redactError } from '../../../src/database/errors/redacted-errors.js'
import { MountedApi } from '../../../src/http/serve/api.js'
import {
  Api,
  BaseModel,
  column,
  createTables,
  initPerms,
  type Perms,
  transaction,
  UniqueViolationError,
  User,
  UserResource,
} from '../../../src/index.js'
import { send } from '../../../src/query/execution/send.js'
import { eachDriver } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { neutralRequest } from '../../http/client.js'

class Vault extends BaseModel.withColumns({
  name: column.string().unique(),
  secret: column.string().hidden(),
  pin: column.integer().default(0).hidden(),
  missing: column.string().nullable(),
}) {
  static override tableName = 'red_vault'
}

class Visitor extends User {
  static override publicRegistration = true
}

const name = "it's a \"name\" \\ with 'quotes'"
const secret = '$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW'
const pin = 86420
const row = { name, secret, pin, missing: 'short' }

/** Everything that a log could show of an error. */
function shown(error: unknown, depth = 0): string {
  if (typeof error !== 'object' || error === null) return String(error)
  const own = Reflect.ownKeys(error).map((key) => {
    const value: unknown = (error as Record<PropertyKey, unknown>)[key]
    return `${String(key)}: ${typeof value === 'object' && depth < 6 ? shown(value, depth + 1) : String(value)}`
  })
  return [inspect(error, { depth: 12, showHidden: true, maxStringLength: null }), depth === 0 ? json(error) : '', ...own].join('\n')
}

function json(error: object): string {
  const seen = new Set<unknown>()
  return JSON.stringify(error, (_, value) =>
    typeof value === 'object' && value && (seen.has(value) || !seen.add(value)) ? undefined : value,
  )
}

const expectNoValues = (text: string) => {
  expect(text).not.to.match(/R9h|cIPz0gi|MUW|86420|short\b/)
  expect(text).not.to.match(/a \\*"name|with \\*'quotes/)
}

eachDriver('errors of statements', (db) => {
  let perms: Perms
  before(async function () {
    this.timeout(20_000)
    perms = initPerms({ knex: db.knex, user: Visitor, jwt: { secret: 'x'.repeat(32) } })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Vault])
    await Vault.create(row)
    await db.knex.schema.alterTable('red_vault', (table) => table.dropColumn('missing'))
  })
  after(async () => await perms.close())

  const ways: Record<string, () => PromiseLike<unknown>> = {
    'an insert': () => Vault.query().insert(row),
    'an insert of many rows': () => Vault.knexQuery().insert(Array.from({ length: 50 }, (_, i) => ({ ...row, pin: pin + i * 100_000 }))),
    'an update': () => Vault.query().patch(row).where({ secret }),
    'a read': () => Vault.query().select('missing').where({ secret, pin }),
    'a delete': () => Vault.query().delete().where({ secret, missing: 'short' }),
    'a raw expression': () => Vault.query().whereRaw('secret = ? and pin = ? and missing = ?', [secret, pin, 'short']),
    'a statement inside a transaction': () => transaction(async () => await Vault.query().insert(row)),
    'a statement inside a savepoint': () => transaction(() => transaction(async () => await Vault.query().insert(row))),
    'a knex query': () => Vault.knexQuery().insert(row),
    'raw SQL of Knex': () => db.knex.raw('select * from red_vault where missing = ? or secret = ? or pin = ?', ['short', secret, pin]),
    'a statement of the library': () =>
      send(db.knex, `select missing from red_vault where secret = ${db.dialect === 'pg' ? '$1' : '?'}`, [secret]),
    'a syntax error next to a value': () => db.knex.raw('select * from red_vault where secret = ? ? ?', [secret, pin, name]),
    'bytes and nested values': () =>
      db.knex('red_vault').where('missing', Buffer.from(secret)).orWhere('secret', secret).whereIn('pin', [pin, pin]).select(),
  }
  for (const [way, run] of Object.entries(ways)) {
    it(`an unexpected error of ${way} holds no bound value [promise 69]`, async () => {
      const error = await rejection(run())
      expectNoValues(shown(error))
      expect(error.message, 'what failed is still told').to.match(/missing|syntax|near|bind/i)
    })
  }

  it('a unique violation holds no value in the error of Knex, and names its field in that of the library [promise 69]', async () => {
    expectNoValues(shown(await rejection(db.knex('red_vault').insert({ ...row, id: await anId(), missing: undefined }))))
    class Whole extends BaseModel.withColumns({
      name: column.string().unique(),
      secret: column.string(),
      pin: column.integer().default(0),
    }) {
      static override tableName = 'red_vault'
    }
    const error = await rejection(Whole.create({ name, secret, pin }))
    expect(error).to.be.instanceOf(UniqueViolationError)
    expectNoValues(shown(error))
    expect((error as UniqueViolationError).errors.map(({ field }) => field)).to.deep.equal(['name'])
  })

  const anId = async () =>
    db.dialect === 'pg' ? (await db.knex.raw('select gen_random_uuid() as id')).rows[0].id : '0190f5a0-0000-7000-8000-000000000001'

  it('a value equal to a name of the schema does not change how an error is read', async () => {
    class Keys extends BaseModel.withColumns({ name: column.string().unique(), secret: column.string().unique() }) {
      static override tableName = 'red_keys'
    }
    await createTables(db.knex, [Keys])
    for (const value of ['red_keys.secret', 'secret', 'red_keys_secret_unique', "x' for key 'red_keys_name_unique'", 'Key (name)=(1)']) {
      await Keys.create({ name: `${value} 1`, secret: value })
      const error = await rejection(Keys.create({ name: value, secret: value }))
      expect(
        (error as UniqueViolationError).errors?.map(({ field }) => field),
        value,
      ).to.deep.equal(['secret'])
    }
  })

  it("listeners of query-error see no bound value, those of a transaction's too [promise 69]", async () => {
    const heard: string[] = []
    const listen = (error: unknown, query: unknown) => heard.push(shown(error), shown(query))
    db.knex.on('query-error', listen)
    try {
      await rejection(Vault.query().insert(row))
      await rejection(
        db.knex.transaction(async (trx) => {
          trx.on('query-error', listen)
          await trx('red_vault').insert(row)
        }),
      )
    } finally {
      db.knex.removeListener('query-error', listen)
    }
    expect(heard.length).to.be.at.least(4)
    expectNoValues(heard.join('\n'))
  })

  it('an error of a stream holds no bound value [promise 69]', async function () {
    // Knex streams PostgreSQL with a package of its own.
    if (db.dialect === 'pg') return this.skip()
    const stream = db.knex('red_vault').where({ secret, missing: 'short' }).stream()
    const error = await new Promise((resolve) => stream.on('error', resolve))
    expectNoValues(shown(error))
  })

  it('a timeout of Knex holds no bound value [promise 69]', async function () {
    if (db.dialect === 'sqlite') return this.skip()
    const slow = db.dialect === 'pg' ? 'select pg_sleep(1), ?::text' : 'select sleep(1), ?'
    const error = await rejection(db.knex.raw(slow, [secret]).timeout(20))
    expect(error.name).to.equal('KnexTimeoutError')
    expectNoValues(shown(error))
  })

  it('a model on another Knex keeps its values out of errors too [promise 69]', async () => {
    const other = db.connect()
    expectNoValues(shown(await rejection(Vault.query(other).insert(row))))
    expectNoValues(shown(await rejection(other.transaction(async (trx: Knex.Transaction) => await Vault.query(trx).insert(row)))))
  })

  it('a full pool holds no bound value [promise 69]', async () => {
    const other = db.connect({ pool: { min: 0, max: 1 }, acquireConnectionTimeout: 1500 })
    await other.raw('select 1')
    await other.transaction(async () => {
      expectNoValues(shown(await rejection(Vault.query(other).where({ secret }))))
      expectNoValues(shown(await rejection(other.raw('select ? as a', [secret]))))
    })
  })

  it('a sign-in and a registration that meet a missing column log neither password, hash nor token [promise 69]', async () => {
    const errors: unknown[] = []
    const password = 'correct horse battery'
    await Visitor.create({ email: 'ada@example.com', password })
    await db.knex.schema.renameTable('token', 'token_away')
    try {
      errors.push(await rejection(perms.auth.signIn({ email: 'ada@example.com', password })))
      errors.push(await rejection(perms.auth.authenticate(`opk_${'a'.repeat(60)}`)))
    } finally {
      await db.knex.schema.renameTable('token_away', 'token')
    }
    await db.knex.schema.alterTable('user', (table) => table.renameColumn('is_enabled', 'is_on'))
    try {
      errors.push(await rejection(Visitor.create({ email: 'eve@example.com', password })))
    } finally {
      await db.knex.schema.alterTable('user', (table) => table.renameColumn('is_on', 'is_enabled'))
    }
    const text = errors.map((error) => shown(error)).join('\n')
    expect(text).not.to.match(/\$2b\$|correct horse|eve@example/)
    expect(text).not.to.match(/[0-9a-f]{64}|[\w-]{43}/)
  })

  it('an endpoint that meets a missing column prints no hash and no token [promise 69]', async () => {
    const lines: string[] = []
    const print = console.error
    console.error = (...parts: unknown[]) => lines.push(inspect(parts, { depth: 12, showHidden: true }))
    const api = new MountedApi(new Api({ resources: [new UserResource()] }), perms, {})
    const post = (path: string, body: object) => api.handle(neutralRequest('POST', path, null, { body }))
    await db.knex.schema.alterTable('user', (table) => table.renameColumn('is_enabled', 'is_on'))
    try {
      const password = 'correct horse battery'
      for (const [path, body] of [
        ['/users', { email: 'eve@example.com', password }],
        ['/users/login', { email: 'eve@example.com', password }],
      ] as const) {
        const response = await post(path, body)
        expect(response?.status, path).to.equal(500)
        expect(String(response?.body)).not.to.match(/is_enabled|select|insert/)
      }
    } finally {
      console.error = print
      await db.knex.schema.alterTable('user', (table) => table.renameColumn('is_on', 'is_enabled'))
    }
    expect(lines).to.have.lengthOf(2)
    expect(lines.join('\n'), 'the cause').to.contain('is_enabled')
    expect(lines.join('\n')).not.to.match(/\$2b\$|correct horse|[0-9a-f]{64}/)
  })

  it('closing restores Knex’s own errors', async () => {
    const other = db.connect()
    await perms.close()
    const second = initPerms({ knex: other })
    await second.close()
    const { message } = await rejection(other('nowhere').where({ a: 'the value' }))
    // Knex never shows those of PostgreSQL.
    expect(message).to.contain(db.dialect === 'pg' ? '$1' : 'the value')
    perms = initPerms({ knex: db.knex, user: Visitor, jwt: { secret: 'x'.repeat(32) } })
  })
})

describe('redactError', () => {
  const error = (message: string, more: object = {}) => Object.assign(new Error(message), more)

  it('removes values from causes, wrapped errors and aggregates, also when they form a cycle', () => {
    const inner = error('value abcdefghij failed', { sql: "select 'abcdefghij'" })
    const outer = Object.assign(new AggregateError([inner], 'several'), { nativeError: error('abcdefghij'), cause: inner })
    Object.assign(inner, { cause: outer })
    redactError(outer, { bindings: ['abcdefghij'] })
    expect(shown(outer)).not.to.contain('abcdefghij')
    expect(inner.message).to.equal('value ? failed')
  })

  it('removes short values of any characters', () => {
    for (const value of ['a-b/c', '[x](y)', '{}$^.*+?', '\\d|é', '\ud800', '1.5', "it's"]) {
      const one = error(`the value '${value}' is bad`)
      redactError(one, { bindings: [value] })
      expect(one.message, value).to.equal("the value '?' is bad")
    }
  })

  it('removes a value that the server has cut', () => {
    const cut = error('Incorrect thing: prefix-of-a-long-secret...')
    redactError(cut, { bindings: ['prefix-of-a-long-secret-that-goes-on'] })
    expect(cut.message).to.equal('Incorrect thing: ?...')
  })

  it('keeps names and codes', () => {
    const names = error('column "secret" does not exist', { code: '42703', table: 'vault', constraint: 'vault_pkey' })
    redactError(names, { sql: 'select 1', bindings: ['vault', '42703', 'vault_pkey', 3] })
    expect(names).to.include({ code: '42703', table: 'vault', constraint: 'vault_pkey', message: 'column "secret" does not exist' })
  })

  it('searches long texts for long values', () => {
    const long = error(`near: ${'ab'.repeat(50_000)}`)
    redactError(long, { bindings: Array.from({ length: 100 }, (_, i) => 'ba'.repeat(2000) + i) })
    expect(long.message).to.equal('near: ? [cut]')
  })

  it('removes the whole text when there are too many values to search for', () => {
    const many = error('the value abcdefghij')
    redactError(many, { sql: 'insert into t', bindings: Array.from({ length: 300 }, (_, i) => 'x'.repeat(4000) + i) })
    expect(many.message).to.match(/^\[removed/)
    expect(shown(many)).not.to.contain('abcdefghij')
  })

  it('removes the rows that PostgreSQL and MariaDB repeat', () => {
    for (const [text, wanted] of [
      ['Key (a, b)=(1, hash) already exists.', 'Key (a, b)=(?) already exists.'],
      ['Failing row contains (1, hash, null).', 'Failing row contains (?).'],
      ["Duplicate entry '1-hash' for key 't_a_b_unique'", "Duplicate entry '?' for key 't_a_b_unique'"],
      ["Truncated incorrect DOUBLE value: 'hash'", "Truncated incorrect DOUBLE value: '?'"],
      ["Incorrect integer value: 'hash' for column `t`.`a` at row 1", "Incorrect integer value: '?' for column `t`.`a` at row 1"],
      ['invalid input syntax for type integer: "hash"', 'invalid input syntax for type integer: ?'],
    ] as const) {
      const one = error(text)
      redactError(one, { bindings: [] })
      expect(one.message).to.equal(wanted)
    }
  })
})
