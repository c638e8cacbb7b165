import { once } from 'node:events'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import express, { type Express, json } from 'express'
import { type ExpressAdapter, expressAdapter } from '../src/adapters/express.js'
import {
  Api,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  currentUserId,
  Domain,
  ForbiddenError,
  HasDomainMixin,
  HasUserMixin,
  type HttpResponse,
  InvalidCredentialsError,
  inDomain,
  initPerms,
  type ModelClass,
  NotFoundError,
  type Perms,
  type PermsOptions,
  ProfileMixin,
  Role,
  RolesNotLoadedError,
  runAs,
  TimestampMixin,
  Token,
  transaction,
  UniqueViolationError,
  User,
  UserOwnershipMixin,
  UserResource,
  UserRole,
  ValidationError,
} from '../src/index.js'
import { eachDatabase, sqliteOnly, type TestDatabase } from './helpers/databases.js'
import { type Answer, type RequestOptions, request } from './helpers/http.js'
import { migrateAtOnce } from './helpers/library-tables-at-once.js'
import { bcrypt, cheapPasswords } from './helpers/passwords.js'

/**
 * The document that this library grew from ("User Models & Authentication"), section by section and in its order: one test
 * for each claim and each snippet. The titles of the describes are the document's.
 */

const password = 'my-secure-password'
const jwt = { secret: 'a secret of at least thirty-two bytes, for tests', accessTokenExpires: 3600, refreshTokenExpires: 2_592_000 }

interface Chapter extends Partial<Omit<PermsOptions, 'knex' | 'tables'>> {
  /** Tables beside those of the library. */
  tables?: readonly ModelClass[]
}

/**
 * A section of the document, with an application of its own. It runs on SQLite: the parts that it shows have tests of their own on every
 * database. With FULL=1, on every driver.
 */
function section(title: string, chapter: Chapter, body: (perms: () => Perms, db: TestDatabase) => void): void {
  eachDatabase(
    title,
    (db) => {
      const { tables = [], ...options } = chapter
      let perms: Perms | undefined
      before(async () => {
        perms = initPerms({ knex: db.knex, ...('passwords' in options ? {} : cheapPasswords(db)), ...options })
        await migrateAtOnce(perms)
        await createTables(db.knex, tables)
      })
      after(async () => await perms?.close())
      body(() => perms as Perms, db)
    },
    sqliteOnly,
  )
}

interface App {
  /** Inside tests only: the application runs between `before` and `after`. */
  send(method: string, path: string, options?: RequestOptions): Promise<Answer>
  /** @returns an access token */
  login(email: string, path?: string): Promise<string>
}

/** An Express application for a section; what it throws becomes a problem detail. */
function serving(perms: () => Perms, build: (app: Express, adapter: ExpressAdapter) => void): App {
  let server: Server | undefined
  before(async () => {
    const app = express()
    const adapter = expressAdapter(perms())
    build(app, adapter)
    app.use(adapter.errorHandler())
    server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
  })
  after(() => server?.close().closeAllConnections())
  const send: App['send'] = (method, path, options) =>
    request(`http://127.0.0.1:${((server as Server).address() as AddressInfo).port}`, method, path, options)
  return {
    send,
    login: async (email, path = '/api/users/login/') => (await send('POST', path, { json: { email, password } })).body.access_token,
  }
}

/** Returns the thrown error. */
async function failureOf(fn: () => Promise<unknown>): Promise<unknown> {
  try {
    await fn()
  } catch (error) {
    return error
  }
  throw new Error('It was expected to fail, and did not.')
}

let count = 0
const next = (): number => {
  count += 1
  return count
}
const someone = (values: object = {}) => User.create({ email: `user${next()}@example.com`, password, ...values })

describe('The seed document', () => {
  section('Basic Usage', {}, () => {
    it('creates a user, sets a password and saves', async () => {
      const user = User.build({ email: 'admin@example.com' })
      expect(user.isNew).to.equal(true)
      await user.setPassword('secret123!')
      await user.save()
      expect(user.isNew).to.equal(false)
      expect((await User.getByOr404({ email: 'admin@example.com' })).id).to.equal(user.id)
    })

    it('assigns the admin role, and the same object has it at once', async () => {
      const user = User.build({ email: 'second@example.com' })
      await user.save()
      const grant = await UserRole.create({ user, role: Role.ADMIN })
      expect(grant).to.be.instanceOf(UserRole)
      expect(user.hasRole(Role.ADMIN)).to.equal(true)
      await UserRole.create({ user: await User.getByOr404({ email: 'admin@example.com' }), role: Role.ADMIN })
    })

    it('verifies the password', async () => {
      const user = await User.getByOr404({ email: 'admin@example.com' })
      expect(await user.isPasswordCorrect('secret123!')).to.equal(true)
      expect(await user.isPasswordCorrect('Secret123!')).to.equal(false)
    })

    it('checks whether the user has a role', async () => {
      const user = await User.getByOr404({ email: 'admin@example.com' })
      expect(user.hasRole(Role.ADMIN)).to.equal(true)
      expect(user.hasRole(Role.SUPERADMIN)).to.equal(false)
    })
  })

  section('User Model: Fields', bcrypt, () => {
    it('email is required', async () => {
      const error = (await failureOf(() => User.create({ password }))) as ValidationError
      expect(error).to.be.instanceOf(ValidationError)
      expect(error.errors.map(({ field }) => field)).to.deep.equal(['email'])
    })

    it('email is unique, in whatever case it is written', async () => {
      await User.create({ email: 'Ada@Example.com' })
      const error = (await failureOf(() => User.create({ email: 'ADA@example.COM' }))) as UniqueViolationError
      expect(error).to.be.instanceOf(UniqueViolationError)
      expect(error.errors.map(({ field }) => field)).to.deep.equal(['email'])
      expect((await User.getByOr404({ email: ' aDa@example.com' })).email).to.equal('ada@example.com')
    })

    it('the password is stored as a hash, and is not in any output', async () => {
      const user = await someone()
      const stored = await User.query().findById(user.id).throwIfNotFound()
      expect(stored.passwordHash).to.match(/^\$2[aby]\$10\$/)
      expect(JSON.stringify(user.toJSON())).not.to.match(/password|\$2/)
      expect(user.password).to.equal(undefined)
    })

    it('without a stored password, no password is correct', async () => {
      const user = await User.create({ email: 'nopassword@example.com' })
      expect((await User.getOr404(user.id)).passwordHash).to.equal(null)
      expect(await user.isPasswordCorrect('')).to.equal(false)
    })

    it('isEnabled is true by default', async () => {
      const user = await someone()
      expect((await User.getOr404(user.id)).isEnabled).to.equal(true)
      const other = await someone({ isEnabled: false })
      expect((await User.getOr404(other.id)).isEnabled).to.equal(false)
    })

    it('id, createdAt and updatedAt come from the base', async () => {
      expect(new User()).to.be.instanceOf(BasePermsModel).and.instanceOf(BaseModel)
      const start = Date.now()
      const user = await User.getOr404((await someone()).id)
      expect(user.id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
      expect(user.createdAt).to.be.instanceOf(Date)
      expect(user.createdAt.getTime()).to.be.within(start, Date.now())
      expect(user.updatedAt.getTime()).to.equal(user.createdAt.getTime())
      await new Promise((resolve) => setTimeout(resolve, 5))
      await user.update({ isEnabled: false })
      const changed = await User.getOr404(user.id)
      expect(changed.createdAt.getTime()).to.equal(user.createdAt.getTime())
      expect(changed.updatedAt.getTime()).to.be.greaterThan(user.createdAt.getTime())
    })
  })

  section('User Model: Methods', bcrypt, () => {
    it('setPassword hashes with bcrypt', async () => {
      const user = User.build({ email: 'user@example.com' })
      await user.setPassword(password)
      expect(user.passwordHash).to.match(/^\$2[aby]\$/)
      await user.save()
    })

    it('isPasswordCorrect() checks the password, also on a reloaded row', async () => {
      const user = await User.getByOr404({ email: 'user@example.com' })
      expect(await user.isPasswordCorrect(password)).to.equal(true)
      expect(await user.isPasswordCorrect(`${password} `)).to.equal(false)
    })

    it('hasRole() returns whether the user has a role, and without an argument whether the user has at least one', async () => {
      const user = await User.getByOr404({ email: 'user@example.com' })
      expect(user.hasRole()).to.equal(false)
      await UserRole.create({ user, role: Role.ADMIN })
      expect(user.hasRole(Role.ADMIN)).to.equal(true)
      expect(user.hasRole()).to.equal(true)
      expect(user.hasRole(Role.USER)).to.equal(false)
    })

    it('roles is the list of UserRole objects', async () => {
      const user = await User.getByOr404({ email: 'user@example.com' })
      expect(user.roles).to.have.length(1)
      expect(user.roles?.[0]).to.be.instanceOf(UserRole)
      expect(user.roles?.[0]?.role).to.equal('admin')
    })

    it('tokens is the list of Token objects, once fetched', async () => {
      const user = await User.getByOr404({ email: 'user@example.com' })
      expect(user.tokens).to.equal(undefined)
      await Token.issue(user, { description: 'CLI token' })
      await user.$fetchGraph('tokens')
      expect(user.tokens).to.have.length(1)
      expect(user.tokens?.[0]).to.be.instanceOf(Token)
      expect(user.numTokens).to.equal(1)
    })
  })

  section('Default Roles', {}, () => {
    it('Role has superadmin, admin and user', () => {
      expect(Role).to.deep.equal({ SUPERADMIN: 'superadmin', ADMIN: 'admin', USER: 'user' })
    })

    it('roles are assigned to a user found by a query, one after the other', async () => {
      await someone({ email: 'user@example.com' })
      const user = await User.query().findOne({ email: 'user@example.com' }).throwIfNotFound()
      expect(() => user.hasRole(Role.ADMIN), 'a plain query loads no roles').to.throw(RolesNotLoadedError)
      await UserRole.create({ user, role: Role.ADMIN })
      await UserRole.create({ user, role: Role.SUPERADMIN })
      await user.loadRoles()
      expect(user.roles?.map(({ role }) => role).sort()).to.deep.equal(['admin', 'superadmin'])
    })

    it('a superadmin is an admin', async () => {
      const user = await someone()
      await UserRole.create({ user, role: Role.SUPERADMIN })
      expect(user.hasRole(Role.ADMIN)).to.equal(true)
      expect([user.isAdmin, user.isSuperadmin]).to.deep.equal([true, true])
    })

    it('a role granted twice, or six times at once, is granted once', async () => {
      const user = await someone()
      const grants = await Promise.all(Array.from({ length: 6 }, () => UserRole.create({ user, role: Role.USER })))
      expect(new Set(grants.map(({ id }) => id)).size).to.equal(1)
      expect(await UserRole.query().where({ userId: user.id }).resultSize()).to.equal(1)
    })

    it('a specific role is found and deleted', async () => {
      const user = await someone()
      await UserRole.create({ user, role: 'moderator' })
      await UserRole.create({ user, role: Role.USER })
      const role = await UserRole.query().findOne({ userId: user.id, role: 'moderator' })
      if (role) await role.delete()
      expect((await User.getOr404(user.id)).roles?.map((grant) => grant.role)).to.deep.equal(['user'])
    })

    it('or revoked', async () => {
      const user = await someone()
      await user.grantRole('moderator')
      expect(await user.revokeRole('moderator')).to.equal(true)
      expect(await user.revokeRole('moderator')).to.equal(false)
      expect((await User.getOr404(user.id)).hasRole()).to.equal(false)
    })
  })

  describe('User Authentication Blueprints', () => {
    section('UserResource', { jwt }, (perms) => {
      const app = serving(perms, (express, { router }) => {
        express.use(router(new Api({ prefix: '/api', resources: [new UserResource()] })))
      })

      it('gives POST /api/users/login/: JWT authentication', async () => {
        const { email } = await asSystem(() => someone())
        const { status, body } = await app.send('POST', '/api/users/login/', { json: { email, password } })
        expect(status).to.equal(200)
        expect(body).to.have.all.keys('access_token', 'refresh_token', 'token_type', 'expires_in')
        expect((await app.send('POST', '/api/users/login/', { json: { email, password: 'wrong' } })).status).to.equal(401)
      })

      it('gives GET /api/users/me/: the current user', async () => {
        const user = await asSystem(() => someone())
        const { status, body } = await app.send('GET', '/api/users/me/', { token: await app.login(user.email) })
        expect(status).to.equal(200)
        expect(body).to.include({ id: user.id, email: user.email, isEnabled: true })
        expect((await app.send('GET', '/api/users/me/')).status).to.equal(401)
      })

      it('gives list, detail, create, update and delete', async () => {
        const { email } = await asSystem(async () => {
          const admin = await someone()
          await UserRole.create({ user: admin, role: Role.ADMIN })
          return admin
        })
        const token = await app.login(email)
        const made = await app.send('POST', '/api/users/', { token, json: { email: 'made@example.com', password } })
        expect(made.status).to.equal(201)
        const path = `/api/users/${made.body.id}`
        expect((await app.send('GET', path, { token })).body.email).to.equal('made@example.com')
        expect((await app.send('PATCH', path, { token, json: { isEnabled: false } })).body.isEnabled).to.equal(false)
        const list = await app.send('GET', '/api/users/', { token })
        expect(list.body.data.map(({ id }: { id: string }) => id)).to.include(made.body.id)
        expect((await app.send('DELETE', path, { token })).status).to.equal(204)
        expect((await app.send('GET', path, { token })).status).to.equal(404)
      })

      it('refuses registration unless the model allows it', async () => {
        expect((await app.send('POST', '/api/users/', { json: { email: 'new@example.com', password } })).status).to.equal(401)
      })
    })

    class PublicUser extends User {
      static override publicRegistration = true
    }
    section('Enable Public Registration, and several instances', { jwt }, (perms) => {
      const app = serving(perms, (express, { router }) => {
        const publicUsers = new UserResource({ model: PublicUser, path: 'sign-up', name: 'PublicUser', methods: ['create'] })
        const adminUsers = new UserResource({ path: 'admin/users', methods: { list: { adminOnly: true } } })
        express.use(router(new Api({ prefix: '/api', resources: [publicUsers, adminUsers] })))
      })

      it('lets an anonymous caller create a user, who gets no rights', async () => {
        const json = { email: 'visitor@example.com', password }
        expect((await app.send('POST', '/api/sign-up/', { json })).status).to.equal(201)
        const token = await app.login(json.email, '/api/admin/users/login')
        expect((await app.send('GET', '/api/admin/users/', { token })).status).to.equal(403)
        expect(
          (await app.send('POST', '/api/sign-up/', { json: { email: 'v2@example.com', password, isEnabled: false } })).status,
        ).to.be.oneOf([403, 422])
      })

      it('refuses registration at the other instance', async () => {
        expect((await app.send('POST', '/api/admin/users/', { json: { email: 'x@example.com', password } })).status).to.equal(401)
        expect((await app.send('GET', '/api/sign-up/')).status).to.equal(405)
      })
    })

    class Staff extends User.withColumns({ department: column.string({ maxLength: 100 }) }) {}
    section('Customize: model, path and skipMethods', { jwt, user: Staff }, (perms) => {
      const app = serving(perms, (express, { router }) => {
        express.use(router(new Api({ resources: [new UserResource({ model: Staff, path: '/api/auth/', skipMethods: ['delete'] })] })))
      })

      it("serves the application's user model under its own path", async () => {
        const { email } = await asSystem(() => Staff.create({ email: 's@example.com', password, department: 'R&D' }))
        const token = await app.login(email, '/api/auth/login/')
        const me = await app.send('GET', '/api/auth/me/', { token })
        expect(me.body.department).to.equal('R&D')
        expect((await app.send('DELETE', `/api/auth/${me.body.id}`, { token })).status).to.equal(405)
      })
    })

    section('Customize: arguments and schema of create, such as an invitation', { jwt }, (perms) => {
      const InviteSignup = {
        type: 'object',
        properties: { email: { type: 'string' }, password: { type: 'string' }, inviteCode: { type: 'string' } },
        required: ['email', 'password', 'inviteCode'],
        additionalProperties: false,
      }
      const app = serving(perms, (express, { router }) => {
        const invited = new UserResource({
          model: PublicUser,
          methods: { create: { argSchema: InviteSignup, schema: ['id', 'email'] } },
          hooks: {
            beforeCreate: ({ args }) => {
              if (args['inviteCode'] !== 'otter') throw new ForbiddenError('This invitation is not valid.')
            },
          },
        })
        express.use(router(new Api({ prefix: '/api', resources: [invited] })))
      })

      it('accepts a valid invite code, and shows the columns of the schema', async () => {
        const invite = (more: object) => app.send('POST', '/api/users/', { json: { email: 'i@example.com', password, ...more } })
        expect((await invite({})).status).to.equal(422)
        expect((await invite({ inviteCode: 'stoat' })).status).to.equal(403)
        const { status, body } = await invite({ inviteCode: 'otter' })
        expect(status).to.equal(201)
        expect(body).to.have.all.keys('id', 'email')
      })
    })

    section('Customize: a subclass that overrides the endpoints', { jwt }, (perms) => {
      class AdminUserResource extends UserResource {
        override loginEndpoint() {
          const endpoint = super.loginEndpoint()
          return endpoint.with({
            handler: async (context) => ((await endpoint.options.handler(context)) as HttpResponse).with({ 'x-login': 'admin' }),
          })
        }

        override currentUserEndpoint() {
          return super.currentUserEndpoint().with({ handler: () => ({ id: currentUserId(), extra: true }) })
        }
      }
      const app = serving(perms, (express, { router }) => {
        express.use(router(new Api({ prefix: '/api', resources: [new AdminUserResource()] })))
      })

      it('keeps the default behaviour by calling super, and adds its own', async () => {
        const { id, email } = await asSystem(() => someone())
        const { status, body, headers } = await app.send('POST', '/api/users/login/', { json: { email, password } })
        expect([status, headers.get('x-login')]).to.deep.equal([200, 'admin'])
        const me = await app.send('GET', '/api/users/me/', { token: body.access_token })
        expect(me.body).to.deep.equal({ id, extra: true })
      })
    })
  })

  describe('JWT Authentication (Manual Implementation)', () => {
    section('Configuration and endpoints', { jwt }, (perms) => {
      const app = serving(perms, (express, { authenticate, requireUser }) => {
        express.post('/login', json(), async (req, res) => {
          const { email, password: word } = req.body as { email: string; password: string }
          const user = await asSystem(() => User.getBy({ email }))
          if (!user || !(await user.isPasswordCorrect(word))) return void res.status(401).json({ error: 'Invalid credentials' })
          if (!user.isEnabled) return void res.status(403).json({ error: 'Account disabled' })
          const refresh_token = await perms().auth.createRefreshToken(user)
          const access_token = await perms().auth.createAccessToken(user, { refreshToken: refresh_token })
          res.json({ access_token, refresh_token })
        })
        express.use(authenticate())
        express.get('/profile', requireUser(), async (_req, res) => {
          const user = await User.getByOr404({ id: currentUserId() as string })
          res.json(user.toJSON())
        })
      })

      it('access tokens live for an hour, refresh tokens for 30 days, as configured', async () => {
        const user = await asSystem(() => someone())
        const { iat, exp, sub } = perms().auth.verifyAccessToken(await perms().auth.createAccessToken(user))
        expect([(exp as number) - (iat as number), sub]).to.deep.equal([3600, user.id])
        await perms().auth.createRefreshToken(user)
        const token = await asSystem(() => Token.query().findOne({ userId: user.id, kind: 'refresh' }).throwIfNotFound())
        expect((token.expiresAt as Date).getTime()).to.be.closeTo(Date.now() + 2_592_000_000, 60_000)
      })

      it('a custom sign-in route returns both tokens, 401, or 403 for a disabled account', async () => {
        const [user, disabled] = await asSystem(async () => [await someone(), await someone({ isEnabled: false })] as const)
        const login = (email: string, word = password) => app.send('POST', '/login', { json: { email, password: word } })
        expect((await login(user.email)).body).to.have.all.keys('access_token', 'refresh_token')
        expect((await login(user.email, 'wrong')).status).to.equal(401)
        expect((await login('nobody@example.com')).status).to.equal(401)
        expect((await login(disabled.email)).status).to.equal(403)
      })

      it('protects an endpoint', async () => {
        const { id, email } = await asSystem(() => someone())
        const { status, body } = await app.send('GET', '/profile', { token: await app.login(email, '/login') })
        expect(status).to.equal(200)
        expect(body).to.include({ id, email, isEnabled: true })
        expect((await app.send('GET', '/profile')).status).to.equal(401)
        expect((await app.send('GET', '/profile', { token: 'nonsense' })).status).to.equal(401)
      })
    })
  })

  section('Token Management', {}, (_perms, db) => {
    it('a token is stored with its description and expiry, and only its hash', async () => {
      const user = await someone()
      const expiresAt = new Date(Date.now() + 30 * 86_400_000)
      const { token, plain } = await Token.issue(user, { description: 'CLI token', expiresAt })
      const stored = await Token.getOr404(token.id)
      expect(stored.userId).to.equal(user.id)
      expect(stored.description).to.equal('CLI token')
      expect(stored.expiresAt?.getTime()).to.equal(expiresAt.getTime())
      expect([stored.revoked, stored.revokedAt]).to.deep.equal([false, null])
      expect(JSON.stringify(await db.knex('token').where({ id: token.id }))).not.to.contain(plain)
      expect(stored.toJSON()).not.to.have.property('token')
    })

    it('a token may have a value that the application chose', async () => {
      const user = await someone()
      const value = 'cli-0123456789-abcdefghijkl'
      await Token.issue(user, { token: value, description: 'CLI token' })
      expect((await Token.verify(value))?.user?.id).to.equal(user.id)
    })

    it('description and expiry may be missing', async () => {
      const { token } = await Token.issue(await someone())
      expect([token.description, token.expiresAt]).to.deep.equal([null, null])
    })

    it('update({ revoked: true, revokedAt }) revokes the token and stores the time', async () => {
      const { token, plain } = await Token.issue(await someone())
      expect(await Token.verify(plain)).to.be.instanceOf(Token)
      await token.update({ revoked: true, revokedAt: new Date() })
      const stored = await Token.getOr404(token.id)
      expect(stored.revoked).to.equal(true)
      expect(stored.revokedAt).to.be.instanceOf(Date)
      expect(await Token.verify(plain)).to.equal(null)
    })

    it('so does revoke()', async () => {
      const { token, plain } = await Token.issue(await someone())
      await token.revoke()
      expect((await Token.getOr404(token.id)).revokedAt).to.be.instanceOf(Date)
      expect(await Token.verify(plain)).to.equal(null)
    })

    it('expired tokens are cleaned up, by a query or by deleteExpired()', async () => {
      const user = await someone()
      const old = async () => {
        const { token } = await Token.issue(user, { expiresIn: 60 })
        await token.update({ expiresAt: new Date(Date.now() - 1000) })
      }
      const { token: living } = await Token.issue(user, { expiresIn: 60 })
      const { token: endless } = await Token.issue(user)
      await old()
      expect(await Token.query().where('expiresAt', '<', new Date()).delete()).to.equal(1)
      await old()
      await old()
      expect(await Token.deleteExpired()).to.equal(2)
      const left = await Token.query().where({ userId: user.id })
      expect(left.map(({ id }) => id).sort()).to.deep.equal([living.id, endless.id].sort())
    })

    it('its permissions are those of the owner', async () => {
      const [ada, bob] = [await someone(), await someone()]
      const { token } = await Token.issue(ada)
      expect(await runAs(ada, () => Token.get(token.id))).to.be.instanceOf(Token)
      expect(await runAs(bob, () => Token.get(token.id))).to.equal(null)
      await runAs(ada, async () => await (await Token.getOr404(token.id)).revoke())
      expect((await Token.getOr404(token.id)).revoked).to.equal(true)
    })

    it('deleting a user takes the tokens and roles along', async () => {
      const user = await someone()
      const { token } = await Token.issue(user)
      await user.grantRole(Role.USER)
      await user.delete()
      expect(await Token.get(token.id)).to.equal(null)
      expect(await UserRole.query().where({ userId: user.id }).resultSize()).to.equal(0)
    })
  })

  describe('Extending User Model', () => {
    class Employee extends User.withColumns({
      employeeId: column.string({ maxLength: 32 }).unique(),
      department: column.string({ maxLength: 100 }),
      hireDate: column.datetime(),
    }) {}
    const hired = (values: object = {}) =>
      Employee.create({
        email: `e${next()}@example.com`,
        password,
        employeeId: `E-${count}`,
        department: 'R&D',
        hireDate: new Date(0),
        ...values,
      })

    section('Basic Extension', { user: Employee }, (_perms, db) => {
      it('has its own table with all columns, and its rows can sign in', async () => {
        expect(Employee.tableName).to.equal('employee')
        const hireDate = new Date('2024-05-06T07:08:09.123Z')
        const { id } = await hired({ hireDate })
        const employee = await Employee.getOr404(id)
        expect(employee.hireDate.getTime()).to.equal(hireDate.getTime())
        expect(employee.department).to.equal('R&D')
        expect(await employee.isPasswordCorrect(password)).to.equal(true)
        expect(await db.knex.schema.hasTable('user')).to.equal(false)
      })

      it('validates the new columns', async () => {
        const missing = (await failureOf(() => Employee.create({ email: 'x@example.com' }))) as ValidationError
        expect(missing.errors.map(({ field }) => field).sort()).to.deep.equal(['department', 'employeeId', 'hireDate'])
        const { employeeId } = await hired()
        const taken = (await failureOf(() => hired({ employeeId }))) as UniqueViolationError
        expect(taken).to.be.instanceOf(UniqueViolationError)
        expect(taken.errors.map(({ field }) => field)).to.deep.equal(['employeeId'])
        const long = (await failureOf(() => hired({ employeeId: 'x'.repeat(33) }))) as ValidationError
        expect(long.errors.map(({ field }) => field)).to.deep.equal(['employeeId'])
      })

      it('has roles and tokens as User has, and they refer to it', async () => {
        const employee = await hired()
        await UserRole.create({ user: employee, role: Role.ADMIN })
        await Token.issue(employee)
        const again = await Employee.query().findById(employee.id).withGraphFetched('[roles, tokens]').throwIfNotFound()
        expect(again.hasRole(Role.ADMIN)).to.equal(true)
        expect(again.numTokens).to.equal(1)
        const grant = await UserRole.query().findOne({ userId: employee.id }).withGraphFetched('user').throwIfNotFound()
        expect(grant.user).to.be.instanceOf(Employee)
      })
    })

    class Customer extends ProfileMixin(User).withColumns({ loyaltyPoints: column.integer().default(0) }) {}
    section('With Profile Mixin', { user: Customer }, () => {
      it('adds the profile beside the columns of its own', async () => {
        const { id } = await Customer.create({ email: 'c@example.com', firstName: 'Grace', lastName: 'Hopper' })
        const customer = await Customer.getOr404(id)
        expect([customer.firstName, customer.lastName, customer.loyaltyPoints]).to.deep.equal(['Grace', 'Hopper', 0])
        expect(customer.fullName).to.equal('Grace Hopper')
      })
    })

    class Member extends TimestampMixin(User).withColumns({ membershipLevel: column.string({ maxLength: 20 }) }) {}
    section('With Timestamps Mixin', { user: Member }, () => {
      it("names the table 'member'", () => {
        expect(Member.tableName).to.equal('member')
      })

      it('has createdAt and updatedAt, and when the user was last seen', async () => {
        const { id } = await Member.create({ email: 'm@example.com', membershipLevel: 'gold' })
        const member = await Member.getOr404(id)
        expect(member.membershipLevel).to.equal('gold')
        expect(member.createdAt).to.be.instanceOf(Date)
        expect(member.updatedAt).to.be.instanceOf(Date)
        expect([member.lastLoginAt, member.emailVerifiedAt]).to.deep.equal([null, null])
      })
    })

    class TenantUser extends HasUserMixin(User) {
      declare user?: TenantUser
    }
    section('Multi-Tenant Users', { user: TenantUser }, () => {
      it("names the table 'tenant_user'", () => {
        expect(TenantUser.tableName).to.equal('tenant_user')
      })

      it('has userId and the relation user', async () => {
        const first = await TenantUser.create({ email: 'first@example.com' })
        expect(first.userId).to.equal(null)
        const second = await TenantUser.create({ email: 'second@example.com', userId: first.id })
        const again = await TenantUser.query().findById(second.id).withGraphFetched('user').throwIfNotFound()
        expect(again.user?.email).to.equal('first@example.com')
      })
    })
  })

  describe('Profile Mixin', () => {
    class UserProfile extends ProfileMixin(User) {}
    section('on a user', { user: UserProfile }, () => {
      it("names the table 'user_profile'", () => {
        expect(UserProfile.tableName).to.equal('user_profile')
      })

      const profile = {
        firstName: 'Ada',
        lastName: 'Lovelace',
        phone: '+44 20 7946 0000',
        address: "12 St James's Square",
        city: 'London',
        state: 'Greater London',
        postalCode: 'SW1Y 4JH',
        country: 'United Kingdom',
      }

      it('adds first and last name, phone, address, city, state, postal code and country', async () => {
        const { id } = await UserProfile.create({ email: 'ada@example.com', ...profile })
        expect(await UserProfile.getOr404(id)).to.include(profile)
      })

      it('and all of them may be missing', async () => {
        const { id } = await UserProfile.create({ email: 'bob@example.com' })
        const user = await UserProfile.getOr404(id)
        expect(Object.keys(profile).map((key) => user[key as keyof typeof profile])).to.deep.equal(Array(8).fill(null))
        expect(user.fullName).to.equal('')
      })
    })
  })

  class Article extends HasDomainMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 200 }) }) {
    static override policy = { read: authenticated(), create: authenticated(), update: authenticated() }
  }
  section('Domain/Multi-Tenancy', { tables: [Article] }, () => {
    let press: Domain
    let shop: Domain
    let editor: User
    before(async () => {
      press = await Domain.create({ name: 'press', displayName: 'The Press' })
      shop = await Domain.create({ name: 'shop' })
      editor = await someone()
      await UserRole.create({ user: editor, role: 'editor', domain: press })
      await editor.loadRoles()
    })

    it('a role may be granted in one domain only', async () => {
      expect(editor.hasRole('editor', { domain: 'press' })).to.equal(true)
      expect(editor.hasRole('editor', { domain: press.id })).to.equal(true)
      expect(editor.hasRole('editor', { domain: press })).to.equal(true)
      expect(editor.hasRole('editor', { domain: 'shop' })).to.equal(false)
      expect(editor.hasRole('editor'), 'not globally').to.equal(false)
      expect(editor.hasRole()).to.equal(true)
      expect(editor.domainIds).to.deep.equal([press.id])
    })

    it('a global role is held in every domain', async () => {
      const admin = await someone()
      await UserRole.create({ user: admin, role: Role.ADMIN })
      await admin.loadRoles()
      expect(admin.hasRole(Role.ADMIN, { domain: 'shop' })).to.equal(true)
      expect([admin.hasDomainAccess('shop'), editor.hasDomainAccess(shop)]).to.deep.equal([true, false])
    })

    it('a role in an inactive domain has no effect', async () => {
      const closed = await Domain.create({ name: 'closed', active: false })
      const user = await someone()
      await UserRole.create({ user, role: 'editor', domain: closed })
      await user.loadRoles()
      expect(user.hasRole('editor', { domain: 'closed' })).to.equal(false)
    })

    it('rows of a domain are seen by its members only', async () => {
      const mine = await runAs(editor, () => Article.create({ title: 'News' }))
      expect(mine.domainId).to.equal(press.id)
      await inDomain('shop', () => Article.create({ title: 'Prices' }))
      expect((await runAs(editor, () => Article.query())).map(({ title }) => title)).to.deep.equal(['News'])
      expect(await Article.query().resultSize()).to.equal(2)
    })
  })

  describe('Domain/Multi-Tenancy: custom user context', () => {
    const seen: unknown[] = []
    const loadUser = async (claims: Record<string, unknown>) => {
      seen.push(claims['tenant'])
      return await asSystem(() => User.get(claims['sub'] as string))
    }
    section('loadUser', { jwt: { ...jwt, claims: () => ({ tenant: 'press' }) }, loadUser }, (perms) => {
      it('loads the caller with the function of the application, from the claims of its token', async () => {
        const user = await someone()
        const actor = await perms().authenticate(await perms().auth.createAccessToken(user))
        expect([actor.id, seen.at(-1)]).to.deep.equal([user.id, 'press'])
      })
    })
  })

  enum CustomRole {
    SUPER_ADMIN = 'super_admin',
    EDITOR = 'editor',
    VIEWER = 'viewer',
    CONTRIBUTOR = 'contributor',
  }
  section('Custom Roles', {}, () => {
    it('any string enum is a set of roles', async () => {
      await someone({ email: 'editor@example.com' })
      const user = await User.getByOr404({ email: 'editor@example.com' })
      await UserRole.create({ user, role: CustomRole.EDITOR })
      expect(user.hasRole(CustomRole.EDITOR)).to.equal(true)
      expect(user.hasRole(CustomRole.VIEWER)).to.equal(false)
    })

    it('super_admin is a role of the application, not of the library', async () => {
      const user = await someone()
      await user.grantRole(CustomRole.SUPER_ADMIN)
      await user.loadRoles()
      expect([user.hasRole(CustomRole.SUPER_ADMIN), user.isAdmin, user.isSuperadmin]).to.deep.equal([true, false, false])
    })

    it('a name that resembles a reserved role is refused', async () => {
      const user = await someone()
      for (const role of ['ADMIN', 'admin ', 'Superadmin']) {
        expect(await failureOf(() => UserRole.create({ user, role })), role).to.be.instanceOf(ValidationError)
      }
    })
  })

  describe('Permission Integration', () => {
    class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
      title: column.string({ maxLength: 200 }),
      content: column.text(),
    }) {}
    section("of a document of the user's own", { tables: [UserDocument] }, () => {
      let ada: User
      let bob: User
      let admin: User
      let document: UserDocument
      before(async () => {
        ada = await someone()
        bob = await someone()
        admin = await someone()
        await UserRole.create({ user: admin, role: Role.ADMIN })
        document = await runAs(ada, () => UserDocument.create({ title: 'Mine', content: 'Text' }))
      })

      it("names the table 'user_document'", () => {
        expect(UserDocument.tableName).to.equal('user_document')
      })

      it('makes the caller the owner of new rows', () => {
        expect(document.userId).to.equal(ada.id)
      })

      it('lets users reach their own documents: get, list, change', async () => {
        await runAs(ada, async () => {
          expect(await UserDocument.query().resultSize()).to.equal(1)
          await (await UserDocument.getOr404(document.id)).update({ title: 'Changed' })
        })
        expect((await UserDocument.getOr404(document.id)).title).to.equal('Changed')
      })

      it('refuses all access to documents of other users', async () => {
        await runAs(bob, async () => {
          expect(await UserDocument.get(document.id)).to.equal(null)
          expect(await failureOf(() => UserDocument.getOr404(document.id))).to.be.instanceOf(NotFoundError)
          expect(await UserDocument.query()).to.deep.equal([])
          expect(await UserDocument.query().resultSize()).to.equal(0)
          expect(await UserDocument.query().where('title', 'x').orWhere('id', document.id)).to.deep.equal([])
          expect(await UserDocument.query().patch({ title: 'Stolen' })).to.equal(0)
          expect(await UserDocument.query().delete()).to.equal(0)
          await failureOf(() => document.getClone().update({ title: 'Stolen' }))
          await failureOf(() => document.getClone().delete())
          expect(await failureOf(() => UserDocument.create({ title: 'Forged', content: '', userId: ada.id }))).to.be.instanceOf(
            ForbiddenError,
          )
        })
        expect((await UserDocument.getOr404(document.id)).title).to.equal('Changed')
      })

      it('lets admins reach all', async () => {
        await runAs(admin, async () => {
          expect(await UserDocument.query().resultSize()).to.equal(1)
          await (await UserDocument.getOr404(document.id)).update({ content: 'Moderated' })
          await (await UserDocument.getOr404(document.id)).delete()
        })
        expect(await UserDocument.query().resultSize()).to.equal(0)
      })
    })
  })

  describe('Example: Complete Auth System', () => {
    section('register, login, profile, and users managed by admins', { jwt }, (perms) => {
      const app = serving(perms, (express, { authenticate, router, requireUser }) => {
        express.post('/auth/register', json(), async (req, res) => {
          const { email, password: word } = req.body as { email: string; password: string }
          await asSystem(async () => {
            const user = User.build({ email })
            await user.setPassword(word)
            await transaction(async () => {
              await user.save()
              await UserRole.create({ user, role: Role.USER })
            })
          })
          res.status(201).json({ message: 'User created' })
        })
        express.post('/auth/login', json(), async (req, res) => {
          const { email, password: word } = req.body as { email: string; password: string }
          const user = await perms().auth.checkPassword(email, word)
          if (!user) throw new InvalidCredentialsError()
          const refresh_token = await perms().auth.createRefreshToken(user)
          res.json({ access_token: await perms().auth.createAccessToken(user, { refreshToken: refresh_token }), refresh_token })
        })
        express.use(authenticate())
        express.get('/auth/profile', requireUser(), async (_req, res) => {
          const user = await User.getByOr404({ id: currentUserId() as string })
          res.json({ id: user.id, email: user.email, isEnabled: user.isEnabled, roles: user.roles?.map(({ role }) => role) })
        })
        const users = new CrudResource({
          model: User,
          path: 'users',
          methods: { delete: { adminOnly: true }, update: { adminOnly: true } },
        })
        express.use(router(new Api({ prefix: '/api', resources: [users] })))
      })
      const credentials = { email: 'ada@example.com', password }

      it('registers a user with the default role', async () => {
        const { status, body } = await app.send('POST', '/auth/register', { json: credentials })
        expect([status, body]).to.deep.equal([201, { message: 'User created' }])
        const user = await asSystem(() => User.getByOr404({ email: credentials.email }))
        expect(user.hasRole(Role.USER)).to.equal(true)
      })

      it('refuses an address that exists, and writes no row', async () => {
        expect((await app.send('POST', '/auth/register', { json: { ...credentials, email: 'ADA@example.com' } })).status).to.equal(409)
        expect(await asSystem(() => User.query().resultSize())).to.equal(1)
        expect(await asSystem(() => UserRole.query().resultSize())).to.equal(1)
      })

      it('returns both tokens at sign-in, or 401', async () => {
        expect((await app.send('POST', '/auth/login', { json: credentials })).body).to.have.all.keys('access_token', 'refresh_token')
        expect((await app.send('POST', '/auth/login', { json: { ...credentials, password: 'wrong' } })).status).to.equal(401)
      })

      it('shows the profile with the roles', async () => {
        const { id } = await asSystem(() => User.getByOr404({ email: credentials.email }))
        const { body } = await app.send('GET', '/auth/profile', { token: await app.login(credentials.email, '/auth/login') })
        expect(body).to.deep.equal({ id, email: credentials.email, isEnabled: true, roles: ['user'] })
        expect((await app.send('GET', '/auth/profile')).status).to.equal(401)
      })

      it('lets only admins change and delete users', async () => {
        const [user, admin] = await asSystem(async () => [await someone(), await someone()] as const)
        await asSystem(() => UserRole.create({ user: admin, role: Role.ADMIN }))
        const [own, theirs] = [await app.login(user.email, '/auth/login'), await app.login(admin.email, '/auth/login')]
        const path = `/api/users/${user.id}`
        expect((await app.send('PATCH', path, { token: own, json: { isEnabled: false } })).status).to.equal(403)
        expect((await app.send('DELETE', path, { token: own })).status).to.equal(403)
        expect((await app.send('PATCH', path, { token: theirs, json: { email: 'new@example.com' } })).body.email).to.equal(
          'new@example.com',
        )
        expect((await app.send('DELETE', path, { token: theirs })).status).to.equal(204)
        expect(await asSystem(() => User.get(user.id))).to.equal(null)
      })
    })
  })
})
