import { expect } from 'chai'
import {
  asSystem,
  BasePermsModel,
  ConfigurationError,
  column,
  createTables,
  initPerms,
  type Perms,
  Role,
  runAs,
  self,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
} from '../../src/index.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { TestHasher } from '../auth/set-up.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const password = 'correct horse battery'

class Employee extends User.withColumns({ id: column.integer() }) {
  static override tableName = 'employee'
}
class Shopper extends User.withColumns({ id: column.integer(), city: column.string().nullable() }) {
  static override tableName = 'shopper'
  static override policy = { read: self(), update: self(), delete: self() }
}
class Memo extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ id: column.integer(), text: column.string() }) {}

eachDatabase('A user model in a table of its own, beside registered users with the same ids', (db) => {
  let perms: Perms
  let employee: Employee
  let shopper: Shopper
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Employee as never,
      models: [Shopper, Memo],
      jwt: { secret: 'a secret of this test, 32 bytes or more' },
      passwordHasher: new TestHasher(),
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Shopper, Memo] as never)
    employee = await asSystem(() => Employee.create({ email: 'one@example.com', password }))
    shopper = await asSystem(() => Shopper.create({ email: 'two@example.com', password }))
    expect([employee.id, shopper.id]).to.deep.equal([1, 1])
    await asSystem(() => employee.grantRole('editor'))
  })
  after(() => perms.close())

  it('gives a registered user no rights over the account with the same id [promise 26]', async () => {
    await runAs(employee.id as never, async () => {
      expect(await Shopper.query()).to.deep.equal([])
      expect(await Shopper.query().patch({ city: 'Rome' })).to.equal(0)
      expect(await Shopper.query().delete()).to.equal(0)
      expect([await shopper.canRead(), await shopper.canWrite(), await shopper.canDelete()]).to.deep.equal([false, false, false])
      expect(await Employee.query().resultSize()).to.equal(1)
    })
  })

  it('gives its users no roles of registered users [promise 26]', async () => {
    const loaded = await asSystem(() => Shopper.getOr404(shopper.id))
    expect([loaded.roles, loaded.hasRole('editor'), loaded.hasRole()]).to.deep.equal([[], false, false])
    expect((await asSystem(() => Employee.getOr404(employee.id))).hasRole('editor')).to.equal(true)
    expect(Object.keys(Shopper.getRelations())).to.deep.equal([])
  })

  it('gives its users no sessions, tokens, roles and rows of registered users [promise 26]', async () => {
    const user = shopper as never
    const attempts: Record<string, () => PromiseLike<unknown>> = {
      runAs: () => runAs(user, () => Employee.query()),
      canRead: () => asSystem(() => employee.canRead(user)),
      grantRole: () => asSystem(() => shopper.grantRole(Role.ADMIN)),
      revokeRole: () => asSystem(() => shopper.revokeRole('editor')),
      'UserRole.create': () => asSystem(() => UserRole.create({ user, role: Role.ADMIN })),
      'Token.issue': () => asSystem(() => Token.issue(user)),
      createAccessToken: () => asSystem(() => perms.auth.createAccessToken(user)),
      'apiKeys.issue': () => asSystem(() => perms.auth.apiKeys.issue(user, { abilities: ['*'] })),
      sessions: () => asSystem(() => perms.auth.sessions(user)),
      signOutEverywhere: () => asSystem(() => perms.auth.signOutEverywhere(user)),
      'secondFactors.begin': () => asSystem(() => perms.auth.secondFactors.begin(user, { password })),
      'a relation': () => asSystem(() => Memo.create({ text: 'x', user } as never)),
    }
    for (const [name, attempt] of Object.entries(attempts))
      expect((await rejection(asSystem(async () => await attempt()))).name, name).to.be.oneOf([ConfigurationError.name, 'ValidationError'])
    expect(await asSystem(() => UserRole.query().resultSize())).to.equal(1)
    expect(await asSystem(() => Token.query().resultSize())).to.equal(0)
  })
})
