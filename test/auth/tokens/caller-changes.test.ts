import { expect } from 'chai'
import type { Knex } from 'knex'
import { CallerCache } from '../../../src/auth/tokens/caller-cache.js'
import {
  asAnonymous,
  asSystem,
  createTables,
  Domain,
  initPerms,
  Token,
  transaction,
  type User,
  UserRole,
  UserSetting,
} from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { forgetText } from '../../../src/record/row-state.js'
import type { CallerChange } from '../../../src/users/caller/caller-changes.js'
import { eachDatabase } from '../../helpers/databases.js'
import { Member, member, outcome, type SetUp, secret, setUp, TestHasher } from '../set-up.js'

describe('CallerCache', () => {
  const caller = (id: string) => {
    const user = { id, getClone: () => ({ ...user }), [forgetText]: () => undefined }
    return { user, session: { userId: id } } as never
  }

  it('drops callers whose load began before a change of them, and keeps all others [promise 22]', async () => {
    const changes: [CallerChange, kept: boolean][] = [
      [{ userId: 'ada' }, false],
      [{ userId: 'bob' }, true],
      [{ sessionId: 'session' }, false],
      [{ sessionId: 'another' }, true],
      ['any', false],
    ]
    for (const [change, kept] of changes) {
      let loads = 0
      let finish = (): void => undefined
      const cache = new CallerCache(60, async () => {
        loads += 1
        await new Promise<void>((resolve) => {
          finish = resolve
        })
        return caller('ada')
      })
      const first = cache.load('session')
      cache.forget(change)
      finish()
      await first
      const second = cache.load('session')
      finish()
      await second
      const third = cache.load('session')
      finish()
      await third
      expect(loads, JSON.stringify(change)).to.equal(kept ? 1 : 2)
    }
  })
})

eachDatabase('A change of a cached caller', (db) => {
  let all: SetUp
  let domain: Domain
  before(async () => {
    all = await setUp(db.knex, { cacheCallers: 60 })
    await createTables(db.knex, [UserSetting] as never)
    domain = await Domain.create({ name: 'press' })
  })
  after(() => all.perms.close())
  afterEach(async () => {
    await Domain.query().patch({ active: true } as never)
  })

  const auth = () => all.perms.auth
  interface Signed {
    readonly user: Member
    readonly token: string
    readonly sessionId: string
  }
  async function signed(): Promise<Signed> {
    const user = await member()
    await user.grantRole('editor', { domain: 'press' })
    const token = await auth().createAccessToken(user as unknown as User)
    const { sessionId } = await auth().authenticate(token)
    return { user, token, sessionId: sessionId as string }
  }
  const roles = (token: string) =>
    auth()
      .authenticate(token)
      .then(({ grants }) => grants.map(({ role }) => role).join())

  /** Each change, and what the token is worth after it. */
  const changes: Record<string, [change: (of: Signed) => Promise<unknown>, after: string]> = {
    'endSession()': [({ user, sessionId }) => auth().endSession(user as never, sessionId), 'InvalidTokenError'],
    'signOutEverywhere()': [({ user }) => auth().signOutEverywhere(user as never), 'InvalidTokenError'],
    'signOut()': [
      async ({ token }) => {
        const actor = await auth().authenticate(token)
        await runAsActor(actor, () => auth().signOut())
      },
      'InvalidTokenError',
    ],
    'a token that is revoked as a row': [async ({ sessionId }) => await (await Token.getOr404(sessionId)).revoke(), 'InvalidTokenError'],
    'tokens that are revoked in bulk': [
      ({ user }) =>
        Token.query()
          .patch({ revoked: true } as never)
          .where('userId', user.id)
          .execute(),
      'InvalidTokenError',
    ],
    'a token that is deleted': [async ({ sessionId }) => await (await Token.getOr404(sessionId)).delete(), 'InvalidTokenError'],
    'tokens that are deleted in bulk': [({ user }) => Token.query().delete().where('userId', user.id).execute(), 'InvalidTokenError'],
    'a user who is disabled': [({ user }) => user.update({ isEnabled: false }), 'InvalidTokenError'],
    'users who are disabled in bulk': [
      ({ user }) =>
        Member.query()
          .patch({ isEnabled: false } as never)
          .where('email', user.email)
          .execute(),
      'InvalidTokenError',
    ],
    'a user who is deleted softly': [({ user }) => user.delete(), 'InvalidTokenError'],
    'a user who is deleted': [({ user }) => user.hardDelete(), 'InvalidTokenError'],
    'a new password': [({ user }) => user.update({ password: 'another battery' } as never), 'InvalidTokenError'],
    'a new address': [({ user }) => user.update({ email: `new-${user.email}` }), 'InvalidTokenError'],
    'a role that is given': [({ user }) => user.grantRole('author'), 'editor,author'],
    'a role that is taken back': [({ user }) => user.revokeRole('editor', { domain: 'press' }), ''],
    'roles that are taken back in bulk': [({ user }) => UserRole.query().delete().where('userId', user.id).execute(), ''],
    'a role that becomes another': [
      ({ user }) =>
        UserRole.query()
          .patch({ role: 'writer' } as never)
          .where('userId', user.id)
          .execute(),
      'writer',
    ],
    'a domain that is switched off': [() => domain.update({ active: false }), ''],
    'domains that are switched off in bulk': [
      () =>
        Domain.query()
          .patch({ active: false } as never)
          .execute(),
      '',
    ],
  }

  const sorted = (text: string) => text.split(',').sort().join()
  for (const [name, [change, after]] of Object.entries(changes)) {
    it(`is seen at once after ${name} [promise 22]`, async () => {
      const of = await signed()
      expect(await roles(of.token)).to.equal('editor')
      await change(of)
      expect(sorted(await roles(of.token).catch((error: Error) => error.constructor.name))).to.equal(sorted(after))
    })

    // SQLite's pool has one connection: nothing changes while a load holds it.
    if (db.dialect === 'sqlite') continue
    it(`is seen by the next request during a running load, after ${name} [promise 22]`, async () => {
      const of = await signed()
      const { knex } = all.perms
      // Forgotten, so that the next request loads.
      await of.user.grantRole('passing')
      await of.user.revokeRole('passing')
      const held = holdLoads(knex)
      const underWay = roles(of.token)
      await held.read
      await change(of)
      held.release()
      expect(await underWay).to.equal('editor')
      expect(sorted(await roles(of.token).catch((error: Error) => error.constructor.name))).to.equal(sorted(after))
    })
  }

  it('is not cached when it was read inside a transaction, which may be rolled back [promise 22]', async () => {
    const { user, token } = await signed()
    await transaction(async () => {
      await user.grantRole('passing')
      expect(sorted(await roles(token))).to.equal('editor,passing')
      throw new Error('undone')
    }).catch(() => undefined)
    expect(await roles(token)).to.equal('editor')
  })

  it('is not reported for another sign-in, which keeps every cached caller', async () => {
    const { token } = await signed()
    await roles(token)
    const another = await member()
    await auth().signIn({ email: another.email, password: 'correct horse battery' })
    const refreshToken = await auth().createRefreshToken(another as unknown as User)
    await auth().refresh(refreshToken)
    await auth().signOutEverywhere(another as unknown as User)
    let asked = 0
    const count = () => {
      asked += 1
    }
    db.knex.on('query', count)
    await roles(token)
    db.knex.removeListener('query', count)
    expect(asked).to.equal(0)
  })

  it('after a second initPerms on the same Knex, and after one that failed, code without a context is refused still [promise 41]', async () => {
    const options = { knex: db.knex, jwt: { secret }, user: Member as never, passwordHasher: new TestHasher() }
    await all.perms.close()
    let perms = initPerms(options)
    try {
      expect(await outcome(Member.query())).to.equal('fine')
      perms.noteAdapter()
      expect(await outcome(Member.query())).to.equal('NoContextError')
      perms = initPerms(options)
      expect(await outcome(Member.query())).to.equal('NoContextError')
      expect(await outcome(asAnonymous(() => Member.query()))).to.equal('fine')
      expect(await outcome(asSystem(() => Member.query()))).to.equal('fine')
      expect(() => initPerms({ ...options, jwt: { secret: 'short' } })).to.throw(/32/)
      expect(await outcome(Member.query().execute())).not.to.equal('fine')
      perms = initPerms(options)
      expect(await outcome(Member.query())).to.equal('NoContextError')
      perms = initPerms({ ...options, outsideContext: 'allow' })
      expect(await outcome(Member.query())).to.equal('fine')
      perms = initPerms(options)
      expect(await outcome(Member.query())).to.equal('NoContextError')
    } finally {
      await perms.close()
      all = await setUp(db.knex, { cacheCallers: 60 })
    }
    expect(await outcome(Member.query())).to.equal('fine')
  })

  /** Lets the statement that loads a caller read, and holds its answer back. */
  function holdLoads(knex: Knex): { read: Promise<void>; release(): void } {
    const client = knex.client as { _query(connection: unknown, given: { sql?: string }): Promise<unknown> }
    const { _query } = client
    let wasRead = (): void => undefined
    let release = (): void => undefined
    const read = new Promise<void>((resolve) => {
      wasRead = resolve
    })
    const released = new Promise<void>((resolve) => {
      release = resolve
    })
    client._query = async function (connection, given) {
      const answer = await _query.call(this, connection, given)
      if (!String(given.sql).includes('as "c0"') && !String(given.sql).includes('as `c0`')) return answer
      client._query = _query
      wasRead()
      await released
      return answer
    }
    return { read, release: () => release() }
  }
})
