import { expect } from 'chai'
import { Model } from 'objection'
import {
  asSystem,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  HasRolesMixin,
  initPerms,
  PasswordMixin,
  type Perms,
  Token,
  User,
  UserRole,
  UserSetting,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'

class ReplacingEmployee extends User.withColumns({ department: column.string({ maxLength: 50 }).nullable() }) {}
class ReplacingToken extends Token.withColumns({ device: column.string({ maxLength: 50 }).nullable() }) {}
class ReplacingBadge extends BasePermsModel.withColumns({ holderId: column.uuid(), label: column.string({ maxLength: 20 }) }) {
  declare holder?: User
  static override relationMappings = () => ({
    holder: belongsTo(() => User, 'holderId'),
    sameHolder: { relation: Model.BelongsToOneRelation, modelClass: User, join: { from: 'replacing_badge.holderId', to: 'user.id' } },
  })
}

eachDatabase('Classes of the library that the application has replaced', (db) => {
  let perms: Perms
  let ada: ReplacingEmployee

  before(async () => {
    perms = initPerms({ knex: db.knex, user: ReplacingEmployee, token: ReplacingToken, passwordHasher: testHasher() })
    await createTables(db.knex, [ReplacingEmployee, UserRole, Domain, ReplacingToken, UserSetting, ReplacingBadge] as never)
    ada = await ReplacingEmployee.create({ email: 'ada@example.com', password: 'correct horse battery', department: 'Press' })
    await UserRole.create({ user: ada, role: 'editor' } as never)
  })
  after(() => perms.close())

  it('User.getBy(), get() and query() return rows of the registered class, with its columns and roles', async () => {
    const found = [
      await asSystem(() => User.getBy({ email: ' ADA@example.com ' })),
      await asSystem(() => User.get(ada.id)),
      await asSystem(() => User.getOr404(ada.id)),
      await asSystem(() => User.query().findOne({ email: 'ada@example.com' }).withGraphFetched('roles')),
      await asSystem(() => User.query().findOne('department', 'Press').withGraphFetched('roles')),
    ]
    for (const user of found) {
      expect(user).to.be.instanceOf(ReplacingEmployee)
      expect(user).to.have.property('department', 'Press')
      expect(user?.roles).to.have.length(1)
    }
  })

  it('User.build(), create() and fromJson() make rows of the registered class', async () => {
    expect(User.build({ email: 'eve@example.com' })).to.be.instanceOf(ReplacingEmployee)
    expect(User.fromJson({ email: 'eve@example.com' })).to.be.instanceOf(ReplacingEmployee)
    const bob = await asSystem(() => User.create({ email: 'bob@example.com', department: 'Desk' } as never))
    expect(bob).to.be.instanceOf(ReplacingEmployee)
    expect(await asSystem(() => ReplacingEmployee.get((bob as User).id))).to.have.property('department', 'Desk')
    const { token, plain } = await Token.issue(ada)
    expect(token).to.be.instanceOf(ReplacingToken)
    expect(await Token.verify(plain)).to.be.instanceOf(ReplacingToken)
  })

  it('relations that name User lead to the registered class', async () => {
    await asSystem(() => ReplacingBadge.create({ holderId: ada.id, label: 'one' }))
    for (const relation of ['holder', 'sameHolder']) {
      for (const load of ['withGraphFetched', 'withGraphJoined'] as const) {
        const [badge] = await asSystem(() => ReplacingBadge.query()[load](relation))
        expect((badge as unknown as Record<string, unknown>)[relation]).to.be.instanceOf(ReplacingEmployee)
      }
    }
    expect(User.schema.create).to.have.nested.property('properties.department')
  })

  it('new User() and User.bindKnex() are refused with the class to use', () => {
    for (const attempt of [() => new User(), () => User.bindKnex(db.knex), () => new Token()]) {
      const { name, message } = thrown(attempt)
      expect(name).to.equal('ConfigurationError')
      expect(message).to.match(/is not the registered (user|token) model\. Use Replacing(Employee|Token), or call initPerms/)
    }
    expect(new ReplacingEmployee()).to.be.instanceOf(User)
  })

  it('a subclass of User that is not registered stays itself', () => {
    class ReplacingPublicUser extends User {}
    expect(ReplacingPublicUser.build({ email: 'eve@example.com' })).to.be.instanceOf(ReplacingPublicUser)
    expect(new ReplacingPublicUser()).to.be.instanceOf(ReplacingPublicUser)
  })
})

eachDatabase('A registered user model that does not extend User', (db) => {
  class ReplacingAccount extends HasRolesMixin(PasswordMixin(BasePermsModel)).withColumns({
    email: column.string({ maxLength: 254 }).unique(),
    isEnabled: column.boolean().default(true),
  }) {
    static override tableName = 'user'
  }
  let perms: Perms
  before(() => {
    perms = initPerms({ knex: db.knex, user: ReplacingAccount as never, passwordHasher: testHasher() })
  })
  after(() => perms.close())

  it('makes every static call on User fail with the class to use, and no other call', async () => {
    for (const attempt of [
      () => User.getBy({ email: 'ada@example.com' }),
      () => User.query(),
      () => User.create({ email: 'ada@example.com' }),
      () => new User(),
    ]) {
      const error = await rejection((async () => await (attempt as () => unknown)())())
      expect(error.name).to.equal('ConfigurationError')
      expect(error.message).to.contain('Use ReplacingAccount')
    }
    expect(ReplacingAccount.build({ email: 'ada@example.com' })).to.be.instanceOf(ReplacingAccount)
  })
})
