import { expect } from 'chai'
import type { Knex } from 'knex'
import {
  AuditLog,
  asSystem,
  ConfigurationError,
  column,
  Domain,
  Invitation,
  initPerms,
  Role,
  Token,
  User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { TestHasher } from '../auth/set-up.js'
import { createDatabase, eachDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { idKinds, openWorld, type World } from './world.js'

const setUp = (knex: Knex, more: object = {}) =>
  initPerms({ knex, jwt: { secret: 'a secret of this test, 32 bytes or more' }, passwordHasher: new TestHasher(), ...more })

eachDatabase("initPerms({ ids: 'integer' })", (db) => {
  it('numbers the rows of the tables of the library, except tokens', async () => {
    const perms = setUp(db.knex, { ids: 'integer', auditLog: true })
    try {
      await migrateAtOnce(perms)
      const user = await asSystem(() => User.create({ email: 'ada@example.com', password: 'correct horse battery' }))
      const press = await asSystem(() => Domain.create({ name: 'press' }))
      await asSystem(() => user.grantRole('editor', { domain: press }))
      const setting = await asSystem(() => UserSetting.create({ userId: user.id, key: 'theme', value: 'dark' } as never))
      expect([user.id, press.id, setting.id]).to.deep.equal([1, 1, 1])
      const [role] = await asSystem(() => UserRole.query())
      expect([role?.id, role?.userId, role?.domainId]).to.deep.equal([1, 1, 1])
      expect(user.hasRole('editor', { domain: press })).to.equal(true)
      const { accessToken = '', refreshToken = '' } = await perms.auth.signIn({
        email: 'ada@example.com',
        password: 'correct horse battery',
      })
      const [session] = await asSystem(() => Token.query())
      expect(session?.id).to.match(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
      const actor = await perms.authenticate(accessToken)
      expect([actor.id, actor.sessionId, actor.grants[0]?.domainId]).to.deep.equal([1, session?.id, 1])
      expect((await perms.auth.refresh(refreshToken)).user.id).to.equal(1)
      await perms.auth.settled()
      const events = await asSystem(() => AuditLog.query().orderBy('id'))
      expect(events.map(({ id }) => id)).to.deep.equal(events.map((_, i) => i + 1))
      expect(events.map(({ event }) => event)).to.include('signIn')
      expect(Invitation.columnSpecs.id?.type).to.equal('integer')
    } finally {
      await perms.close()
    }
  })

  it("takes events of the audit log with the database's ids, whatever id code passes", async () => {
    const perms = setUp(db.knex, { ids: 'integer' })
    try {
      const made = await asSystem(() => AuditLog.create({ id: 1, event: 'forged' } as never))
      expect(made.id).to.be.greaterThan(1)
      expect(await asSystem(() => AuditLog.query().where({ event: 'forged' }).resultSize())).to.equal(1)
    } finally {
      await perms.close()
    }
  })
})

describe('The ids of the library', () => {
  const close: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const one of close.splice(0)) await one()
  })
  eachDatabase('A model with an id of its own', (db) => {
    it("keeps it with initPerms({ ids: 'integer' })", () => {
      class Account extends User.withColumns({ id: column.uuid() }) {}
      class Place extends Domain.withColumns({ id: column.string({ maxLength: 20 }) }) {}
      const perms = setUp(db.knex, { ids: 'integer', user: Account, domain: Place })
      close.push(() => perms.close())
      expect(Account.columnSpecs.id?.type).to.equal('uuid')
      expect(UserRole.columnSpecs).to.have.nested.property('id.type', 'integer')
      expect(UserRole.columnSpecs).to.have.nested.property('userId.type', 'uuid')
      expect(UserRole.columnSpecs).to.have.nested.property('domainId.type', 'string')
    })

    it('is a UUID by default, also after a runtime with integers was closed', async () => {
      await setUp(db.knex, { ids: 'integer' }).close()
      const perms = setUp(db.knex)
      close.push(() => perms.close())
      for (const cls of [User, UserRole, Domain, UserSetting, Invitation, AuditLog]) expect(cls.columnSpecs.id?.type).to.equal('uuid')
    })

    it('of another kind is refused: an unknown one, that of another open runtime, and ids of tokens that can be guessed', async () => {
      expect(() => setUp(db.knex, { ids: 'serial' })).to.throw(ConfigurationError, "use 'uuid' or 'integer'")
      class Ticket extends Token.withColumns({ id: column.integer() as never }) {}
      expect(() => setUp(db.knex, { token: Ticket })).to.throw(ConfigurationError, 'Ids of tokens are ids of sessions')
      const perms = setUp(db.knex, { ids: 'integer' })
      close.push(() => perms.close())
      const other = await createDatabase('better-sqlite3')
      close.push(() => other.destroy())
      expect(() => setUp(other.knex)).to.throw(ConfigurationError, "another open runtime uses 'integer'")
    })
  })
})

eachDatabase('The tables of the library with integer ids, below users with other ids', (db) => {
  let world: World
  before(async () => {
    world = await openWorld(db.knex, idKinds[3] as never, { ids: 'integer' })
  })
  after(() => world.perms.close())

  it('serve requests: roles, settings and events refer to the users', async () => {
    const ada = await world.user('ada@example.com')
    await asSystem(() => ada.grantRole(Role.ADMIN))
    const { access } = await world.signIn(ada)
    const { body } = await world.client('GET', '/users/me/', access)
    expect(body.id).to.equal(ada.id)
    const [grant] = await asSystem(() => UserRole.query().where('userId', ada.id))
    expect([grant?.id, grant?.userId]).to.deep.equal([1, ada.id])
    await world.perms.auth.settled()
    const [event] = await asSystem(() => AuditLog.query().where({ event: 'signIn' }))
    expect([typeof event?.id, event?.subjectId ?? event?.actorId]).to.deep.equal(['number', ada.id])
  })
})
