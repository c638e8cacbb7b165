import { expect } from 'chai'
import { type JSONSchema, Model } from 'objection'
import {
  Api,
  asSystem,
  ConfigurationError,
  column,
  HasRolesMixin,
  initPerms,
  PasswordMixin,
  type Perms,
  PermsMixin,
  self,
  User,
  UserResource,
} from '../../src/index.js'
import { capturedMailer, createUser } from '../../src/testing/index.js'
import { assertIdentifiers } from '../../src/users/identifiers.js'
import { TestHasher } from '../auth/set-up.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { type Client, clientOf } from '../http/client.js'

const password = 'correct horse battery'
const jwt = { secret: 'a secret of the tests, 32 bytes long' }

/** An existing user model without e-mail addresses. */
class Player extends HasRolesMixin(PasswordMixin(PermsMixin(Model))) {
  declare id: number
  declare username: string
  static override tableName = 'players'
  static identifiers = ['username']
  static publicRegistration = true
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['username'],
    properties: { id: { type: 'integer' }, username: { type: 'string', maxLength: 100 } },
  }
  static override policy = { read: self(), update: self() }
}

class Author extends User.withColumns({ username: column.string({ maxLength: 100 }).unique() }) {
  static override tableName = 'author'
  static identifiers = ['email', 'username']
  static override publicRegistration = true
}

const createPlayers = async (knex: import('knex').Knex, isUnique: boolean) =>
  await knex.schema.createTable('players', (table) => {
    table.increments('id')
    const name = table.string('username').notNullable()
    if (isUnique) name.unique()
    table.string('password_hash')
  })

eachDatabase('A user model without e-mail addresses', (db) => {
  let perms: Perms
  let ask: Client
  let hasher: TestHasher
  const failures: Record<string, unknown>[] = []
  before(async () => {
    hasher = new TestHasher()
    perms = initPerms({ knex: db.knex, user: Player, jwt, passwordHasher: hasher, throttle: { signIn: { pair: 3 } } })
    await createPlayers(db.knex, false)
    const error = await rejection(perms.migrate())
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.match(/the column 'username' of the table 'players' has no unique index.*table\.unique\(\['username'\]\)/)
    await db.knex.schema.alterTable('players', (table) => table.unique(['username']))
    await perms.migrate()
    ask = clientOf(new Api({ resources: [new UserResource({ features: { totp: true } })] }), perms)
    perms.on('signInFailed', (event) => failures.push(event))
  })
  after(() => perms.close())
  beforeEach(() => {
    failures.length = 0
  })

  const login = (username: string, word = password) => ask('POST', '/users/login/', null, { body: { username, password: word } })

  it('registers and signs in by username, in code and over HTTP', async () => {
    const made = await ask('POST', '/users/', null, { body: { username: ' Ada ', password } })
    expect([made.status, made.body.username], JSON.stringify(made.body)).to.deep.equal([201, 'Ada'])
    expect((await perms.auth.signIn({ username: 'Ada', password })).user?.id).to.equal(made.body.id)
    expect((await perms.auth.checkPassword('Ada', password))?.id).to.equal(made.body.id)
    const reply = await login('Ada ')
    expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
    expect((await ask('GET', '/users/me/', reply.body.access_token)).body).to.include({ username: 'Ada' })
    const twin = await ask('POST', '/users/', null, { body: { username: 'Ada', password } })
    expect([twin.status, twin.body.errors[0].field]).to.deep.equal([409, 'username'])
  })

  it('compares names exactly, whatever the collation of the column [promise 57]', async () => {
    await asSystem(() => createUser({ username: 'Zoë', password } as never))
    // A composed and a decomposed ë are the same letter.
    expect((await login('Zoe\u0308')).status).to.equal(200)
    for (const other of ['zoë', 'ZOË', 'Zoe', 'Zoé']) expect((await login(other)).status, other).to.equal(401)
  })

  it('does the same work for unknown names, and counts them by their canonical form [promise 10] [promise 12]', async () => {
    await asSystem(() => createUser({ username: 'eve', password } as never))
    const statements: string[] = []
    const count = ({ sql }: { sql: string }) => void statements.push(sql)
    const work = async (name: string) => {
      statements.length = 0
      const before = hasher.verified.length
      db.knex.on('query', count)
      const { status, body } = await login(name, 'wrong').finally(() => db.knex.off('query', count))
      return { status, body, hashes: hasher.verified.length - before, statements: [...statements] }
    }
    expect(await work('nobody')).to.deep.equal(await work('eve'))
    expect(failures.map(({ account, email }) => [account, email])).to.deep.equal([
      ['username:nobody', ''],
      ['username:eve', ''],
    ])
    for (const spelling of [' eve', 'eve ']) expect((await login(spelling, 'wrong')).status).to.equal(401)
    expect((await login('eve')).status).to.equal(429)
  })

  it('refuses other names of identifiers, bad input and several at once', async () => {
    const cases: [object, string][] = [
      [{ email: 'ada@example.com', password }, 'email'],
      [{ username: 'Ada', email: 'ada@example.com', password }, 'email'],
      [{ password }, 'username'],
      [{ username: '', password }, 'username'],
      [{ username: { $ne: '' }, password }, 'username'],
      [{ username: null, password }, 'username'],
      [{ username: 'a\u0000', password }, 'username'],
      [{ username: 'a'.repeat(400), password }, 'username'],
    ]
    for (const [body, field] of cases) {
      const reply = await ask('POST', '/users/login/', null, { body })
      expect([reply.status, reply.body.errors?.map((one: { field: string }) => one.field)], JSON.stringify(body)).to.deep.equal([
        422,
        field === 'email' && !('username' in body) ? ['email', 'username'] : [field],
      ])
    }
    const { schemas } = (await ask('GET', '/openapi.json')).body.components
    expect(schemas.LoginPlayerInput.required).to.deep.equal(['username', 'password'])
  })

  it('refuses mail flows by name', async () => {
    const error = await rejection(perms.auth.mail.requestPasswordReset('ada@example.com'))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.match(/Player has no column email/)
    const other = initPerms({
      knex: db.knex,
      user: Player,
      jwt,
      passwordHasher: hasher,
      mail: { mailer: capturedMailer(), baseUrl: 'https://app.example.com' },
    })
    for (const feature of ['verifyEmail', 'resetPassword', 'changeEmail', 'magicLink', 'privateRegistration', 'invitations'])
      expect(
        thrown(() => clientOf(new Api({ resources: [new UserResource({ features: { [feature]: true } })] }), other)),
        feature,
      )
        .to.be.instanceOf(ConfigurationError)
        .with.property('message')
        .that.match(new RegExp(`features\\.${feature}.*Player has no column email`))
    await other.close()
  })
})

eachDatabase('A user model with an e-mail address and a username', (db) => {
  let perms: Perms
  let ask: Client
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Author, jwt, passwordHasher: new TestHasher(), throttle: false })
    await perms.migrate()
    ask = clientOf(new Api({ resources: [new UserResource()] }), perms)
    await asSystem(() => createUser({ email: 'ada@example.com', username: 'Ada', password } as never))
  })
  after(() => perms.close())

  it('signs in by either, but not by both or by one in the place of the other', async () => {
    const login = (body: object) => ask('POST', '/users/login/', null, { body })
    expect((await login({ email: 'ADA@example.com', password })).status).to.equal(200)
    expect((await login({ username: 'Ada', password })).status).to.equal(200)
    expect((await login({ username: 'ada@example.com', password })).status).to.equal(401)
    expect((await login({ email: 'Ada', password })).status).to.equal(401)
    const both = await login({ email: 'ada@example.com', username: 'Ada', password })
    expect([both.status, both.body.errors]).to.deep.equal([422, [{ field: 'username', message: 'cannot be combined with email' }]])
    const none = await rejection(perms.auth.signIn({ password }))
    expect(none).to.have.property('status', 422)
    expect(none.message).to.match(/is required, or username/)
    const { schemas } = (await ask('GET', '/openapi.json')).body.components
    expect(schemas.LoginAuthorInput.oneOf).to.deep.equal([{ required: ['email'] }, { required: ['username'] }])
  })
})

describe('static identifiers', () => {
  it('must name unique, visible columns of text', () => {
    for (const [identifiers, message] of [
      [[], /is empty/],
      [['nickname'], /names 'nickname', which is no column/],
      [['isEnabled'], /not a visible column of text/],
      [['passwordHash'], /not a visible column of text/],
      [['city'], /not unique: declare it with \.unique\(\)/],
      ['email', /must be a list/],
    ] as const) {
      class Named extends User.withColumns({ city: column.string() }) {
        static identifiers = identifiers
      }
      expect(thrown(() => assertIdentifiers(Named)))
        .to.be.instanceOf(ConfigurationError)
        .with.property('message')
        .that.match(message)
    }
  })
})
