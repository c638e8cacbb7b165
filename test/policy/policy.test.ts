import { expect } from 'chai'
import type { Knex } from 'knex'
import { raw } from 'objection'
import {
  allOf,
  anyOf,
  asAnonymous,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  belongsTo,
  check,
  column,
  createTables,
  Domain,
  everyone,
  explain,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  inDomain,
  initPerms,
  not,
  owner,
  type Perms,
  Role,
  related,
  runAs,
  SoftDeleteMixin,
  self,
  Token,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { makeUser } from '../enforce/world.js'
import { createDatabase, eachDatabase, type OwnDatabase } from '../helpers/databases.js'

const title = { title: column.string({ maxLength: 50 }) }

async function errorOf(run: () => unknown): Promise<Error | undefined> {
  try {
    await run()
    return undefined
  } catch (error) {
    return error as Error
  }
}

describe('a policy that cannot work', () => {
  let own: OwnDatabase
  let perms: Perms

  before(async () => {
    own = await createDatabase('better-sqlite3')
    perms = initPerms({ knex: own.knex })
  })
  after(async () => {
    await perms.close()
    await own.destroy()
  })

  const withPolicy = (policy: object, Base: any = BasePermsModel) => {
    class Paper extends Base.withColumns({ ...title, meta: column.json().nullable(), parentId: column.uuid().nullable() }) {
      static policy = policy
      static relationMappings = { parent: belongsTo(() => Paper as never, 'parentId') }
    }
    return Paper
  }

  const cases: [string, () => object, string[]][] = [
    ['check() in read', () => withPolicy({ read: check(() => true) }), ['Paper.policy.read', 'check()', 'owner()']],
    [
      'check() in read by way of update',
      () => withPolicy({ update: check(() => true) }),
      ['Paper.policy.read', 'taken from update', 'check()'],
    ],
    [
      'check() deep in read',
      () => withPolicy({ read: anyOf(everyone(), not(allOf(check(() => true) as never))) }),
      ['Paper.policy.read', 'check()'],
    ],
    [
      'check() inside related()',
      () => withPolicy({ read: everyone(), update: related('parent', check(() => true) as never) }),
      ['Paper.policy.update', 'related()', 'check()'],
    ],
    ['a column that is not there', () => withPolicy({ read: where({ colour: 'red' }) }), ['Paper.policy.read', 'colour', 'title']],
    [
      'a comparison that is not there',
      () => withPolicy({ read: where({ title: { near: 'red' } }) }),
      ['Paper.policy.read', 'near', 'like'],
    ],
    ['a json column', () => withPolicy({ update: where({ meta: 'x' }) }), ['Paper.policy', 'meta', 'json']],
    [
      'a relation that is not there',
      () => withPolicy({ delete: related('publisher', everyone()) }),
      ['Paper.policy.delete', 'publisher', 'parent'],
    ],
    [
      'relations in a circle',
      () => withPolicy({ read: related('parent', related('parent', everyone())) }),
      ['Paper.policy.read', 'parent', 'cycle'],
    ],
    ['owner() without an owner', () => withPolicy({ read: owner() }), ['Paper.policy.read', 'owner()', 'HasUserMixin']],
    ['owner() of a column that does not exist', () => withPolicy({ create: owner('makerId') }), ['Paper.policy.create', "owner('column')"]],
    ['self() in a model that is not a user model', () => withPolicy({ update: self() }), ['Paper.policy', 'self()', 'owner()']],
    ['an action that does not exist', () => withPolicy({ write: everyone() }), ['Paper.policy.write', 'read, create, update or delete']],
    ['no rule', () => withPolicy({ read: undefined }), ['Paper.policy.read', 'nobody()']],
    ['a value that is not a rule', () => withPolicy({ read: () => true }), ['Paper.policy.read', 'owner()']],
    [
      'like on a column that is not text',
      () =>
        class Paper extends BasePermsModel.withColumns({ ...title, size: column.integer() }) {
          static override policy = { read: where({ size: { like: '1%' } }) }
        },
      ['Paper.policy.read', 'size', 'like'],
    ],
    [
      'canRead() written by hand',
      () =>
        class Paper extends BasePermsModel.withColumns(title) {
          override async canRead(): Promise<boolean> {
            return true
          }
        },
      ['Paper', 'canRead()', 'static policy'],
    ],
    [
      'canCreate() written by hand',
      () =>
        class Paper extends BasePermsModel.withColumns(title) {
          static override async canCreate(): Promise<boolean> {
            return true
          }
        },
      ['Paper', 'canCreate()', 'static policy'],
    ],
    [
      'a field rule with code',
      () => class Paper extends BasePermsModel.withColumns({ title: column.string().readableBy(check(() => true)) }) {},
      ['Paper.title.readableBy()', 'check()'],
    ],
  ]
  for (const [what, make, words] of cases) {
    it(`names model, action and what to write: ${what}`, async () => {
      const cls = make()
      const error = await errorOf(() => asAnonymous(() => (cls as typeof BasePermsModel).query()))
      expect(error?.name).to.equal('ConfigurationError')
      for (const word of words) expect(error?.message).to.include(word)
      // And not only the first time.
      expect((await errorOf(() => asAnonymous(() => (cls as typeof BasePermsModel).query())))?.name).to.equal('ConfigurationError')
      expect((await errorOf(() => initPerms({ knex: own.knex, models: [cls as typeof BasePermsModel] })))?.name).to.equal(
        'ConfigurationError',
      )
      perms = initPerms({ knex: own.knex })
    })
  }

  it('throws at once if a rule is undefined', () => {
    expect(() => where({ title: undefined } as never)).to.throw('undefined')
    expect(() => where({ title: { in: [undefined] } } as never)).to.throw('undefined')
    expect(() => anyOf(undefined as never)).to.throw('anyOf()')
  })
})

class Member extends HasUserMixin(BasePermsModel).withColumns({ ...title, shelfId: column.uuid().nullable() }) {
  static override policy = { read: everyone(), create: authenticated(), update: owner() }
}
class Shelf extends HasUserMixin(BasePermsModel).withColumns(title) {
  static override policy = { read: owner(), create: authenticated(), update: owner() }
  static override relationMappings = { members: hasMany(() => Member, 'shelfId') }
}
/** Only the relation of Rack refers to it. */
class Hidden extends BasePermsModel.withColumns(title) {}
class Rack extends BasePermsModel.withColumns({ ...title, hiddenId: column.uuid().nullable() }) {
  static override policy = { read: everyone() }
  static override relationMappings = { hidden: belongsTo(() => Hidden, 'hiddenId') }
}
class Ungarded extends BaseModel.withColumns(title) {}

const Both = [
  class DomainThenDeletion extends HasDomainMixin(SoftDeleteMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel)))).withColumns(title) {},
  class DeletionThenDomain extends SoftDeleteMixin(HasDomainMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel)))).withColumns(title) {},
  class OwnershipLast extends UserOwnershipMixin(SoftDeleteMixin(HasDomainMixin(HasUserMixin(BasePermsModel)))).withColumns(title) {},
  class OwnershipAlone extends HasDomainMixin(UserOwnershipMixin(SoftDeleteMixin(BasePermsModel))).withColumns(title) {},
] as const
class Open extends HasDomainMixin(SoftDeleteMixin(HasUserMixin(BasePermsModel))).withColumns(title) {
  static override policy = { read: everyone(), create: authenticated(), update: everyone(), delete: everyone() }
}
class Unguarded extends HasDomainMixin(HasUserMixin(BasePermsModel)).withColumns(title) {
  static override unguarded = ['domain']
  static override policy = { read: everyone() }
}
class Delegated extends HasUserMixin(BasePermsModel).withColumns(title) {
  static override delegateToUser = true
}

const models = [Member, Shelf, Hidden, Rack, Ungarded, ...Both, Open, Unguarded, Delegated]

eachDatabase('policies and mixins', (db) => {
  let perms: Perms
  let press: Domain
  let zoo: Domain
  let ada: User
  let bob: User
  let admin: User

  const start = (knex: Knex): Perms => initPerms({ knex })
  before(async function () {
    this.timeout(60_000)
    perms = start(db.knex)
    await createTables(db.knex, [User, UserRole, Domain, Token, UserSetting, ...models])
    press = await Domain.create({ name: 'press' })
    zoo = await Domain.create({ name: 'zoo' })
    ada = await makeUser('ada', [
      ['writer', press],
      ['writer', zoo],
    ])
    bob = await makeUser('bob', [['writer', zoo]])
    admin = await makeUser('admin', [[Role.ADMIN]])
  })
  after(() => perms.close())

  for (const Row of Both) {
    it(`mixins stack in any order: ${Row.name}`, async () => {
      const mine = await runAs(ada, () => inDomain(press, () => Row.create({ title: 'a' })))
      const there = await asSystem(() => Row.create({ title: 'b', userId: ada.id, domainId: zoo.id }))
      const loose = await asSystem(() => Row.create({ title: 'c', userId: ada.id, domainId: null }))
      const theirs = await asSystem(() => Row.create({ title: 'd', userId: bob.id, domainId: zoo.id }))
      const seenBy = async (user: User) => ((await runAs(user, () => Row.query())) as { title: string }[]).map((row) => row.title).sort()
      expect(await seenBy(ada)).to.deep.equal(['a', 'b'])
      expect(await seenBy(bob)).to.deep.equal(['d'])
      expect(await seenBy(admin)).to.deep.equal(['a', 'b', 'c', 'd'])
      await runAs(ada, () => mine.delete())
      expect(await seenBy(ada)).to.deep.equal(['b'])
      expect(await seenBy(admin)).to.deep.equal(['b', 'c', 'd'])
      expect(await runAs(ada, () => Row.withDeleted())).to.have.length(2)
      expect(await runAs(bob, () => Row.withDeleted())).to.have.length(1)
      expect((await errorOf(() => runAs(ada, () => theirs.delete())))?.name).to.equal('NotFoundError')
      expect((await errorOf(() => runAs(ada, () => loose.update({ title: 'x' }))))?.name).to.equal('NotFoundError')
      expect((await errorOf(() => runAs(bob, () => Row.create({ title: 'e', domainId: press.id }))))?.name).to.match(/Error$/)
      expect((await errorOf(() => runAs(ada, () => Row.create({ title: 'e' }))))?.name).to.equal('ValidationError')
      expect(there.title).to.equal('b')
    })
  }

  it('global scopes apply with every policy, and unguarded removes one', async () => {
    await asSystem(async () => {
      await Open.create({ title: 'press', userId: ada.id, domainId: press.id })
      await Open.create({ title: 'zoo', userId: ada.id, domainId: zoo.id })
      await Open.create({ title: 'gone', userId: ada.id, domainId: zoo.id, deletedAt: new Date() })
      await Unguarded.create({ title: 'press', userId: ada.id, domainId: press.id })
    })
    const titles = async (run: () => Promise<any[]>) => (await run()).map((row) => row.title).sort()
    expect(await titles(() => runAs(bob, () => Open.query()))).to.deep.equal(['zoo'])
    expect(await titles(() => asAnonymous(() => Open.query()))).to.deep.equal([])
    expect(await runAs(bob, () => Open.query().patch({ title: 'x' }).where('title', 'press'))).to.equal(0)
    expect((await errorOf(() => runAs(bob, () => Open.query().patch({ domainId: press.id }))))?.name).to.match(
      /^(Forbidden|MissingReference)Error$/,
    )
    expect(await titles(() => asSystem(() => Open.query()))).to.deep.equal(['press', 'zoo'])
    expect(await titles(() => asAnonymous(() => Unguarded.query()))).to.deep.equal(['press'])
  })

  it('delegateToUser allows callers who may update the owner', async () => {
    const row = await asSystem(() => Delegated.create({ title: 'a', userId: ada.id }))
    expect(await runAs(ada, () => Delegated.query())).to.have.length(1)
    expect(await runAs(bob, () => Delegated.query())).to.have.length(0)
    expect(await runAs(admin, () => Delegated.query())).to.have.length(1)
    expect(await asAnonymous(() => Delegated.query())).to.have.length(0)
    await runAs(ada, () => row.update({ title: 'b' }))
    expect((await errorOf(() => runAs(bob, () => row.update({ title: 'c' }))))?.name).to.equal('NotFoundError')
    expect((await errorOf(() => runAs(bob, () => Delegated.create({ title: 'c', userId: ada.id }))))?.name).to.equal('ForbiddenError')
    expect((await runAs(bob, () => Delegated.create({ title: 'own' }))).userId).to.equal(bob.id)
  })

  it('explain() returns the SQL that the database gets', async () => {
    const { sql, statement, words } = explain(Shelf, 'read', ada)
    expect(sql).to.include(ada.id)
    expect(await db.knex.raw(statement)).to.not.equal(undefined)
    expect(words).to.include('the owner')
    expect(explain(Member, 'read', null).sql).to.equal('true')
    expect(explain(Hidden, 'read', null).sql).to.equal('false')
  })

  it('[promise 34] a reference that only the other side declares is one too', async () => {
    const shelf = await runAs(ada, () => Shelf.create({ title: 's' }))
    expect((await errorOf(() => runAs(bob, () => Member.create({ title: 'm', shelfId: shelf.id }))))?.name).to.equal(
      'MissingReferenceError',
    )
    expect(await errorOf(() => runAs(ada, () => Member.create({ title: 'm', shelfId: shelf.id })))).to.equal(undefined)
  })

  describe('tables under a policy', () => {
    const steal = (cls: any, table: string) =>
      errorOf(() => runAs(bob, () => cls.query().select(raw(`(select max(title) from ${table}) as most`))))

    it('are protected before the first query of their model if another model is related to it', async () => {
      expect((await steal(Rack, 'hidden'))?.name).to.equal('ConfigurationError')
      expect((await steal(Ungarded, 'hidden'))?.name).to.equal('ConfigurationError')
    })

    it('are protected after another initPerms on the same database, and after close()', async () => {
      perms = start(db.knex)
      expect((await steal(Rack, 'shelf'))?.name).to.equal('ConfigurationError')
      await perms.close()
      perms = start(db.knex)
      expect((await steal(Rack, 'shelf'))?.name).to.equal('ConfigurationError')
      const shelf = await runAs(ada, () => Shelf.create({ title: 's' }))
      expect((await errorOf(() => runAs(bob, () => Member.create({ title: 'm', shelfId: shelf.id }))))?.name).to.equal(
        'MissingReferenceError',
      )
    })

    it('[promise 40] stay protected for all models but the one whose rules are lifted', async () => {
      await asSystem(() => Hidden.create({ title: 'secret' }))
      await runAs(bob, () =>
        Rack.bypassPerms(async () => {
          expect((await errorOf(() => Rack.query().select(raw('(select max(title) from hidden) as most'))))?.name).to.equal(
            'ConfigurationError',
          )
          expect((await errorOf(() => Rack.query().joinRaw('inner join hidden on 1 = 1')))?.name).to.equal('ConfigurationError')
          expect(await Rack.query().joinRelated('hidden')).to.have.length(0)
        }),
      )
    })

    it('are not restricted for the application itself', async () => {
      const rows = await asSystem(() => Rack.query().joinRaw('cross join hidden').select(raw('(select max(title) from hidden) as most')))
      expect(rows).to.be.an('array')
    })
  })
})
