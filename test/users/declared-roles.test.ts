import { expect } from 'chai'
import {
  asSystem,
  BasePermsModel,
  column,
  createTables,
  Domain,
  everyone,
  ForbiddenError,
  initPerms,
  member,
  type Perms,
  type Policy,
  Role,
  type RoleDeclarations,
  role,
  runAs,
  type User,
  UserRole,
  ValidationError,
} from '../../src/index.js'
import { capturedMailer, createUser } from '../../src/testing/index.js'
import { createDatabase, eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const roles: RoleDeclarations = { director: { grants: ['manager', 'agent'] }, manager: { grants: ['agent'] }, agent: {}, reader: {} }

class Case extends BasePermsModel.withColumns({ subject: column.string() }) {
  static override policy: Policy = { read: role(['agent', 'manager']), update: role('manager') }
}

eachDatabase('declared roles', (db) => {
  let perms: Perms
  let press: Domain
  let zoo: Domain
  const people: Record<string, User> = {}
  const idOf = (name: string) => people[name]?.id as string
  before(async () => {
    const mail = { mailer: capturedMailer(), baseUrl: 'https://app.example.com' }
    perms = initPerms({
      knex: db.knex,
      models: [Case],
      roles,
      mail,
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      outsideContext: 'deny',
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Case])
    await asSystem(async () => {
      press = await Domain.create({ name: 'press' })
      zoo = await Domain.create({ name: 'zoo' })
      for (const [name, role, domain] of [
        ['manager', 'manager', press],
        ['director', 'director', press],
        ['everywhere', 'manager', null],
        ['bob', 'reader', press],
        ['cleo', 'reader', zoo],
        ['boss', Role.ADMIN, null],
        ['plain', null, null],
      ] as const) {
        people[name] = await createUser({ email: `${name}@example.com` })
        if (role) await UserRole.create({ user: people[name] as User, role, domain })
      }
    })
  })
  after(() => perms.close())

  /** Returns whether the caller may grant the role, and takes it back. */
  async function mayGrant(caller: string, to: string, role: string, domain: Domain | null): Promise<boolean> {
    const made = await runAs(idOf(caller), () => UserRole.create({ userId: idOf(to), role, domain } as never)).catch((error) => error)
    if (made instanceof ForbiddenError || made?.code === 'missing_reference') return false
    if (made instanceof Error) throw made
    await asSystem(() => made.delete())
    return true
  }

  it('grant what they declare, where they are held, and nothing beyond [promises 39, 196]', async () => {
    const cases: [caller: string, to: string, role: string, domain: Domain | null, expected: boolean][] = [
      ['manager', 'bob', 'agent', press, true],
      ['manager', 'bob', 'manager', press, false],
      ['manager', 'bob', 'director', press, false],
      ['manager', 'bob', 'user', press, false],
      ['manager', 'bob', 'admin', press, false],
      ['manager', 'bob', 'agent', null, false],
      ['manager', 'bob', 'agent', zoo, false],
      ['manager', 'plain', 'agent', press, false],
      ['manager', 'boss', 'agent', press, false],
      ['director', 'bob', 'manager', press, true],
      ['director', 'bob', 'agent', press, true],
      ['director', 'bob', 'director', press, false],
      ['everywhere', 'bob', 'agent', null, true],
      ['everywhere', 'plain', 'agent', null, true],
      ['everywhere', 'plain', 'manager', null, false],
      ['everywhere', 'boss', 'agent', null, false],
      ['bob', 'bob', 'agent', press, false],
      ['boss', 'bob', 'manager', press, true],
    ]
    for (const [caller, to, role, domain, expected] of cases)
      expect(await mayGrant(caller, to, role, domain), `${caller} → ${to}: ${role} in ${domain?.name}`).to.equal(expected)
  })

  it('change and revoke only grants of these roles [promise 196]', async () => {
    const grant = await asSystem(() => UserRole.create({ user: people['bob'] as User, role: 'agent', domain: press }))
    await runAs(idOf('manager'), async () => {
      const seen = await UserRole.query().where({ domainId: press.id })
      expect(seen.map((one) => one.role)).to.have.members(['manager', 'agent'])
      const own = await UserRole.getOr404(grant.id)
      expect(await rejection(own.update({ role: 'manager' }))).to.be.instanceOf(ForbiddenError)
      await own.delete()
    })
    expect(await asSystem(() => UserRole.get(grant.id))).to.equal(null)
    await runAs(idOf('everywhere'), async () => expect(await UserRole.query().where({ domainId: zoo.id })).to.deep.equal([]))
  })

  it('lose the right with the role, in the statement that writes [promises 35, 196]', async () => {
    const { id } = await asSystem(async () => await UserRole.create({ user: people['cleo'] as User, role: 'manager', domain: zoo }))
    await runAs(idOf('cleo'), async () => {
      await asSystem(() => UserRole.query().deleteById(id))
      expect(await rejection(UserRole.create({ userId: idOf('cleo'), role: 'agent', domain: zoo } as never))).to.be.instanceOf(
        ForbiddenError,
      )
    })
  })

  it('invite people for what they grant [promise 196]', async () => {
    const invite = (caller: string, role: string) =>
      runAs(idOf(caller), () => perms.auth.invitations.invite({ email: `new-${caller}-${role}@example.com`, role, domain: 'press' }))
    expect((await invite('manager', 'agent')).role).to.equal('agent')
    expect(await rejection(invite('manager', 'manager'))).to.be.instanceOf(ForbiddenError)
    expect(await rejection(invite('bob', 'agent'))).to.be.instanceOf(ForbiddenError)
    const typo = await rejection(invite('boss', 'agnet'))
    expect(typo).to.be.instanceOf(ValidationError)
    expect(fieldsOf(typo)).to.deep.equal(['role'])
    await perms.auth.settled()
  })

  it('refuse other names in grants and policies [promise 196]', async () => {
    const typo = await rejection(asSystem(() => (people['bob'] as User).grantRole('agnet')))
    expect(typo).to.be.instanceOf(ValidationError)
    expect(fieldsOf(typo)).to.deep.equal(['role'])
    await asSystem(async () => {
      const grant = await UserRole.create({ user: people['bob'] as User, role: 'agent' })
      expect(await rejection(grant.update({ role: 'agnet' }))).to.be.instanceOf(ValidationError)
      await grant.delete()
    })
    for (const rule of [role('agnet'), member('domainId', ['agnet'])]) {
      class Paper extends BasePermsModel.withColumns({ domainId: column.uuid() }) {
        static override policy: Policy = { read: rule }
      }
      const error = await rejection(asSystem(async () => await Paper.query()))
      expect(error).to.include({ code: 'configuration' })
      expect(error.message).to.include("Did you mean 'agent'?")
    }
  })
})

describe('the option roles', () => {
  it('refuses roles that grant unknown roles, admins or themselves, and policies with unknown roles [promise 196]', async () => {
    const own = await createDatabase('better-sqlite3')
    class Paper extends BasePermsModel.withColumns({ title: column.string() }) {
      static override policy: Policy = { read: role('editor') }
    }
    // Used before the roles are declared.
    void Paper.columnSpecs
    const cases: [object, string][] = [
      [{ roles: { a1: { grants: ['b1'] } } }, "grants 'b1'"],
      [{ roles: { a1: { grants: ['admin'] } } }, "cannot grant 'admin'"],
      [{ roles: { a1: { grants: ['a1'] } } }, 'could grant itself'],
      [{ roles: { a1: { grants: ['b1'] }, b1: { grants: ['a1'] } } }, 'could grant itself'],
      [{ roles: { admin: {} } }, 'is built in'],
      [{ roles: { editr: {} }, models: [Paper] }, "Did you mean 'editr'?"],
    ]
    for (const [options, part] of cases) {
      const error = thrown(() => initPerms({ knex: own.knex, ...options }))
      expect(error).to.include({ code: 'configuration' })
      expect(error.message).to.include(part)
    }
    await own.destroy()
  })

  it('leaves every name a role without it, and grants nothing', async () => {
    const own = await createDatabase('better-sqlite3')
    const perms = initPerms({ knex: own.knex, outsideContext: 'deny' })
    await migrateAtOnce(perms)
    const manager = await asSystem(async () => {
      const user = await createUser()
      await user.grantRole('manager')
      await user.grantRole('anything')
      return user
    })
    expect(await rejection(runAs(manager.id, () => UserRole.create({ userId: manager.id, role: 'agent' } as never)))).to.be.instanceOf(
      ForbiddenError,
    )
    class Open extends BasePermsModel.withColumns({ title: column.string() }) {
      static override policy: Policy = { read: role('whatever'), create: everyone() }
    }
    expect(Open.columnSpecs).to.have.property('title')
    await perms.close()
    await own.destroy()
  })
})
