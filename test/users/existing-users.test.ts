import { expect } from 'chai'
import { type JSONSchema, Model, type Pojo } from 'objection'
import {
  Api,
  asSystem,
  BasePermsModel,
  ConfigurationError,
  CrudResource,
  column,
  currentUserId,
  everyone,
  HasRolesMixin,
  HasUserMixin,
  initPerms,
  type Mail,
  PasswordMixin,
  type Perms,
  PermsMixin,
  Role,
  runAs,
  self,
  User,
  UserResource,
} from '../../src/index.js'
import { totpCode } from '../../src/testing/conformance/totp-code.js'
import { capturedMailer, createUser, signInAs } from '../../src/testing/index.js'
import { TestHasher } from '../auth/set-up.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

const password = 'correct horse battery'

/** The user model of an application: integer ids, a hash in the column `password`, neither `isEnabled` nor times. */
class Member extends HasRolesMixin(PasswordMixin(PermsMixin(Model))) {
  declare id: number
  declare email: string
  declare name: string
  static override tableName = 'members'
  static publicRegistration = true
  static override columnNames = { passwordHash: 'password' }
  static override jsonSchema: JSONSchema = {
    type: 'object',
    required: ['email', 'password', 'name'],
    properties: {
      id: { type: 'integer' },
      email: { type: 'string', format: 'email', maxLength: 255 },
      password: { type: 'string', maxLength: 120 },
      name: { type: 'string', minLength: 1, maxLength: 255 },
    },
  }
  static override policy = { read: self(), update: self() }
  override $formatJson(json: Pojo): Pojo {
    const { password: _, ...shown } = super.$formatJson(json)
    return shown
  }
}

class Memo extends HasUserMixin(PermsMixin(Model)) {
  declare id: number
  declare title: string
  static override tableName = 'memos'
  static override jsonSchema: JSONSchema = { type: 'object', properties: { id: { type: 'integer' }, title: { type: 'string' } } }
  static override policy = { read: everyone(), create: everyone() }
}

eachDatabase('A user model with integer ids, the hash in the column password, and neither isEnabled nor times', (db) => {
  let perms: Perms
  let ask: Client
  const mailer = capturedMailer<Mail>()
  const told: string[] = []
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Member,
      models: [Memo],
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: new TestHasher(),
      throttle: false,
      mail: { mailer, baseUrl: 'https://app.example.com' },
    })
    await db.knex.schema.createTable('members', (table) => {
      table.increments('id')
      table.string('email').notNullable().unique()
      table.string('password', 120).notNullable()
      table.string('name').notNullable()
    })
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('memos', (table) => {
      table.increments('id')
      const owner = db.dialect === 'mysql' ? table.integer('user_id').unsigned() : table.integer('user_id')
      owner.references('members.id')
      table.string('title')
    })
    ask = clientOf(
      new Api({
        resources: [
          new UserResource({
            features: { apiKeys: true, resetPassword: true, magicLink: true, totp: true, changeEmail: true, invitations: true },
          }),
          new CrudResource({ model: Memo, include: ['user'] }),
        ],
      }),
      perms,
    )
    perms.on('signInFailed', (event) => told.push(JSON.stringify(event)))
  })
  after(() => perms.close())

  let count = 0
  const register = async () => {
    count += 1
    const email = `m${count}@example.com`
    const made = await ask('POST', '/users/', null, { body: { email, password, name: 'M' } })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    return { email, id: made.body.id as number, body: made.body }
  }
  const login = (email: string, word = password) => ask('POST', '/users/login/', null, { body: { email, password: word } })
  const stored = async (id: number) => (await db.knex('members').where({ id }).first()) as { password: string; name: string }
  const token = async (email: string): Promise<string> => {
    const reply = await login(email)
    expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
    return reply.body.access_token
  }

  it('registers, signs in, refreshes, shows and changes the user', async () => {
    const { id, email, body } = await register()
    expect(body).to.deep.equal({ id, email, name: 'M' })
    expect((await stored(id)).password)
      .to.match(/./)
      .and.not.equal(password)
    const reply = await login(email.toUpperCase())
    const refreshed = await ask('POST', '/users/refresh/', null, { body: { refresh_token: reply.body.refresh_token } })
    expect(refreshed.status).to.equal(200)
    const access = refreshed.body.access_token
    expect((await ask('GET', '/users/me/', access)).body).to.deep.equal({ id, email, name: 'M', roles: [] })
    expect((await ask('PATCH', '/users/me/', access, { body: { name: 'N' } })).body).to.include({ name: 'N' })
    expect(await stored(id)).to.include({ name: 'N' })
    expect((await login(email, 'wrong password')).status).to.equal(401)
    expect(told.at(-1)).to.match(/"userId":\d+/)
  })

  it('needs a password to register, and the old one to change it', async () => {
    const refused = await ask('POST', '/users/', null, { body: { email: 'none@example.com', name: 'M' } })
    expect([refused.status, refused.body.errors]).to.deep.equal([422, [{ field: 'password', message: 'is required' }]])
    const { id, email } = await register()
    const access = await token(email)
    const before = await stored(id)
    const other = 'another horse battery'
    const without = await ask('PATCH', '/users/me/', access, { body: { password: other } })
    expect(without.body.errors?.[0]?.field).to.equal('oldPassword')
    expect(await stored(id)).to.deep.equal(before)
    const changed = await ask('PATCH', '/users/me/', access, { body: { password: other, oldPassword: password } })
    expect(changed.status, JSON.stringify(changed.body)).to.equal(200)
    expect([(await login(email)).status, (await login(email, other)).status]).to.deep.equal([401, 200])
  })

  it('shows the hash on no path, under no name [promise 43]', async () => {
    const { id, email } = await register()
    const { password: hash } = await stored(id)
    const boss = await createUser<never>({ email: 'boss@example.com', password, name: 'B' } as never, { role: Role.SUPERADMIN })
    const { accessToken: access } = await signInAs(boss)
    await runAs(id as never, () => Memo.query().insert({ title: 't' } as never))
    for (const path of ['/users/', `/users/${id}`, '/users/me/', '/memos/?include=user', '/openapi.json']) {
      const reply = await ask('GET', path, access)
      expect(reply.status, path).to.equal(200)
      expect(JSON.stringify(reply.body), path)
        .not.to.include(hash)
        .and.not.match(/passwordHash|password_hash/)
    }
    for (const query of [
      `password=${hash}`,
      'password__like=%25',
      'passwordHash=x',
      'sort=password',
      'sort=-passwordHash',
      'fields=password',
    ])
      expect((await ask('GET', `/users/?${query}`, access)).status, query).to.equal(422)
    const { schemas } = (await ask('GET', '/openapi.json')).body.components
    expect(Object.entries(schemas).filter(([name, one]: any) => !name.endsWith('Input') && one.properties?.password)).to.deep.equal([])
    for (const body of [{ passwordHash: 'x' }, { password_hash: 'x' }])
      expect((await ask('PATCH', `/users/${id}`, access, { body })).status).to.equal(422)
    await asSystem(async () => {
      const rows = [
        await Member.query().findById(id),
        await Member.query().select('id', 'email', 'password').findById(id),
        await Member.query().select('members.*').findById(id),
        (await Memo.query().where({ userId: id }).withGraphFetched('user'))[0],
        (
          await Memo.query()
            .where({ 'memos.userId': id } as never)
            .withGraphJoined('user')
        )[0],
        await Memo.query()
          .join('members', 'members.id', 'memos.user_id')
          .select('memos.title', 'members.*')
          .where('members.email', email)
          .first(),
      ]
      for (const [i, row] of rows.entries()) {
        expect(row, String(i)).not.to.equal(undefined)
        expect(JSON.stringify(row), String(i)).not.to.include(hash)
      }
      const error = await rejection(Member.query().where('password', hash).whereRaw('nowhere = 1'))
      expect(`${error.message} ${JSON.stringify(error)}`).not.to.include(hash)
    })
  })

  it('keeps the hash when other columns are saved', async () => {
    const { id, email } = await register()
    const before = await stored(id)
    await asSystem(async () => {
      const user = (await Member.query().findById(id)) as Member
      user.name = 'Z'
      await user.save()
      await (await Member.getOr404(id)).update({ name: 'Y' } as never)
    })
    expect(await stored(id)).to.deep.equal({ ...before, name: 'Y' })
    expect((await login(email)).status).to.equal(200)
  })

  it('resets a password, and removes one at the first magic link although the column is NOT NULL', async () => {
    const one = await register()
    await ask('POST', '/users/reset-password/request/', null, { body: { email: one.email } })
    await perms.auth.settled()
    const reset = await ask('POST', '/users/reset-password/', null, {
      body: { token: mailer.tokenFrom(mailer.last('resetPassword')), password: 'yet another battery' },
    })
    expect(reset.status, JSON.stringify(reset.body)).to.equal(204)
    expect((await login(one.email, 'yet another battery')).status).to.equal(200)
    const two = await register()
    await ask('POST', '/users/magic-link/request/', null, { body: { email: two.email } })
    await perms.auth.settled()
    const entered = await ask('POST', '/users/magic-link/', null, { body: { token: mailer.tokenFrom(mailer.last('magicLink')) } })
    expect(entered.status, JSON.stringify(entered.body)).to.equal(200)
    expect((await login(two.email)).status).to.equal(401)
    const me = await ask('GET', '/users/me/', entered.body.access_token)
    expect(me.body).to.include({ id: two.id })
  })

  it('changes the address by mail, and takes API keys and second factors', async () => {
    const { id, email } = await register()
    const access = await token(email)
    const asked = await ask('POST', '/users/me/email/', access, { body: { email: `new-${email}`, oldPassword: password } })
    expect(asked.status, JSON.stringify(asked.body)).to.equal(202)
    await perms.auth.settled()
    const done = await ask('POST', '/users/change-email/', null, { body: { token: mailer.tokenFrom(mailer.last('changeEmail')) } })
    expect(done.status, JSON.stringify(done.body)).to.equal(204)
    const again = await token(`new-${email}`)
    const key = await ask('POST', '/users/api-keys/', again, { body: { description: 'k', abilities: ['*'] } })
    expect(key.status, JSON.stringify(key.body)).to.equal(201)
    expect((await ask('GET', '/memos/', key.body.key)).status).to.equal(200)
    const begun = await ask('POST', '/users/me/second-factor/', again, { body: { password } })
    expect(begun.status, JSON.stringify(begun.body)).to.be.oneOf([200, 201])
    const confirmed = await ask('POST', '/users/me/second-factor/confirm/', again, { body: { code: totpCode(begun.body.secret) } })
    expect(confirmed.status, JSON.stringify(confirmed.body)).to.be.oneOf([200, 201])
    expect((await login(`new-${email}`)).body).to.include({ status: 'second_factor' })
    expect(await stored(id)).to.include({ email: `new-${email}` })
  })

  it('counts every user as enabled, in rules, writes, jobs and for the last superadmin', async () => {
    const { id } = await register()
    const user = (await asSystem(() => Member.get(id))) as Member
    expect(await runAs(id as never, () => currentUserId())).to.equal(id)
    expect(await runAs(user as never, () => Memo.query().insertAndFetch({ title: 'x' } as never))).to.include({ userId: id })
    expect(await user.canRead(user as never)).to.equal(true)
    const boss = (await asSystem(() => Member.getBy({ email: 'boss@example.com' } as never))) as Member
    const removal = rejection(asSystem(() => boss.delete()))
    expect(await removal).to.have.property('status', 409)
  })
})

describe('A column of password hashes', () => {
  it('stays hidden when the application declares it again [promise 43]', () => {
    class Renamed extends User.withColumns({ passwordHash: column.string({ maxLength: 60 }).named('password') as never }) {
      static override tableName = 'renamed_user'
    }
    expect(Renamed.columnSpecs.passwordHash).to.include({ isHidden: true, isFilterable: false, isSortable: false, columnName: 'password' })
    expect(Renamed.schema.output.properties).not.to.have.any.keys('password', 'passwordHash')
    expect(JSON.stringify(Renamed.fromDatabaseJson({ id: 'x', password: '$2b$10$hash' } as never))).not.to.include('hash')
  })

  it('is never taken for a new password, which would be hashed again', () => {
    class Unmapped extends PasswordMixin(BasePermsModel) {
      static override tableName = 'unmapped'
    }
    const schema = { type: 'object' as const, properties: { id: { type: 'integer' as const }, password: { type: 'string' as const } } }
    class Forgotten extends PasswordMixin(PermsMixin(Model)) {
      static override tableName = 'forgotten'
      static override jsonSchema: JSONSchema = schema
    }
    expect(thrown(() => Forgotten.fromJson({})))
      .to.be.instanceOf(ConfigurationError)
      .with.property('message')
      .that.match(/columnNames = \{ passwordHash: 'password' \}/)
    const row = Unmapped.fromDatabaseJson({ id: 'x', password: '$2b$10$hash' } as never)
    expect(JSON.stringify(row)).not.to.include('hash')
    expect(JSON.stringify({ ...row })).not.to.include('hash')
  })
})
