import { expect } from 'chai'
import {
  AuditLog,
  anyOf,
  BasePermsModel,
  column,
  Domain,
  HasRolesMixin,
  Invitation,
  initPerms,
  PasswordMixin,
  type Perms,
  type Policy,
  Role,
  role,
  runAs,
  SecondFactor,
  self,
  Token,
  type User,
  UserRole,
  UserSetting,
} from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection, thrown } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

const policy: Policy = {
  read: anyOf(self(), role('support')),
  create: role('support'),
  update: anyOf(self(), role('support')),
  delete: role('support'),
}
const forSupport: Policy = { read: role('support'), create: role('support'), update: role('support'), delete: role('support') }

class MixedAccount extends HasRolesMixin(PasswordMixin(BasePermsModel)).withColumns({
  email: column.string({ maxLength: 254 }).unique(),
  isEnabled: column.boolean().default(true),
  nickname: column.string({ maxLength: 40 }).nullable(),
}) {
  static override policy = policy
}

eachDatabase('A user model of mixins, without User', (db) => {
  let perms: Perms
  let helper: User
  let admin: User
  let ada: User
  let count = 0
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: MixedAccount as never,
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
      passwordHasher: testHasher(),
      throttle: false,
    })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())
  beforeEach(async () => {
    const make = (to?: string) =>
      createUser({ email: `mixed${++count}@example.com`, password: 'correct horse battery' }, to ? { role: to } : {})
    helper = await make('support')
    admin = await make(Role.ADMIN)
    ada = await make()
  })
  const stored = (user: User) => db.knex('mixed_account').where({ id: user.id }).first()

  it('does not let other roles change the accounts of admins, whatever the policy allows [promise 68]', async () => {
    const before = await stored(admin)
    await runAs(helper, async () => {
      const seen = await MixedAccount.getOr404(admin.id)
      for (const change of [{ email: 'taken-over@example.com' }, { password: 'a better one entirely' }, { isEnabled: false }])
        expect((await rejection(seen.update(change as never))).name, JSON.stringify(change)).to.equal('ForbiddenError')
      expect(await MixedAccount.query().where('id', admin.id).patch({ email: 'taken-over@example.com' })).to.equal(0)
      expect(await MixedAccount.query().where('id', admin.id).delete()).to.equal(0)
      expect((await rejection(seen.delete())).name).to.equal('ForbiddenError')
    })
    expect(await stored(admin)).to.deep.equal(before)
  })

  it('lets the help desk change the accounts of lower ranks, and other columns of all', async () => {
    await runAs(helper, async () => {
      await (await MixedAccount.getOr404(ada.id)).update({ isEnabled: false })
      await (await MixedAccount.getOr404(admin.id)).update({ nickname: 'Boss' })
    })
    expect((await stored(admin)).nickname).to.equal('Boss')
    expect(Boolean((await stored(ada)).is_enabled)).to.equal(false)
  })

  it('ends the other sessions when the password or the address changes [promise 22]', async () => {
    for (const change of [{ password: 'a better one entirely' }, { email: `changed${count}@example.com` }]) {
      const { accessToken } = await signInAs(ada)
      expect((await perms.authenticate(accessToken)).id).to.equal(ada.id)
      await asSystem(async () => (await MixedAccount.getOr404(ada.id)).update(change as never))
      expect((await rejection(perms.authenticate(accessToken))).name, JSON.stringify(change)).to.equal('InvalidTokenError')
    }
  })

  it('has one form for an address, however it is written [promise 11]', async () => {
    const spelled = ` ${ada.email.toUpperCase()} `
    expect((await rejection(asSystem(() => MixedAccount.create({ email: spelled })))).name).to.equal('UniqueViolationError')
    expect((await rejection(asSystem(async () => MixedAccount.query().insert({ email: spelled })))).name).to.equal('UniqueViolationError')
    expect((await MixedAccount.getBy({ email: spelled }))?.id).to.equal(ada.id)
  })
})

eachDatabase('A class over a table of the library that does not extend its model', (db) => {
  let perms: Perms
  let helper: User
  let admin: User
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    helper = await createUser({ email: 'helper@example.com' }, { role: 'support' })
    admin = await createUser({ email: 'admin@example.com' }, { role: Role.ADMIN })
  })
  after(() => perms.close())

  const over = (tableName: string) =>
    class Shadow extends BasePermsModel {
      static override tableName = tableName
      static override policy = forSupport
    }

  for (const model of [{ tableName: 'user', name: 'User' }, UserRole, Domain, Token, UserSetting, SecondFactor, Invitation, AuditLog]) {
    it(`writes no row of ${model.name} for a caller [promises 39, 68]`, async () => {
      const table = (model as { tableName?: string }).tableName ?? ''
      for (const spelled of [table, table.toUpperCase()].slice(0, db.dialect === 'sqlite' ? 2 : 1)) {
        const Shadow = over(spelled)
        await runAs(helper, async () => {
          for (const write of [
            () => Shadow.query().insert({}),
            () => Shadow.query().where('id', admin.id).patch({ updatedAt: new Date() }),
            () => Shadow.query().where('id', admin.id).delete(),
          ]) {
            const error = await rejection((async () => await (write as () => PromiseLike<unknown>)())())
            expect(error.name, error.message).to.equal('ConfigurationError')
            expect(error.message).to.contain(`Extend ${model.name}`)
          }
        })
      }
    })
  }

  it('grants no role [promises 39, 68]', async () => {
    class Grant extends BasePermsModel.withColumns({ userId: column.uuid(), role: column.string() }) {
      static override tableName = 'user_role'
      static override policy = forSupport
    }
    const error = await rejection(runAs(helper, () => Grant.create({ userId: helper.id, role: Role.SUPERADMIN })))
    expect(error.name).to.equal('ConfigurationError')
    expect((await helper.loadRoles()).isSuperadmin).to.equal(false)
  })

  it('reads the rows that its policy allows, and writes inside asSystem()', async () => {
    class Colleague extends BasePermsModel.withColumns({ email: column.string() }) {
      static override tableName = 'user'
      static override policy = forSupport
    }
    expect(await runAs(helper, () => Colleague.query().resultSize())).to.equal(2)
    expect(await asSystem(async () => Colleague.query().where('id', admin.id).patch({ email: 'admin@example.com' }))).to.equal(1)
  })

  it('writes no row where the name has the schema of the connection, and those of a like-named table elsewhere', async () => {
    const own = { sqlite: 'main', pg: 'public', mysql: String(db.knex.client.database()) }[db.dialect]
    const Same = over(`${own}.invitation`)
    expect((await rejection(runAs(helper, async () => Same.query().delete()))).message).to.contain('Extend Invitation')
    if (db.dialect !== 'pg') return
    await db.knex.raw('create schema crm')
    await db.knex.raw('create table crm.invitation (id uuid primary key, created_at timestamptz, updated_at timestamptz)')
    const Elsewhere = over('crm.invitation')
    expect(await runAs(helper, async () => Elsewhere.query().delete())).to.equal(0)
  })

  it('writes no row once initPerms() gives the table that it has written to a model of the library [promises 39, 68]', async () => {
    await db.knex.schema.createTable('shadow', (table) => {
      table.string('id', 36).primary()
      for (const name of ['created_at', 'updated_at']) table.datetime(name)
    })
    const Shadow = over('shadow')
    const remove = () => runAs(helper, async () => Shadow.query().delete())
    expect(await remove()).to.equal(0)
    await perms.close()
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), tables: { names: { token: 'shadow' } } })
    expect((await rejection(remove())).message).to.contain('Extend Token')
  })
})

class Flagged extends HasRolesMixin(PasswordMixin(BasePermsModel)).withColumns({
  email: column.string({ maxLength: 254 }).unique(),
  isEnabled: column.boolean().default(true),
  isAdmin: column.boolean().default(false),
  isSuperadmin: column.boolean().nullable(),
}) {
  static override tableName = 'flagged'
  static override policy: Policy = { read: self() }
}

eachDatabase('A user model with columns named like getters of HasRolesMixin', (db) => {
  let perms: Perms
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Flagged,
      passwordHasher: testHasher(),
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
    })
    await migrateAtOnce(perms)
  })
  after(() => perms.close())

  it('shows the columns, and decides by the granted roles only [promise 39]', async () => {
    const made = await asSystem(() => Flagged.create({ email: 'ada@example.com', isAdmin: true, isSuperadmin: true }))
    const id = String(made.id)
    const ada = await asSystem(() => Flagged.getOr404(id))
    expect([ada.isAdmin, ada.isSuperadmin, ada.hasRole(Role.ADMIN), ada.hasDomainAccess('press')]).to.deep.equal([true, true, false, false])
    expect(ada.toJSON()).to.include({ isAdmin: true, isSuperadmin: true })
    await asSystem(() => ada.grantRole(Role.ADMIN))
    await asSystem(async () => ada.update({ isAdmin: false }))
    expect([ada.isAdmin, ada.hasRole(Role.ADMIN)]).to.deep.equal([false, true])
    const { accessToken } = await perms.auth.signIn({ email: 'ada@example.com', password: await withPassword(ada) })
    const actor = await perms.authenticate(accessToken as string)
    const started = rejection(runAs(actor, () => perms.auth.impersonation.start(ada.id as string)))
    expect((await started).name).to.equal('ForbiddenError')
  })

  it('cannot set a getter without a column', () => {
    const error = thrown(() => Object.assign(new MixedAccount(), { isAdmin: true }))
    expect(error.message).to.equal('MixedAccount.isAdmin is computed from the roles: grant or revoke a role.')
  })

  async function withPassword(row: Flagged): Promise<string> {
    await asSystem(async () => row.update({ password: 'correct horse battery' }))
    return 'correct horse battery'
  }
})
