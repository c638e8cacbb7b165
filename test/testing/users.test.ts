import { expect } from 'chai'
import {
  AccountDisabledError,
  Api,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  Domain,
  HasUserMixin,
  initPerms,
  type Perms,
  Role,
  runAs,
  Token,
  UniqueViolationError,
  User,
  UserOwnershipMixin,
  UserResource,
  ValidationError,
} from '../../src/index.js'
import { createUser, factory, signInAs, testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { clientOf } from '../http/client.js'

class Employee extends User.withColumns({ department: column.string().default('Sales') }) {}
class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 20 }),
  content: column.text(),
}) {}

const secret = 'a secret of this test, 32 bytes or more'

eachDatabase('Users, sessions and rows for tests', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Employee, jwt: { secret }, passwordHasher: testHasher(), outsideContext: 'deny' })
    await createTables(db.knex, [Domain, Employee, perms.models.userRole, Token, Note])
  })
  after(() => perms.close())

  describe('createUser', () => {
    it('makes a user of the registered model with another address each time, and roles loaded', async () => {
      const one = await createUser()
      const two = await createUser<Employee>({ department: 'Press' })
      expect(one).to.be.instanceOf(Employee)
      expect(one.email).to.match(/^user-\d+-[0-9a-f]{8}@example\.com$/)
      expect(two.email).not.to.equal(one.email)
      expect(two.department).to.equal('Press')
      expect(one.hasRole()).to.equal(false)
      expect(one.passwordHash ?? null).to.equal(null)
    })

    it('gives a role, everywhere or in a domain', async () => {
      expect((await createUser({}, { role: Role.SUPERADMIN })).isSuperadmin).to.equal(true)
      const domain = await factory(Domain, { name: 'press' }).create()
      for (const where of [domain, domain.id, 'press']) {
        const editor = await createUser({}, { role: 'editor', domain: where })
        expect(editor.hasRole('editor')).to.equal(false)
        expect(editor.hasRole('editor', { domain })).to.equal(true)
      }
    })

    it('takes a password, and refuses what the model refuses', async () => {
      const { email } = await createUser({ email: ' Known@example.com', password: 'correct horse battery' })
      expect(email).to.equal('known@example.com')
      expect((await perms.auth.signIn({ email, password: 'correct horse battery' })).status).to.equal('signedIn')
      expect(await rejection(createUser({ email: 'known@example.com' }))).to.be.instanceOf(UniqueViolationError)
      expect(await rejection(createUser({ email: 'no address' }))).to.be.instanceOf(ValidationError)
    })
  })

  describe('signInAs', () => {
    it('starts a session of a saved user that every endpoint accepts', async () => {
      const ada = await createUser()
      const { user, accessToken, refreshToken, headers } = await signInAs(ada)
      expect(user).to.equal(ada)
      expect(headers).to.deep.equal({ authorization: `Bearer ${accessToken}` })
      expect((await perms.authenticate(accessToken)).id).to.equal(ada.id)
      expect((await perms.auth.refresh(refreshToken)).user.id).to.equal(ada.id)
      expect(await perms.auth.sessions(ada)).to.have.length(1)
      const ask = clientOf(new Api({ resources: [new UserResource()] }), perms)
      expect((await ask('GET', '/users/me', null, { headers })).body.id).to.equal(ada.id)
      expect((await ask('POST', '/users/logout', null, { headers })).status).to.equal(204)
    })

    it('creates a user with a new address and finds a user with a known one', async () => {
      const made = await signInAs<Employee>({ email: 'New@example.com', department: 'Press' }, { role: 'editor' })
      expect(made.user.department).to.equal('Press')
      expect(made.user.hasRole('editor')).to.equal(true)
      const found = await signInAs({ email: 'new@example.com' }, { role: Role.ADMIN })
      expect(found.user.id).to.equal(made.user.id)
      expect(found.user.hasRole('editor')).to.equal(true)
      expect((await perms.authenticate(found.accessToken)).grants.map(({ role }) => role)).to.have.members(['editor', 'admin'])
      expect((await signInAs()).user.id).not.to.equal(made.user.id)
    })

    it('refuses a disabled user', async () => {
      const gone = await createUser({ isEnabled: false })
      expect(await rejection(signInAs(gone))).to.be.instanceOf(AccountDisabledError)
    })

    it('uses the given Perms', async () => {
      expect((await signInAs({}, { perms })).accessToken.split('.')).to.have.length(3)
    })
  })

  describe('factory', () => {
    const notes = factory(Note, async (n) => ({ title: `Note ${n}`, content: '', userId: (await createUser()).id }))

    it('creates numbered rows with asSystem() and the values of the test', async () => {
      const first = await notes.create()
      const second = await notes.create({ title: 'Mine' })
      expect([first.title, second.title]).to.deep.equal(['Note 1', 'Mine'])
      expect((await notes.build()).title).to.equal('Note 3')
      expect(first.userId).not.to.equal(second.userId)
      expect((await runAs(first.userId as string, () => Note.query())).map(({ id }) => id)).to.deep.equal([first.id])
      const many = await notes.createMany(3, { content: 'x' })
      expect(many.map(({ title, content }) => title + content)).to.deep.equal(['Note 4x', 'Note 5x', 'Note 6x'])
    })

    it('takes plain values, saves nothing with build, and refuses what the model refuses', async () => {
      const plain = factory(Note, { title: 'Plain', content: 'x' })
      const { id: userId } = await createUser()
      expect((await plain.build({ userId })).title).to.equal('Plain')
      expect(await runAs(userId, () => Note.query())).to.deep.equal([])
      expect((await plain.create({ userId })).content).to.equal('x')
      expect(await rejection(plain.create({ userId, title: 'x'.repeat(21) }))).to.be.instanceOf(ValidationError)
    })
  })
})

describe('signInAs without a library set up', () => {
  it('throws a ConfigurationError', async () => {
    expect((await rejection(signInAs())) as Error)
      .to.be.instanceOf(ConfigurationError)
      .with.property('message')
      .that.contains('initPerms')
  })
})
