import { expect } from 'chai'
import { type JSONSchema, Model, raw } from 'objection'
import {
  Api,
  anyOf,
  asSystem,
  ConfigurationError,
  column,
  HasRolesMixin,
  initPerms,
  PasswordMixin,
  type Perms,
  PermsMixin,
  Role,
  role,
  runAs,
  self,
  TimestampMixin,
  User,
  UserResource,
} from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { capturedMailer, createUser, signInAs } from '../../../src/testing/index.js'
import { assertIdentifiers } from '../../../src/users/account/identifiers.js'
import { TestHasher } from '../../auth/set-up.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection, thrown } from '../../helpers/errors.js'
import { type Client, clientOf } from '../../http/client.js'

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

class Author extends TimestampMixin(User).withColumns({
  username: column.string({ maxLength: 100 }).unique(),
  city: column.string({ maxLength: 100 }).nullable(),
}) {
  static override tableName = 'author'
  static identifiers = ['email', 'username']
  static override publicRegistration = true
  static override policy = { read: anyOf(self(), role('support')), update: anyOf(self(), role('support')) }
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

  it('requires the old password to change the name that signs in, and ends the other sessions [promise 7]', async () => {
    await asSystem(() => createUser({ username: 'Finn', password } as never))
    const [mine, other] = [(await login('Finn')).body.access_token, (await login('Finn')).body.access_token]
    const change = (body: object) => ask('PATCH', '/users/me/', mine, { body })
    for (const oldPassword of [undefined, 'wrong one', '']) {
      const refused = await change({ username: 'Fionn', oldPassword })
      expect([refused.status, refused.body.errors[0].field], String(oldPassword)).to.deep.equal([422, 'oldPassword'])
    }
    const missing = await change({ username: 'Fionn' })
    expect(missing.body.errors[0].message).to.equal('is required to change your own password or username')
    expect((await login('Finn')).status).to.equal(200)
    const changed = await change({ username: 'Fionn', oldPassword: password })
    expect([changed.status, changed.body.username]).to.deep.equal([200, 'Fionn'])
    expect((await ask('GET', '/users/me/', mine)).status).to.equal(200)
    expect((await ask('GET', '/users/me/', other)).status).to.equal(401)
    expect([(await login('Finn')).status, (await login('Fionn')).status]).to.deep.equal([401, 200])
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

  describe('protects the username like the e-mail address:', () => {
    let ada: Author
    let count = 0
    const make = async (to?: string): Promise<Author> => {
      const values = { email: `author${++count}@example.com`, username: `author${count}`, password, emailVerifiedAt: new Date() }
      return await asSystem(() => createUser<Author>(values, to === undefined ? {} : { role: to }))
    }
    const stored = async ({ id }: Author) => await db.knex('author').where({ id }).first()
    const fieldsOf = (error: Error) => (error as Error & { errors: { field: string }[] }).errors.map(({ field }) => field)
    beforeEach(async () => {
      ada = await make()
    })

    it('changing one’s own takes the old password, on every path that takes it for an e-mail address [promise 7]', async () => {
      const { accessToken } = await signInAs(ada)
      for (const oldPassword of [undefined, 'wrong one']) {
        for (const path of ['/users/me/', `/users/${ada.id}/`]) {
          const reply = await ask('PATCH', path, accessToken, { body: { username: 'taken over', oldPassword } })
          expect([reply.status, reply.body.errors[0].field], path).to.deep.equal([422, 'oldPassword'])
        }
        await runAs(ada, async () => {
          const row = await Author.getOr404(ada.id)
          const values = { username: 'taken over', ...(oldPassword && { oldPassword }) }
          expect(fieldsOf(await rejection(row.update(values)))).to.deep.equal(['oldPassword'])
          expect(fieldsOf(await rejection(row.updateFrom(values)))).to.deep.equal(['oldPassword'])
        })
      }
      await runAs(ada, async () => {
        const row = await Author.getOr404(ada.id)
        row.username = 'taken over'
        expect(fieldsOf(await rejection(row.save()))).to.deep.equal(['oldPassword'])
        for (const name of ['username', 'email'])
          expect(fieldsOf(await rejection(row.update({ [name]: raw("'taken over'") })))).to.deep.equal(['oldPassword'])
        // A row that was loaded earlier, or without the column, does not hide the change.
        const partial = (await Author.query().findById(ada.id).select('id')) as Author
        expect(fieldsOf(await rejection(partial.update({ username: 'taken over' })))).to.deep.equal(['oldPassword'])
      })
      expect((await stored(ada)).username).to.equal(ada.username)
      const reply = await ask('PATCH', '/users/me/', accessToken, { body: { username: 'ada again', oldPassword: password } })
      expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
      expect((await stored(ada)).username).to.equal('ada again')
    })

    it('another spelling of the same name and other columns need no password', async () => {
      await runAs(ada, async () => {
        const row = await Author.getOr404(ada.id)
        await row.update({ username: ` ${ada.username} `, city: 'Paris' })
        expect(fieldsOf(await rejection(row.update({ city: 'Rome', oldPassword: password } as never)))).to.deep.equal(['oldPassword'])
      })
      expect(await stored(ada)).to.include({ username: ada.username, city: 'Paris' })
    })

    it('a change ends the other sessions, and leaves the address verified and API keys valid [promise 7] [promise 22]', async () => {
      const [mine, other] = [await signInAs(ada), await signInAs(ada)]
      const { plain: key } = await perms.auth.apiKeys.issue(ada, { abilities: ['*'] })
      const change = { username: `renamed${count}`, oldPassword: password }
      expect((await ask('PATCH', '/users/me/', mine.accessToken, { body: change })).status).to.equal(200)
      const statuses = await Promise.all([mine.accessToken, other.accessToken, key].map((token) => ask('GET', '/users/me/', token)))
      expect(statuses.map(({ status }) => status)).to.deep.equal([200, 401, 200])
      expect((await stored(ada)).email_verified_at).not.to.equal(null)
      // Another spelling ends nothing.
      await asSystem(async () => (await Author.getOr404(ada.id)).update({ username: `renamed${count} ` }))
      expect((await ask('GET', '/users/me/', mine.accessToken)).status).to.equal(200)
      await asSystem(async () => (await Author.getOr404(ada.id)).update({ username: `again${count}` }))
      expect((await ask('GET', '/users/me/', mine.accessToken)).status).to.equal(401)
      const { accessToken } = await signInAs(ada)
      await asSystem(async () => (await Author.getOr404(ada.id)).update({ username: raw("'raw'") } as never))
      expect((await ask('GET', '/users/me/', accessToken)).status).to.equal(401)
    })

    it('API keys and impersonations cannot change it [promise 7]', async () => {
      const { plain: key } = await perms.auth.apiKeys.issue(ada, { abilities: ['*'] })
      const root = await signInAs(await make(Role.SUPERADMIN))
      const impersonation = await runAsActor(await perms.authenticate(root.accessToken), () => perms.auth.impersonation.start(ada.id))
      for (const token of [key, impersonation.accessToken]) {
        const reply = await ask('PATCH', '/users/me/', token, { body: { username: 'taken over', oldPassword: password } })
        expect([reply.status, reply.body.message ?? reply.body.detail].join()).to.match(/^403,.*identifiers for sign-in cannot be changed/)
        const actor = await perms.authenticate(token)
        for (const write of [
          () => Author.query().findById(ada.id).patch({ username: 'taken over' }),
          async () => (await Author.getOr404(ada.id)).update({ username: 'taken over' }),
        ])
          expect((await rejection(runAsActor(actor, async () => await write()))).name).to.equal('ForbiddenError')
      }
      expect((await stored(ada)).username).to.equal(ada.username)
    })

    it('changing that of another user takes a higher rank, whatever the policy says [promise 68]', async () => {
      const [helper, boss, root] = [await make('support'), await make(Role.ADMIN), await make(Role.SUPERADMIN)]
      const { accessToken } = await signInAs(helper)
      for (const victim of [boss, root]) {
        await runAs(helper, async () => {
          const row = await Author.getOr404(victim.id)
          const error = await rejection(row.update({ username: 'taken over' }))
          expect(error.name).to.equal('ForbiddenError')
          expect(error.message).to.match(/higher rank than all of their admin roles/)
          row.username = 'taken over'
          expect((await rejection(row.save())).name).to.equal('ForbiddenError')
          expect(await Author.query().where('id', victim.id).patch({ username: 'taken over' })).to.equal(0)
          expect(
            await Author.query()
              .where('id', victim.id)
              .patch({ username: raw("'taken over'") } as never),
          ).to.equal(0)
        })
        const reply = await ask('PATCH', `/users/${victim.id}/`, accessToken, { body: { username: 'taken over' } })
        expect(reply.status).to.equal(403)
        expect((await stored(victim)).username).to.equal(victim.username)
      }
      // Admins rank below superadmins and beside other admins.
      await runAs(await make(Role.ADMIN), async () => {
        for (const { id } of [boss, root]) expect(await Author.query().where({ id }).patch({ username: 'taken over' })).to.equal(0)
      })
      await runAs(helper, async () => {
        await (await Author.getOr404(boss.id)).update({ city: 'Rome' })
        await (await Author.getOr404(ada.id)).update({ username: `renamed${count}` })
      })
      expect((await stored(ada)).username).to.equal(`renamed${count}`)
    })

    it('it cannot be the password [promise 8]', async () => {
      const named = { email: `author${++count}@example.com`, username: 'Marlene.Dietrich' }
      for (const word of ['Marlene.Dietrich', 'marlene.dietrich']) {
        const reply = await ask('POST', '/users/', null, { body: { ...named, password: word } })
        expect([reply.status, reply.body.errors?.[0].message], JSON.stringify(reply.body)).to.deep.equal([
          422,
          'The password is your username: choose another.',
        ])
      }
      const change = { password: ada.username, oldPassword: password }
      expect(fieldsOf(await runAs(ada, () => rejection(ada.update(change as never))))).to.deep.equal(['password'])
    })
  })
})

eachDatabase('A limit on sign-ins by several identifiers', (db) => {
  let perms: Perms
  let hasher: TestHasher
  const locked: (string | undefined)[] = []
  before(async () => {
    hasher = new TestHasher()
    perms = initPerms({ knex: db.knex, user: Author, jwt, passwordHasher: hasher, throttle: { store: 'database', signIn: { pair: 3 } } })
    await perms.migrate()
    perms.on('locked', ({ account }) => void locked.push(account))
  })
  after(() => perms.close())

  const statusOf = (credentials: object, word = 'wrong') =>
    perms.auth.signIn({ ...credentials, password: word }).then(
      () => 200,
      (error: { status: number }) => error.status,
    )
  const work = async (credentials: object) => {
    const statements: string[] = []
    const record = ({ sql }: { sql: string }) => void (sql.startsWith('delete') || statements.push(sql))
    const before = hasher.verified.length
    db.knex.on('query', record)
    const status = await statusOf(credentials).finally(() => db.knex.off('query', record))
    return { status, hashes: hasher.verified.length - before, statements }
  }

  it('counts the guesses by both together, and answers as for unknown names [promise 12] [promise 10]', async () => {
    const user = await asSystem(() => createUser<Author>({ email: 'one@example.com', username: 'one', password }))
    const [byEmail, byName] = [{ email: 'one@example.com' }, { username: 'one' }]
    const [strangeEmail, strangeName] = [{ email: 'two@example.com' }, { username: 'two' }]
    for (let i = 0; i < 4; i += 1) expect(await work(byEmail), `attempt ${i}`).to.deep.equal(await work(strangeEmail))
    expect(await statusOf(byEmail, password)).to.equal(429)
    // The right password gets the answer of a wrong one: 429 would reveal that the name and the address belong to one user.
    expect(await work(byName)).to.deep.equal(await work(strangeName))
    expect(await statusOf(byName, password)).to.equal(401)
    expect(locked).to.include(`id:${user.id}`)
  })

  it('starts again after a success by either, and is not reached by an address that looks like an id', async () => {
    const user = await asSystem(() => createUser<Author>({ email: 'three@example.com', username: 'three', password }))
    for (const credentials of [{ email: 'three@example.com' }, { username: 'three' }, { email: 'three@example.com' }]) {
      for (let i = 0; i < 2; i += 1) expect(await statusOf(credentials)).to.equal(401)
      expect(await statusOf(credentials, password)).to.equal(200)
    }
    for (let i = 0; i < 4; i += 1) await statusOf({ email: `id:${user.id}` })
    expect(await statusOf({ username: 'three' }, password)).to.equal(200)
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
