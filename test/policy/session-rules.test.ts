import { expect } from 'chai'
import {
  allOf,
  anyOf,
  asSystem,
  BasePermsModel,
  ConfigurationError,
  check,
  column,
  createTables,
  Domain,
  everyone,
  explain,
  ForbiddenError,
  factor,
  HasUserMixin,
  InsufficientUserAuthenticationError,
  initPerms,
  NotFoundError,
  not,
  owner,
  type Perms,
  type Policy,
  type Presence,
  Role,
  recent,
  related,
  runAs,
  SoftDeleteMixin,
  Token,
  User,
  UserRole,
  where,
} from '../../src/index.js'
import { type Actor, runAsActor } from '../../src/policy/context.js'
import { tableOf } from '../../src/schema/class-statics.js'
import { testHasher } from '../../src/testing/hasher.js'
import { fakeClock } from '../../src/testing/index.js'
import { toActor } from '../../src/users/caller/actor.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'

class Safe extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  state: column.string().default('open'),
  pin: column.string().nullable().writableBy(recent(60)).readableBy(factor('any')),
}) {
  static override policy: Policy<Safe> = {
    read: owner(),
    create: allOf(owner(), recent(300)),
    update: allOf(owner(), recent(300), where({ state: 'open' })),
    delete: allOf(owner(), recent(60), factor('totp')),
  }
}
class Vault extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  safeId: column.uuid().references('safe.id').nullable(),
}) {
  static override relationMappings = {
    safe: { relation: BasePermsModel.BelongsToOneRelation, modelClass: Safe, join: { from: 'vault.safe_id', to: 'safe.id' } },
  }
  declare safe?: Safe
  static override policy: Policy<Vault> = { read: allOf(owner(), recent(300)), create: owner(), update: owner() }
}
class Checked extends HasUserMixin(BasePermsModel).withColumns({ title: column.string() }) {
  static override policy: Policy<Checked> = {
    read: owner(),
    create: everyone(),
    update: allOf(
      recent(300),
      check<Checked>((row) => row.title !== 'locked'),
    ),
  }
}
class Moved extends HasUserMixin(BasePermsModel).withColumns({ state: column.string().default('open') }) {
  static override policy: Policy<Moved> = {
    read: owner(),
    create: owner(),
    update: { from: owner(), to: anyOf(where({ state: 'open' }), allOf(where({ state: 'closed' }), recent(300))) },
  }
}
class Bin extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
  static override policy: Policy<Bin> = { read: owner(), create: owner(), update: owner(), delete: allOf(owner(), recent(300)) }
}
class Linked extends HasUserMixin(BasePermsModel).withColumns({ title: column.string(), safeId: column.uuid().references('safe.id') }) {
  static override relationMappings = {
    safe: { relation: BasePermsModel.BelongsToOneRelation, modelClass: Safe, join: { from: 'linked.safe_id', to: 'safe.id' } },
  }
  declare safe?: Safe
  static override policy: Policy<Linked> = { read: related('safe', allOf(owner(), factor('any'))), create: owner() }
}

const models = [Safe, Vault, Checked, Moved, Bin, Linked]
const ago = (seconds: number) => new Date(Date.now() - seconds * 1000)

describe('recent() and factor()', () => {
  it('refuse numbers and names that they do not know', () => {
    for (const seconds of [0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '300' as never, undefined as never])
      expect(thrown(() => recent(seconds))).to.be.instanceOf(ConfigurationError)
    for (const name of ['sms', '', 'toString', null, undefined])
      expect(thrown(() => factor(name as never))).to.be.instanceOf(ConfigurationError)
  })
})

eachDatabase('A session in rules', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  let admin: User
  before(async () => {
    perms = initPerms({ knex: db.knex, passwordHasher: testHasher(), models, outsideContext: 'allow' })
    await createTables(db.knex, [Domain, User, UserRole, Token, ...models])
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const model of [...models.toReversed(), Token, UserRole, User]) await db.knex(tableOf(model)).delete()
    ada = await User.create({ email: 'ada@example.com' })
    bob = await User.create({ email: 'bob@example.com' })
    admin = await User.create({ email: 'admin@example.com' })
    await UserRole.create({ user: admin, role: Role.ADMIN })
    for (const user of [ada, bob, admin]) await user.loadRoles()
  })

  const actor = (user: User, proof: Presence, more: Partial<Actor> = {}): Actor => ({ ...toActor(user, proof), ...more })
  const as = <T>(user: User, proof: Presence, fn: () => T) => runAsActor(actor(user, proof), fn)
  const fresh = {
    get authTime() {
      return new Date()
    },
    amr: ['pwd'],
  }
  const stale = () => ({ authTime: ago(301), amr: ['pwd'] })
  const safeOf = (user: User, values: object = {}) => asSystem(() => Safe.create({ userId: user.id, title: 'Mine', ...values }))
  const stepUp = async (promise: PromiseLike<unknown>) => {
    const error = await rejection(promise)
    expect(error).to.be.instanceOf(InsufficientUserAuthenticationError)
    const { status, code, maxAge, acrValues } = error as InsufficientUserAuthenticationError
    expect([status, code]).to.deep.equal([401, 'insufficient_user_authentication'])
    return { maxAge, acrValues }
  }

  const proofs: [string, () => Presence, Partial<Actor>, boolean][] = [
    ['a proof of 290 seconds ago', () => ({ authTime: ago(290), amr: ['pwd'] }), {}, true],
    ['a proof of 301 seconds ago', () => ({ authTime: ago(301), amr: ['pwd'] }), {}, false],
    ['a proof some seconds ahead, by another clock', () => ({ authTime: ago(-30), amr: ['pwd'] }), {}, true],
    ['a proof far ahead', () => ({ authTime: ago(-3600), amr: ['pwd'] }), {}, false],
    ['an unknown time', () => ({ amr: ['pwd'] }), {}, false],
    ['a time that is null', () => ({ authTime: null, amr: null }), {}, false],
    ['an invalid time', () => ({ authTime: new Date(Number.NaN), amr: ['pwd'] }), {}, false],
    ['an API key', () => ({ authTime: new Date(), amr: ['pwd'] }), { abilities: ['*'] }, false],
    ['an impersonation', () => ({ authTime: new Date(), amr: ['pwd'] }), { impersonatorId: '0198c0de-0000-7000-8000-00000000000a' }, false],
  ]
  for (const [title, proof, more, isFresh] of proofs)
    it(`${title} is ${isFresh ? '' : 'not '}recent, in lists and for single rows [promises 86, 87]`, async () => {
      const vault = await asSystem(() => Vault.create({ userId: ada.id, title: 'x' }))
      await runAsActor(actor(ada, proof(), more), async () => {
        expect((await Vault.query()).length).to.equal(isFresh ? 1 : 0)
        expect(await Vault.query().resultSize()).to.equal(isFresh ? 1 : 0)
        expect((await Vault.getBy({ id: vault.id }))?.id).to.equal(isFresh ? vault.id : undefined)
        expect(await vault.canRead()).to.equal(isFresh)
      })
    })

  it('a user without a session is not recent, unless runAs() says so [promise 86]', async () => {
    await asSystem(() => Vault.create({ userId: ada.id, title: 'x' }))
    expect(await runAs(ada, () => Vault.query())).to.have.length(0)
    expect(await runAs(ada, () => Vault.query(), { authTime: new Date(), amr: ['pwd'] })).to.have.length(1)
    expect(await runAs(ada, () => Vault.query(), { amr: ['pwd'] })).to.have.length(0)
    expect(await runAs(actor(ada, fresh), () => Vault.query())).to.have.length(1)
    expect(await asSystem(() => Vault.query())).to.have.length(1)
  })

  it('names of methods satisfy the factor that they prove, and no other [promise 87]', async () => {
    const sees = async (proof: Presence, name: 'passkey' | 'totp' | 'any') => {
      class Shown extends Safe {
        static override policy = { read: factor(name) }
      }
      Shown.tableName = 'safe'
      return (await as(ada, proof, () => Shown.query())).length > 0
    }
    await safeOf(ada)
    const table: [readonly string[] | null, boolean, boolean, boolean][] = [
      [['pwd'], false, false, false],
      [['mail'], false, false, false],
      [['legacy'], false, false, false],
      [['pwd', 'otp'], false, true, true],
      [['pwd', 'recovery'], false, false, true],
      [['hwk'], true, false, true],
      [['swk'], true, false, true],
      [[], false, false, false],
      [null, false, false, false],
    ]
    for (const [amr, passkey, totp, any] of table) {
      const proof = { authTime: new Date(), amr }
      expect([await sees(proof, 'passkey'), await sees(proof, 'totp'), await sees(proof, 'any')], String(amr)).to.deep.equal([
        passkey,
        totp,
        any,
      ])
    }
    expect(await sees({ amr: 'otp' as never }, 'any')).to.equal(false)
  })

  it('combinations and negations decide the same in SQL, in memory and in the database [promise 87]', async () => {
    await safeOf(ada)
    await safeOf(bob, { title: 'Theirs' })
    const rules = [
      recent(300),
      not(recent(300)),
      allOf(owner(), recent(300)),
      anyOf(owner(), recent(300)),
      not(allOf(owner(), recent(300))),
      not(anyOf(owner(), factor('totp'))),
      anyOf(allOf(recent(300), not(factor('any'))), allOf(owner(), factor('totp'))),
      allOf(),
      anyOf(),
    ]
    const sessions: Presence[] = [fresh, stale(), {}, { authTime: new Date(), amr: ['pwd', 'otp'] }, { authTime: ago(900), amr: ['otp'] }]
    let compared = 0
    for (const [index, rule] of rules.entries()) {
      class Ruled extends Safe {
        static override policy = { read: rule, update: rule }
      }
      Ruled.tableName = 'safe'
      const holds = (proof: Presence, isOwner: boolean): boolean => {
        const isNew = proof.authTime ? Date.now() - proof.authTime.getTime() <= 300_000 : false
        const [any, totp] = [proof.amr?.includes('otp') ?? false, proof.amr?.includes('otp') ?? false]
        const results = [isNew, !isNew, isOwner && isNew, isOwner || isNew, !(isOwner && isNew), !(isOwner || totp)]
        return [...results, (isNew && !any) || (isOwner && totp), true, false][index] as boolean
      }
      for (const proof of sessions)
        await as(ada, proof, async () => {
          const seen = new Set((await Ruled.query()).map(({ id }) => id))
          for (const row of await asSystem(() => Ruled.query())) {
            const expected = holds(proof, row.userId === ada.id)
            expect(seen.has(row.id), `rule ${index}`).to.equal(expected)
            expect(await row.canRead(), `rule ${index}`).to.equal(expected)
            expect(await row.canWrite(), `rule ${index}`).to.equal(expected)
            compared += 1
          }
        })
    }
    expect(compared).to.equal(rules.length * sessions.length * 2)
  })

  it('applies inside related() and to columns [promise 87]', async () => {
    const safe = await safeOf(ada, { pin: '1234' })
    await asSystem(() => Linked.create({ userId: ada.id, title: 'x', safeId: safe.id }))
    const withCode = { authTime: new Date(), amr: ['pwd', 'otp'] }
    expect(await as(ada, fresh, () => Linked.query())).to.have.length(0)
    expect(await as(ada, withCode, () => Linked.query())).to.have.length(1)
    const shown = (proof: Presence) => as(ada, proof, async () => (await Safe.getOr404(safe.id)).toJSON())
    expect(await shown(fresh)).to.not.have.property('pin')
    expect(await shown(withCode)).to.have.property('pin', '1234')
  })

  it('adds no statement to a read or a write, and no condition to the SQL [promise 87]', async () => {
    const safe = await safeOf(ada)
    const { statements } = await countQueries(db.knex, () => as(ada, fresh, () => Safe.query().findById(safe.id).patch({ title: 'New' })))
    const writes = statements.filter((sql) => !/^(?:begin|commit|start|savepoint|release|set)/i.test(sql))
    const other = await countQueries(db.knex, () => as(ada, fresh, () => Vault.query()))
    expect(other.statements).to.have.length(1)
    expect(writes[0]).to.match(/^update/)
    const { sql, words } = explain(Vault, 'read', ada)
    expect(sql).to.equal('false')
    expect(words).to.include('callers who confirmed their session within 300 seconds')
    expect(explain(Safe, 'delete', ada).words).to.include('the second factor totp')
  })

  it('expires while a caller is in use: the clock decides at each statement [promise 86]', async () => {
    const clock = fakeClock()
    try {
      await asSystem(() => Vault.create({ userId: ada.id, title: 'x' }))
      await as(ada, { authTime: new Date(), amr: ['pwd'] }, async () => {
        expect(await Vault.query()).to.have.length(1)
        clock.advance(301)
        expect(await Vault.query()).to.have.length(0)
      })
    } finally {
      clock.restore()
    }
  })

  describe('in writes', () => {
    it('asks for a fresh session where the row is readable and only the session is missing [promise 88]', async () => {
      const safe = await safeOf(ada)
      const old = stale()
      const row = () => as(ada, old, () => Safe.getOr404(safe.id))
      expect(await stepUp(as(ada, old, async () => (await row()).update({ title: 'New' })))).to.deep.equal({ maxAge: 300, acrValues: [] })
      expect(await stepUp(as(ada, old, () => Safe.query().findById(safe.id).patch({ title: 'New' })))).to.deep.equal({
        maxAge: 300,
        acrValues: [],
      })
      expect(await stepUp(as(ada, old, () => Safe.query().patchAndFetchById(safe.id, { title: 'New' })))).to.deep.equal({
        maxAge: 300,
        acrValues: [],
      })
      expect(await stepUp(as(ada, old, async () => (await row()).delete()))).to.deep.equal({ maxAge: 60, acrValues: ['totp'] })
      // The proof is recent enough, but the factor is missing.
      expect(await stepUp(as(ada, fresh, () => Safe.query().deleteById(safe.id)))).to.deep.equal({ maxAge: undefined, acrValues: ['totp'] })
      expect(await stepUp(as(ada, old, () => Safe.create({ title: 'Second', userId: ada.id })))).to.deep.equal({
        maxAge: 300,
        acrValues: [],
      })
      expect((await asSystem(() => Safe.getOr404(safe.id))).title).to.equal('Mine')
      expect(await asSystem(() => Safe.query().resultSize())).to.equal(1)
      await as(ada, { authTime: new Date(), amr: ['otp'] }, () => Safe.query().deleteById(safe.id))
      expect(await asSystem(() => Safe.query().resultSize())).to.equal(0)
    })

    it('answers as for a missing row where the caller may not read it [promises 36, 88]', async () => {
      const safe = await safeOf(bob)
      const vault = await asSystem(() => Vault.create({ userId: ada.id, title: 'x' }))
      const old = stale()
      expect(await as(ada, old, () => Safe.query().findById(safe.id).patch({ title: 'New' }))).to.equal(0)
      expect(await as(ada, old, () => Safe.query().deleteById(safe.id))).to.equal(0)
      expect(await rejection(as(ada, old, () => safe.getClone().update({ title: 'New' })))).to.be.instanceOf(NotFoundError)
      // A read rule hides the row, although a fresh session would show it.
      expect(await rejection(as(ada, old, () => vault.getClone().update({ title: 'New' })))).to.be.instanceOf(NotFoundError)
    })

    it('answers 403 as before where a fresh session would not suffice [promise 88]', async () => {
      const safe = await safeOf(ada, { state: 'closed' })
      const old = stale()
      const refused = async (promise: PromiseLike<unknown>) => {
        const error = await rejection(promise)
        expect(error).to.be.instanceOf(ForbiddenError)
      }
      await refused(as(ada, old, () => Safe.query().findById(safe.id).patch({ title: 'New' })))
      await refused(as(ada, old, () => Safe.create({ title: 'For Bob', userId: bob.id })))
      const open = await safeOf(ada)
      // The values of the change would be refused afterwards.
      await refused(as(ada, old, () => Safe.query().findById(open.id).patch({ userId: bob.id })))
      await refused(as(ada, old, () => Safe.query().findById(open.id).patch({ state: 'closed' })))
      for (const more of [{ abilities: ['*'] }, { impersonatorId: admin.id }])
        await refused(runAsActor(actor(ada, fresh, more), () => Safe.query().findById(open.id).patch({ title: 'New' })))
      await as(ada, { authTime: new Date(), amr: ['pwd'] }, () => Safe.query().findById(open.id).patch({ title: 'New' }))
    })

    it('asks check() before it asks for a fresh session [promise 88]', async () => {
      const [free, locked] = await asSystem(() => Promise.all(['free', 'locked'].map((title) => Checked.create({ title, userId: ada.id }))))
      const patch = (row: Checked | undefined) =>
        as(ada, stale(), () =>
          Checked.query()
            .findById(row?.id ?? '')
            .patch({ title: 'New' }),
        )
      expect(await stepUp(patch(free))).to.deep.equal({ maxAge: 300, acrValues: [] })
      expect(await rejection(patch(locked))).to.be.instanceOf(ForbiddenError)
    })

    it('asks for a fresh session that only the result of an update needs, and undoes the update [promise 88]', async () => {
      const row = await asSystem(() => Moved.create({ userId: ada.id }))
      expect(await stepUp(as(ada, stale(), () => row.getClone().update({ state: 'closed' })))).to.deep.equal({ maxAge: 300, acrValues: [] })
      expect(await rejection(as(ada, stale(), () => row.getClone().update({ state: 'gone' })))).to.be.instanceOf(ForbiddenError)
      expect((await asSystem(() => Moved.getOr404(row.id))).state).to.equal('open')
      await as(ada, fresh, () => row.getClone().update({ state: 'closed' }))
    })

    it('asks for a fresh session for a column and for a soft deletion [promise 88]', async () => {
      const safe = await safeOf(ada)
      const proof = { authTime: ago(120), amr: ['pwd'] }
      expect(await stepUp(as(ada, proof, () => Safe.query().findById(safe.id).patch({ pin: '1' })))).to.deep.equal({
        maxAge: 60,
        acrValues: [],
      })
      const bin = await asSystem(() => Bin.create({ userId: ada.id, title: 'x' }))
      expect(await stepUp(as(ada, stale(), () => bin.getClone().delete()))).to.deep.equal({ maxAge: 300, acrValues: [] })
      await as(ada, fresh, () => bin.getClone().delete())
    })

    it('changes no row in bulk, without an error, as for other rules [promise 33]', async () => {
      await safeOf(ada)
      expect(await as(ada, stale(), () => Safe.query().patch({ title: 'New' }))).to.equal(0)
      expect(await as(ada, stale(), () => Safe.query().delete())).to.equal(0)
    })
  })

  describe('of an admin', () => {
    it('must satisfy recent() and factor() too: the bypass covers the rest of the rule [promise 89]', async () => {
      const safe = await safeOf(ada)
      await asSystem(() => Vault.create({ userId: ada.id, title: 'x' }))
      expect(await as(admin, stale(), () => Vault.query())).to.have.length(0)
      expect(await as(admin, fresh, () => Vault.query())).to.have.length(1)
      expect(await stepUp(as(admin, stale(), () => Safe.query().findById(safe.id).patch({ title: 'New' })))).to.deep.equal({
        maxAge: 300,
        acrValues: [],
      })
      await as(admin, fresh, () => Safe.query().findById(safe.id).patch({ title: 'New' }))
      expect(await stepUp(as(admin, fresh, () => Safe.query().deleteById(safe.id)))).to.deep.equal({
        maxAge: undefined,
        acrValues: ['totp'],
      })
      expect(await stepUp(as(admin, stale(), () => Safe.query().findById(safe.id).patch({ pin: '1' })))).to.deep.equal({
        maxAge: 60,
        acrValues: [],
      })
      await as(admin, { authTime: new Date(), amr: ['pwd', 'otp'] }, () => Safe.query().deleteById(safe.id))
    })

    it('needs no proof where the rule offers another way [promise 89]', async () => {
      class Either extends Safe {
        static override policy = { read: anyOf(owner(), recent(300)), update: anyOf(owner(), recent(300)), delete: not(recent(300)) }
      }
      Either.tableName = 'safe'
      const safe = await safeOf(ada)
      expect(await as(admin, stale(), () => Either.query())).to.have.length(1)
      await as(admin, stale(), () => Either.query().findById(safe.id).patch({ title: 'New' }))
      expect(await rejection(as(admin, fresh, () => Either.query().deleteById(safe.id)))).to.be.instanceOf(ForbiddenError)
    })
  })
})
