import { expect } from 'chai'
import {
  ability,
  allOf,
  asSystem,
  BasePermsModel,
  column,
  createTables,
  Domain,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  Role,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
} from '../../src/index.js'
import { isAble } from '../../src/policy/abilities.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { testHasher } from '../../src/testing/hasher.js'
import { toActor } from '../../src/users/caller/actor.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class Page extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  declare user?: User
}
class Report extends HasUserMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = {
    read: allOf(owner(), ability('reports:export')),
    create: allOf(owner(), ability('reports:file')),
    update: owner(),
  }
}
class Sheet extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static abilityName = 'papers'
}

describe('isAble()', () => {
  it('matches a name, a whole resource, all changes of a resource, and everything', () => {
    expect(isAble(['documents:read'], 'documents:read')).to.equal(true)
    expect(isAble(['documents:*'], 'documents:delete')).to.equal(true)
    expect(isAble(['*'], 'anything')).to.equal(true)
    expect(isAble(['documents:write'], 'documents:update')).to.equal(true)
    expect(isAble(['documents:write'], 'documents:read')).to.equal(false)
    expect(isAble(['documents:write'], 'documents:export')).to.equal(false)
    expect(isAble(['documents:read'], 'documents:delete')).to.equal(false)
    expect(isAble(['documents'], 'documents:read')).to.equal(false)
    expect(isAble(['documents:*'], 'documents-old:read')).to.equal(false)
    expect(isAble([], 'documents:read')).to.equal(false)
  })
})

eachDatabase('Abilities of an API key', (db) => {
  let perms: Perms
  let ada: User
  let boss: User
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), models: [Page, Report, Sheet] })
    await createTables(db.knex, [Domain, User, UserRole, Token, Page, Report, Sheet])
    ada = await User.create({ email: 'ada@example.com' })
    boss = await User.create({ email: 'boss@example.com' })
    await UserRole.create({ user: boss, role: Role.ADMIN })
    boss = await User.getOr404(boss.id)
    ada = await User.getOr404(ada.id)
    for (const Class of [Page, Report, Sheet]) for (const user of [ada, boss]) await Class.create({ title: 't', userId: user.id })
  })
  after(() => perms.close())

  const keyOf = (user: User, ...abilities: string[]): Actor => toActor(user, { abilities })
  const count = (actor: Actor, Class: typeof Page | typeof Report | typeof Sheet) =>
    runAsActor(actor, async () => (await (Class as typeof Page).query()).length)

  it('are ANDed to the rule of every action, so an action without an ability is denied [promise 25]', async () => {
    expect(await count(keyOf(ada), Page)).to.equal(0)
    expect(await count(keyOf(ada, 'sheets:read'), Page)).to.equal(0)
    expect(await count(keyOf(ada, 'pages:read'), Page)).to.equal(1)
    expect(await count(keyOf(ada, 'pages:*'), Page)).to.equal(1)
    expect(await count(keyOf(ada, '*'), Page)).to.equal(1)
    await runAsActor(keyOf(ada, 'pages:read'), async () => {
      const [page] = await Page.query()
      expect(await Page.query().resultSize()).to.equal(1)
      expect(await rejection(Page.create({ title: 'x' }))).to.have.property('status', 403)
      expect(await rejection((page as Page).update({ title: 'x' }))).to.have.property('status', 403)
      expect(await Page.query().patch({ title: 'x' })).to.equal(0)
      expect(await Page.query().delete()).to.equal(0)
      expect(await (page as Page).canRead()).to.equal(true)
      expect(await (page as Page).canWrite()).to.equal(false)
      expect(await (page as Page).canDelete()).to.equal(false)
      expect(await Page.canCreate({ title: 'x' })).to.equal(false)
    })
    await runAsActor(keyOf(ada, 'pages:create', 'pages:read'), async () => {
      const made = await Page.create({ title: 'made' })
      expect(await Page.canCreate({ title: 'x' })).to.equal(true)
      expect(await rejection(made.delete())).to.have.property('status', 403)
    })
    await asSystem(() => Page.query().delete().where('title', 'made'))
  })

  it('restrict the key of an admin in spite of adminBypass, which applies within them [promise 25]', async () => {
    expect(await count(keyOf(boss), Page)).to.equal(0)
    expect(await count(keyOf(boss, 'sheets:*'), Page)).to.equal(0)
    expect(await count(keyOf(boss, 'pages:read'), Page)).to.equal(2)
    await runAsActor(keyOf(boss, 'pages:read'), async () => {
      expect(await User.query()).to.deep.equal([])
      expect(await Page.query().delete()).to.equal(0)
      expect(await rejection(UserRole.create({ user: ada, role: Role.USER }))).to.have.property('status', 403)
    })
  })

  it('are the abilities that the policy names, if it names any, also for the key of an admin [promise 25]', async () => {
    expect(await count(keyOf(ada, 'reports:read'), Report)).to.equal(0)
    expect(await count(keyOf(ada, 'reports:export'), Report)).to.equal(1)
    expect(await count(keyOf(ada, 'reports:*'), Report)).to.equal(1)
    expect(await count(keyOf(boss, 'reports:read'), Report)).to.equal(0)
    expect(await count(keyOf(boss, 'reports:export'), Report)).to.equal(1)
    // Without a key, adminBypass lets the admin skip the rule.
    expect(await count(toActor(boss), Report)).to.equal(2)
    const create = (actor: Actor) => runAsActor(actor, () => Report.canCreate({ title: 'x', userId: ada.id }))
    expect(await create(keyOf(ada, 'reports:create'))).to.equal(false)
    expect(await create(keyOf(ada, 'reports:file'))).to.equal(true)
  })

  it('use the abilityName of a model', async () => {
    expect(await count(keyOf(ada, 'sheets:read'), Sheet)).to.equal(0)
    expect(await count(keyOf(ada, 'papers:read'), Sheet)).to.equal(1)
  })

  it('never give access to credentials [promise 25]', async () => {
    await Token.issue(ada, { description: 'mine' })
    await runAsActor(keyOf(ada, '*', 'tokens:*', 'tokens:read'), async () => {
      expect(await Token.query()).to.deep.equal([])
      expect(await Token.query().resultSize()).to.equal(0)
    })
    expect(await runAsActor(toActor(ada), () => Token.query())).to.have.length(1)
  })

  it('also apply to related rows and references', async () => {
    const found = await runAsActor(keyOf(ada, 'pages:read'), () => Page.query().withGraphFetched('user'))
    expect(found[0]?.user ?? null).to.equal(null)
    const both = await runAsActor(keyOf(ada, 'pages:read', 'users:read'), () => Page.query().withGraphFetched('user'))
    expect(both[0]?.user?.id).to.equal(ada.id)
  })
})
