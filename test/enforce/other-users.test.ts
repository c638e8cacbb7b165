import { expect } from 'chai'
import {
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  colleague,
  column,
  createTables,
  Domain,
  everyone,
  explain,
  ForbiddenError,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  MissingReferenceError,
  member,
  membersPolicy,
  type Perms,
  type Policy,
  Role,
  role,
  runAs,
  self,
  User,
  UserRole,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { countQueries, createDatabase, eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Employee extends User {
  static override tableName = 'user'
  static override policy: Policy = membersPolicy
}
class Administered extends User {
  static override tableName = 'user'
  static override policy: Policy = { read: anyOf(self(), colleague(Role.ADMIN)) }
}
class Ticket extends HasUserMixin(BasePermsModel).withColumns({
  subject: column.string().default('s'),
  assigneeId: column.uuid().references('user.id').nullable(),
}) {
  static override policy: Policy = {
    read: everyone(),
    create: { own: authenticated(), others: role('agent', { domain: 'any' }) },
    update: authenticated(),
  }
}
class Board extends HasDomainMixin(BasePermsModel).withColumns({ name: column.string() }) {
  static override policy: Policy = { read: member(), create: member('domainId', ['agent']) }
}

const grants: Record<string, [role: string, domain: 'press' | 'zoo' | 'closed' | null][]> = {
  ada: [['agent', 'press']],
  bob: [['reader', 'press']],
  cleo: [['agent', 'zoo']],
  dan: [['agent', null]],
  eve: [],
  boss: [['admin', 'press']],
  both: [
    ['reader', 'press'],
    ['reader', 'zoo'],
  ],
  gone: [['agent', 'closed']],
  gone2: [['agent', 'closed']],
}
const names = Object.keys(grants)

eachDatabase('users of the same domains', (db) => {
  let perms: Perms
  const people: Record<string, User> = {}
  const domains: Record<string, Domain> = {}
  const idOf = (name: string) => people[name]?.id as string
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Employee, models: [Ticket, Board], outsideContext: 'deny' })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Ticket, Board])
    await asSystem(async () => {
      for (const name of ['press', 'zoo', 'closed']) domains[name] = await Domain.create({ name, active: name !== 'closed' })
      for (const name of names) {
        people[name] = await createUser({ email: `${name}@example.com` })
        for (const [role, domain] of grants[name] ?? [])
          await UserRole.create({ user: people[name] as User, role, ...(domain && { domain: domains[domain] as Domain }) })
      }
    })
  })
  after(() => perms.close())

  const share = (a: string, b: string, roles?: string[]) =>
    (grants[a] ?? []).some(
      ([role, domain]) =>
        domain && domain !== 'closed' && (!roles || roles.includes(role)) && grants[b]?.some(([, other]) => other === domain),
    )

  for (const [title, model, roles] of [
    ['members of a domain see each other', Employee, undefined],
    ['admins of a domain see its members', Administered, ['admin']],
  ] as const) {
    it(`${title}, and nobody else [promises 30, 195]`, async () => {
      const everyUser = await asSystem(() => Employee.query())
      for (const name of names) {
        const expected = names.filter((other) => other === name || share(name, other, roles as never))
        await runAs(idOf(name), async () => {
          const seen = (await model.query()).map(({ email }) => email.split('@')[0])
          expect(seen, name).to.have.members(expected)
          for (const user of everyUser)
            if (model === Employee)
              expect(await user.canRead(), `${name} ${user.email}`).to.equal(expected.includes(user.email.split('@')[0] as string))
        })
      }
    })
  }

  it('change only themselves', async () => {
    await runAs(idOf('ada'), async () => {
      const bob = await Employee.getOr404(idOf('bob'))
      expect(await rejection(bob.update({ email: 'other@example.com' }))).to.be.instanceOf(ForbiddenError)
    })
  })

  it('can be named in references, and other users look like missing ones [promise 195]', async () => {
    await runAs(idOf('ada'), async () => {
      const ticket = await Ticket.create({})
      await ticket.update({ assigneeId: idOf('bob') })
      expect(await rejection(ticket.update({ assigneeId: idOf('cleo') }))).to.be.instanceOf(MissingReferenceError)
    })
  })

  it('get rows from callers whom the create rule allows that, if these may read them [promises 34, 194]', async () => {
    const createFor = (name: string, userId: string | undefined) =>
      runAs(idOf(name), () => Ticket.create(userId === undefined ? {} : { userId }))
    expect((await createFor('ada', idOf('bob'))).userId).to.equal(idOf('bob'))
    expect((await createFor('bob', undefined)).userId).to.equal(idOf('bob'))
    expect((await createFor('bob', idOf('bob'))).userId).to.equal(idOf('bob'))
    expect(await rejection(createFor('bob', idOf('ada')))).to.be.instanceOf(ForbiddenError)
    expect(await rejection(createFor('ada', idOf('cleo'))), 'not readable').to.be.instanceOf(MissingReferenceError)
    expect(await rejection(createFor('ada', '00000000-0000-7000-8000-000000000000')), 'missing').to.be.instanceOf(MissingReferenceError)
    expect(await runAs(idOf('ada'), () => Ticket.canCreate({ userId: idOf('bob') }))).to.equal(true)
    expect(await runAs(idOf('bob'), () => Ticket.canCreate({ userId: idOf('ada') }))).to.equal(false)
    await runAs(idOf('ada'), async () => {
      const own = await Ticket.create({})
      expect(await rejection(own.update({ userId: idOf('bob') })), 'an update gives no row away').to.be.instanceOf(ForbiddenError)
    })
  })

  it('lose these rights with their role, in the statement that writes [promises 35, 194]', async () => {
    await runAs(idOf('both'), async () => {
      await asSystem(() => UserRole.create({ user: people['both'] as User, role: 'agent', domain: domains['zoo'] as Domain }))
    })
    await runAs(idOf('both'), async () => {
      expect((await Ticket.create({ userId: idOf('cleo') })).userId).to.equal(idOf('cleo'))
      await asSystem(() =>
        UserRole.query()
          .delete()
          .where({ userId: idOf('both'), role: 'agent' }),
      )
      expect(await rejection(Ticket.create({ userId: idOf('cleo') }))).to.be.instanceOf(ForbiddenError)
    })
  })

  it('share rows of their domain under member()', async () => {
    await runAs(idOf('ada'), () => Board.create({ name: 'Plans' }))
    expect(await rejection(runAs(idOf('bob'), () => Board.create({ name: 'Mine' })))).to.be.instanceOf(ForbiddenError)
    expect(await runAs(idOf('bob'), () => Board.query().resultSize())).to.equal(1)
    expect(await runAs(idOf('cleo'), () => Board.query().resultSize())).to.equal(0)
  })

  it('are found in one statement', async () => {
    await runAs(idOf('ada'), async () => {
      const { statements } = await countQueries(db.knex, () => Employee.query())
      expect(statements.length).to.equal(1)
    })
    expect(explain(Employee, 'read', null).sql).to.equal('false')
  })
})

describe('rules about other users', () => {
  it('are refused where they cannot work [promises 194, 195]', async () => {
    const own = await createDatabase('better-sqlite3')
    const perms = initPerms({ knex: own.knex })
    const policyOf = (Base: typeof BasePermsModel, policy: object) => {
      class Paper extends Base.withColumns({ title: column.string() }) {
        static override policy = policy as Policy
      }
      return thrown(() => Paper.columnSpecs)
    }
    expect(String(policyOf(BasePermsModel, { read: colleague() }))).to.include('colleague() needs a user model')
    expect(String(policyOf(BasePermsModel, { create: { own: everyone(), others: everyone() } }))).to.include('needs a model with an owner')
    expect(String(policyOf(HasUserMixin(BasePermsModel) as never, { create: { own: everyone() } }))).to.include('needs two rules')
    expect(thrown(() => colleague([]))).to.include({ code: 'configuration' })
    await perms.close()
    await own.destroy()
  })
})
