import { expect } from 'chai'
import {
  allOf,
  anyOf,
  asAnonymous,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  initPerms,
  lint,
  matrix,
  membersPolicy,
  not,
  owner,
  type Perms,
  type Policy,
  RowShare,
  related,
  runAs,
  ShareableMixin,
  shared,
  transaction,
  User,
  UserOwnershipMixin,
  verify,
  whoCan,
} from '../../src/index.js'
import { createUser, fakeClock, signInAs } from '../../src/testing/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { repetitions } from '../helpers/repetitions.js'

class Member extends User {
  static override policy = membersPolicy
}

class Binder extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ name: column.string() }) {
  static override policy: Policy<Binder> = {
    read: anyOf(owner(), shared('viewer')),
    update: anyOf(owner(), shared('editor')),
    delete: owner(),
  }
}

/** Deleted by a foreign key with its binder; anybody with an editor's share may share it. */
class Slip extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({
  name: column.string(),
  binderId: column.uuid().references('binder.id', { onDelete: 'cascade' }).nullable(),
}) {
  declare binder?: Binder
  static override relationMappings = { binder: belongsTo(() => Binder, 'binderId') }
  static override policy: Policy<Slip> = {
    read: anyOf(owner(), shared('viewer'), related('binder', shared('viewer'))),
    update: anyOf(owner(), related('binder', shared('editor'))),
    share: anyOf(owner(), related('binder', shared('editor'))),
  }
}

/** Numbered by the database in a table that the application created: SQLite gives numbers again. */
class Stub extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ id: column.integer(), name: column.string() }) {
  static override policy: Policy<Stub> = { read: anyOf(owner(), shared('viewer')), update: owner(), delete: owner() }
}

const models = [Binder, Slip, Stub]
const HOUR = 3_600_000

eachDatabase('Shares at their edges', (db) => {
  let perms: Perms
  let [ada, bob, cid]: User[] = []
  before(async () => {
    perms = initPerms({
      knex: db.knex,
      user: Member,
      models,
      outsideContext: 'deny',
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      accountDeletion: { delay: 0 },
    })
    await perms.migrate()
    await createTables(db.knex, models)
    ;[ada, bob, cid] = [await createUser(), await createUser(), await createUser()]
  })
  after(() => perms.close())
  const user = (one: User | undefined) => one as User
  const as = <T>(one: User | undefined, fn: () => T) => runAs(user(one).id, fn)
  const make = (name = 'b') => asSystem(async () => await Binder.create({ name, userId: user(ada).id }))
  const count = () => asSystem(async () => await RowShare.query().resultSize())
  beforeEach(() => asSystem(async () => await RowShare.query().delete()))

  it('[promise 241] gives no relation that only a share of another row brings', async () => {
    const binder = await make()
    const slip = await asSystem(async () => await Slip.create({ name: 's', userId: user(ada).id, binderId: binder.id }))
    await asSystem(() => binder.share(user(bob), 'editor'))
    expect(await as(bob, () => slip.can('share'))).to.equal(true)
    for (const relation of ['viewer', 'editor'])
      expect((await rejection(as(bob, () => slip.share(user(cid), relation)))).message).to.contain(`relation ${relation}`)
    expect(await as(bob, () => binder.can('share'))).to.equal(false)
  })

  it('[promise 241] refuses a superadmin in the place of a user, and an API key without the ability', async () => {
    const root = await signInAs({}, { role: 'superadmin' })
    const binder = await make()
    const actor = { ...(await perms.authenticate((await signInAs(user(ada))).accessToken)) } as object
    const impersonated = { ...actor, impersonatorId: root.user.id }
    for (const attempt of [() => binder.share(user(bob), 'viewer'), () => binder.unshare(user(bob))])
      expect((await rejection(runAs(impersonated as never, attempt as () => unknown))).name).to.equal('ForbiddenError')
    const key = { ...actor, abilities: ['binders:read', 'binders:update'] }
    for (const attempt of [() => binder.share(user(bob), 'viewer'), () => binder.unshare(user(ada)), () => binder.shares()])
      expect((await rejection(runAs(key as never, attempt as () => unknown))).name).to.equal('ForbiddenError')
    expect(
      (await runAs({ ...actor, abilities: ['binders:read', 'binders:share'] } as never, () => binder.share(user(bob), 'viewer'))).relation,
    ).to.equal('viewer')
    // An API key of bob sees the row only with the ability to read.
    const ofBob = (await perms.authenticate((await signInAs(user(bob))).accessToken)) as object
    expect(await runAs({ ...ofBob, abilities: ['slips:read'] } as never, () => Binder.query().resultSize())).to.equal(0)
    expect(await runAs({ ...ofBob, abilities: ['binders:read'] } as never, () => Binder.query().resultSize())).to.equal(1)
  })

  it('[promise 240] allows nothing to anonymous callers', async () => {
    const binder = await make()
    await asSystem(() => binder.share(user(bob), 'editor'))
    await asAnonymous(async () => {
      expect(await Binder.query().resultSize()).to.equal(0)
      expect(await binder.can('read')).to.equal(false)
      expect((await rejection(binder.share(user(bob), 'viewer'))).name).to.equal('NotFoundError')
      expect((await rejection(binder.shares())).name).to.equal('NotFoundError')
    })
  })

  it('[promise 242] removes the shares with a deleted user, also by the job of due accounts, and keeps those that the user made', async () => {
    const binder = await make()
    const dan = await createUser()
    await asSystem(() => binder.share(dan, 'editor'))
    await runAs(dan.id, () => binder.can('update'))
    const eve = await createUser()
    await asSystem(async () => {
      await binder.share(eve, 'viewer')
      await RowShare.query()
        .where('userId', eve.id)
        .patch({ sharedById: dan.id } as never)
      await perms.auth.accountDeletion.schedule(dan.id)
    })
    await perms.deleteDueAccounts()
    const left = await asSystem(async () => await RowShare.query())
    expect(left.map(({ userId, sharedById }) => [userId, sharedById])).to.deep.equal([[eve.id, null]])
  })

  it('[promise 242] leaves no share of a row that a foreign key deleted after perms.maintain(), nor an expired one', async () => {
    const binder = await make()
    const slip = await asSystem(async () => await Slip.create({ name: 's', userId: user(ada).id, binderId: binder.id }))
    const kept = await make('kept')
    await asSystem(async () => {
      await slip.share(user(bob), 'viewer')
      await kept.share(user(bob), 'viewer')
      await kept.share(user(cid), 'viewer', { expiresAt: new Date(Date.now() + HOUR) })
      await binder.delete()
    })
    expect(await count()).to.equal(3)
    expect(await as(bob, () => Slip.query().resultSize())).to.equal(0)
    expect((await perms.maintain()).shares).to.equal(1)
    const clock = fakeClock()
    try {
      clock.advance(2 * 3600)
      expect((await perms.maintain({ batch: 1 })).shares).to.equal(1)
    } finally {
      clock.restore()
    }
    expect(await perms.maintain()).not.to.have.property('shares')
    expect(await count()).to.equal(1)
  })

  it('[promise 242] gives no share to a new row with the number of a deleted one', async () => {
    const make = () => asSystem(async () => await Stub.create({ name: 's', userId: user(ada).id }))
    const first = await make()
    await asSystem(() => first.share(user(bob), 'viewer'))
    await db.knex('stub').where('id', first.id).delete()
    if (db.dialect === 'sqlite') await db.knex('sqlite_sequence').where('name', 'stub').delete()
    const next = await make()
    if (db.dialect === 'sqlite') expect(next.id).to.equal(first.id)
    expect(await as(bob, () => Stub.query().resultSize())).to.equal(0)
    const given = await asSystem(async () => await Stub.create({ id: 900, name: 's', userId: user(ada).id } as never))
    await asSystem(() => given.share(user(bob), 'viewer'))
    await db.knex('stub').where('id', 900).delete()
    await asSystem(async () => await Stub.query().insertGraph([{ id: 900, name: 'again', userId: user(ada).id }] as never))
    expect(await as(bob, () => Stub.query().resultSize())).to.equal(0)
  })

  it('[promise 242] has no share of a row that is deleted while it is shared', async () => {
    for (let i = 0; i < repetitions(25); i += 1) {
      const binder = await make()
      await Promise.allSettled([
        as(ada, () => binder.share(user(bob), 'viewer')),
        as(ada, () => binder.delete()),
        as(ada, () => binder.share(user(cid), 'editor')),
      ])
      expect(await count(), `round ${i}`).to.equal(0)
    }
  })

  it('[promise 241] shares with members of a common domain, whom membersPolicy lets the caller read', async () => {
    const binder = await make()
    expect((await rejection(as(ada, () => binder.share({ userId: user(bob).id }, 'viewer')))).name).to.equal('MissingReferenceError')
    await asSystem(async () => {
      await Domain.create({ name: 'team', displayName: 'Team' })
      for (const one of [ada, bob]) await user(one).grantRole('author', { domain: 'team' })
    })
    expect(await as(ada, () => binder.share({ userId: user(bob).id }, 'viewer'))).to.include({ userId: user(bob).id })
    expect(await as(ada, () => binder.share(user(bob).id, 'editor'))).to.include({ relation: 'editor' })
    expect(await as(ada, () => binder.share({ domain: 'team' }, 'viewer'))).to.include({ role: null })
    expect(await as(ada, async () => (await binder.shares()).length)).to.equal(2)
  })

  it('[promise 241] counts in whoCan() of a caller only shares that the caller may read', async () => {
    const binder = await make()
    const [dan, eve] = [await createUser(), await createUser()]
    await asSystem(async () => {
      for (const one of [dan, eve]) await binder.share(one, 'editor')
    })
    const asked = (one: User) => runAs(one.id, async () => (await whoCan('update', binder)).map(({ id }) => id).sort())
    // Members see each other, so that only the shares decide what is told.
    const all = [user(ada), dan, eve]
    await asSystem(async () => {
      await Domain.create({ name: 'floor', displayName: 'Floor' })
      for (const one of all) await one.grantRole('author', { domain: 'floor' })
    })
    expect(await asked(user(ada))).to.deep.equal(all.map(({ id }) => id).sort())
    expect(await asked(dan)).to.deep.equal([user(ada).id, dan.id].sort())
    expect((await rejection(Promise.resolve(asked(user(cid))))).name).to.equal('NotFoundError')
  })

  it('[promise 241] takes a bounded number of statements', async () => {
    const binder = await make()
    const caller = await asSystem(() => User.getOr404(user(ada).id))
    const statements = async (fn: () => PromiseLike<unknown>) =>
      (await runAs(caller, () => countQueries(db.knex, async () => await fn()))).statements.length
    // With those that begin and end the transaction: lock, right, look-up, insert.
    expect(await statements(() => binder.share(user(bob), 'viewer')), 'share').to.equal(6)
    expect(await statements(() => binder.share(user(bob), 'viewer')), 'the same again').to.equal(5)
    expect(await statements(() => binder.shares()), 'list').to.equal(2)
    expect(await statements(() => binder.unshare(user(bob))), 'unshare').to.equal(6)
    expect(await statements(() => Binder.query().findById(binder.id)), 'read').to.equal(1)
    expect(await statements(() => Binder.create({ name: 'n' })), 'create').to.equal(1)
    expect(await statements(() => binder.update({ name: 'm' })), 'update').to.equal(1)
    expect(await statements(() => binder.delete()), 'delete').to.equal(4)
  })

  it('[promise 241] undoes a share with its transaction, and shares in one with other writes', async () => {
    await as(ada, () =>
      transaction(async () => {
        const binder = await Binder.create({ name: 'new' })
        await binder.share(user(bob), 'viewer')
      }),
    )
    expect(await count()).to.equal(1)
  })

  it('[promise 240] shows users the shares that they received or made, and lets them write none', async () => {
    const binder = await make()
    await as(ada, () => binder.share(user(bob), 'viewer'))
    const list = (one: User | undefined) => as(one, async () => (await RowShare.query()).length)
    expect([await list(ada), await list(bob), await list(cid)]).to.deep.equal([1, 1, 0])
    const [share] = await asSystem(async () => await RowShare.query())
    expect(JSON.stringify(share)).not.to.match(/subjectKey/)
    for (const write of [
      () => RowShare.create({ ...share?.toJSON(), id: undefined, subjectKey: 'x' } as never),
      () => share?.update({ relation: 'editor' }),
      () => share?.delete(),
    ])
      expect((await rejection(Promise.resolve(as(ada, write as () => Promise<unknown>)))).name).to.be.oneOf([
        'ForbiddenError',
        'ValidationError',
      ])
    expect(await as(bob, () => RowShare.query().patch({ relation: 'editor' }))).to.equal(0)
    expect(await count()).to.equal(1)
  })
})

describe('ShareableMixin and shared()', () => {
  const base = () => ShareableMixin(BasePermsModel).withColumns({ name: column.string() })
  const policyError = (policy: Policy) => {
    class Thing extends base() {
      static override policy = policy
    }
    return thrown(() => Thing.build({ name: 'x' })).message
  }

  it('[promise 240] refuse relations that do not exist, with the nearest name, everywhere in a policy', () => {
    expect(policyError({ read: shared('editr') })).to.match(/Thing has no relation 'editr'.*viewer, editor.*Did you mean 'editor'/)
    expect(policyError({ read: authenticated(), publish: allOf(not(shared('owner'))) })).to.match(/policy\.publish.*'owner'/)
    expect(thrown(() => shared('')).message).to.match(/needs the name of a relation/)
    expect(thrown(() => shared(undefined as never)).message).to.match(/needs the name of a relation/)
    class Part extends BasePermsModel.withColumns({ name: column.string() }) {
      static override policy: Policy = { read: shared('viewer') }
    }
    expect(thrown(() => Part.build({ name: 'x' })).message).to.match(/Add ShareableMixin to Part/)
  })

  it('[promise 240] refuse such relations in the rules of columns', () => {
    class Thing extends ShareableMixin(BasePermsModel).withColumns({ name: column.string().readableBy(shared('editr')) }) {}
    expect(thrown(() => Thing.build({ name: 'x' })).message).to.match(/Thing\.name: Thing has no relation 'editr'.*Did you mean 'editor'/)
    class Other extends BasePermsModel.withColumns({ name: column.string().writableBy(shared('editor')) }) {}
    expect(thrown(() => Other.build({ name: 'x' })).message).to.match(/Other\.name: .*Add ShareableMixin to Other/)
  })

  it('[promise 240] refuse shared() in create, where no row has been shared yet', () => {
    expect(policyError({ create: anyOf(authenticated(), shared('viewer')) })).to.match(
      /policy\.create: shared\(\) is false for every new row/,
    )
  })

  it('[promise 240] refuse lists of relations that say nothing', () => {
    const relationsError = (relations: unknown) => {
      class Thing extends base() {
        static override shareRelations = relations as string[]
      }
      return thrown(() => Thing.build({ name: 'x' })).message
    }
    expect(relationsError([])).to.match(/must be a list of relations in ascending order/)
    expect(relationsError('viewer')).to.match(/must be a list/)
    expect(relationsError(['viewer', 'viewer'])).to.match(/names 'viewer' twice/)
    expect(relationsError(['The viewer'])).to.match(/'The viewer' is not the name of a relation/)
    class Pair extends ShareableMixin(BasePermsModel).withColumns({ a: column.uuid(), b: column.uuid() }) {
      static override idColumn = ['a', 'b']
    }
    expect(thrown(() => Pair.build({ a: 'x' })).message).to.match(/an id of several columns/)
  })

  it('[promise 240] are known to lint(), matrix() and verify()', async () => {
    class Sheet extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ name: column.string() }) {
      static override policy: Policy<Sheet> = {
        read: anyOf(owner(), shared('viewer'), shared('editor')),
        update: owner(),
        delete: owner(),
        share: owner(),
      }
    }
    const findings = await lint([Sheet])
    expect(findings.map(({ code, leaf }) => [code, leaf?.words])).to.deep.include([
      'adds-nothing',
      'users with whom the row is shared as editor',
    ])
    expect(matrix([Sheet]).toMarkdown()).to.contain('users with whom the row is shared as viewer')
    class Minute extends ShareableMixin(HasDomainMixin(BasePermsModel)).withColumns({ name: column.string() }) {
      static override policy: Policy<Minute> = { read: shared('viewer') }
    }
    const { outcome, unknown } = await verify([Minute], { property: 'tenantIsolation' })
    expect(outcome).to.equal('unknown')
    expect(unknown.map(({ action, reason }) => `${action}: ${reason}`)).to.deep.include('read: the rule shared() is not covered')
  })
})
