import { expect } from 'chai'
import type { SignedIn } from '../../../src/auth/auth.js'
import { asSystem, ConfigurationError, runAs, Token, transaction, User } from '../../../src/index.js'
import { runAsActor } from '../../../src/policy/context.js'
import { eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import type { OneFactorAuth as Auth } from '../set-up.js'
import { Member, member, outcome, password, type SetUp, setUp } from '../set-up.js'

class Stranger extends User.withColumns({}) {
  static override tableName = 'stranger'
}

eachDatabase('sessions', (db) => {
  let all: SetUp
  let auth: Auth
  before(async () => {
    all = await setUp(db.knex)
    auth = all.auth
  })
  after(() => all.perms.close())

  const signIn = ({ email }: { email: string }, device?: string): Promise<SignedIn> =>
    auth.signIn({ email, password, ...(device ? { device } : {}) })
  const isIn = async ({ accessToken }: { accessToken: string }) => (await outcome(auth.authenticate(accessToken))) === 'fine'
  const canRefresh = async ({ refreshToken }: { refreshToken: string }) => (await outcome(auth.refresh(refreshToken))) === 'fine'
  const idOf = ({ accessToken }: { accessToken: string }) => auth.verifyAccessToken(accessToken).sid

  it('end with sign-out, together with their tokens and no other session [promise 22]', async () => {
    const user = await member()
    const [one, two] = [await signIn(user), await signIn(user)]
    await runAsActor(await auth.authenticate(one.accessToken), () => auth.signOut())
    expect([await isIn(one), await canRefresh(one)]).to.deep.equal([false, false])
    expect([await isIn(two), await canRefresh(two)]).to.deep.equal([true, true])
    expect(all.events.at(-2)?.name).to.equal('signOut')
  })

  it('cannot be ended by a caller without a session', async () => {
    const user = await member()
    expect(await outcome(auth.signOut())).to.equal('UnauthorizedError')
    expect(await outcome(runAs(user, () => auth.signOut()))).to.equal('ConfigurationError')
  })

  it('all end, except the session that is kept [promise 22]', async () => {
    const user = await member()
    const other = await signIn(await member())
    const [one, two, three] = [await signIn(user), await signIn(user), await signIn(user)]
    const { plain } = await Token.issue(user)
    expect(await auth.signOutEverywhere(user, { except: idOf(two) })).to.equal(2)
    expect([await isIn(one), await isIn(two), await isIn(three), await isIn(other)]).to.deep.equal([false, true, false, true])
    expect(await auth.signOutEverywhere(user.id)).to.equal(1)
    expect(await isIn(two)).to.equal(false)
    expect(await Token.verify(plain)).to.not.equal(null)
    for (const bad of ['', undefined, null, {}]) expect(await outcome(auth.signOutEverywhere(bad as string))).to.equal('ConfigurationError')
    expect(await isIn(other)).to.equal(true)
  })

  it('are listed with address, device and times, without secrets', async () => {
    const user = await member()
    const one = await runAsActor(null, () => signIn(user, 'a telephone'), { address: '192.0.2.7' })
    const two = await signIn(user)
    await signIn(await member())
    await Token.issue(user)
    const listed = await runAsActor(await auth.authenticate(two.accessToken), () => auth.sessions(user))
    expect(listed.map(({ id }) => id)).to.have.members([idOf(one), idOf(two)])
    const phone = listed.find(({ id }) => id === idOf(one))
    expect([phone?.description, phone?.address, phone?.isCurrent]).to.deep.equal(['a telephone', '192.0.2.7', false])
    expect(listed.find(({ id }) => id === idOf(two))?.isCurrent).to.equal(true)
    expect(Object.keys(phone ?? {})).to.have.members(['id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt', 'isCurrent'])
    await auth.refresh(one.refreshToken)
    expect((await auth.sessions(user))[0]?.id).to.equal(idOf(one))
  })

  it('end individually, and only for their own user', async () => {
    const [user, other] = [await member(), await member()]
    const one = await signIn(user)
    expect(await auth.endSession(other, idOf(one))).to.equal(false)
    expect(await auth.endSession(user, 'nonsense')).to.equal(false)
    expect(await isIn(one)).to.equal(true)
    expect(await auth.endSession(user, idOf(one))).to.equal(true)
    expect([await isIn(one), await canRefresh(one), await auth.endSession(user, idOf(one))]).to.deep.equal([false, false, false])
    expect(await auth.sessions(user)).to.deep.equal([])
  })

  it('end when the password or address changes, except the session that changed it [promise 22]', async () => {
    for (const change of [{ password: 'another horse, another battery' }, { email: `changed${Math.random()}@example.com` }]) {
      const user = await member()
      const [mine, others] = [await signIn(user), await signIn(user)]
      const actor = await auth.authenticate(mine.accessToken)
      await runAsActor(actor, async () => {
        const row = await Member.getByOr404({ id: user.id })
        await row.updateFrom({ ...change, oldPassword: password })
      })
      expect([await isIn(mine), await isIn(others), await canRefresh(others)]).to.deep.equal([true, false, false])
      const reset = await signIn({ email: (change as { email?: string }).email ?? user.email } as never).catch(() => null)
      await asSystem(async () =>
        (await Member.getByOr404({ id: user.id })).update({ password: 'a third horse and battery' } as Partial<Member>),
      )
      expect(await isIn(mine)).to.equal(false)
      if (reset) expect(await isIn(reset)).to.equal(false)
    }
  })

  it('exist for tokens from createAccessToken() and createRefreshToken()', async () => {
    const user = await member()
    const refreshToken = await auth.createRefreshToken(user, { device: 'by hand' })
    const accessToken = await auth.createAccessToken(user, { refreshToken })
    expect((await auth.authenticate(accessToken)).id).to.equal(user.id)
    expect((await auth.sessions(user)).map(({ description }) => description)).to.deep.equal(['by hand'])
    await runAsActor(await auth.authenticate(accessToken), () => auth.signOut())
    expect(await canRefresh({ refreshToken })).to.equal(false)

    const alone = await auth.createAccessToken(user)
    expect(await isIn({ accessToken: alone })).to.equal(true)
    await auth.signOutEverywhere(user)
    expect(await isIn({ accessToken: alone })).to.equal(false)
  })

  it('are not started for a disabled user or with the refresh token of another user', async () => {
    const [user, other] = [await member(), await member()]
    const refreshToken = await auth.createRefreshToken(user)
    expect(await outcome(auth.createAccessToken(other, { refreshToken }))).to.equal('InvalidTokenError')
    expect(await outcome(auth.createAccessToken(user, { refreshToken: 'nonsense' }))).to.equal('InvalidTokenError')
    await user.update({ isEnabled: false } as Partial<Member>)
    expect(await outcome(auth.createAccessToken(user))).to.equal('AccountDisabledError')
    expect(await outcome(auth.createRefreshToken(user))).to.equal('AccountDisabledError')
  })

  it('are refused to a user of another table [promise 26]', async () => {
    const stranger = Stranger.build({ email: 'stranger@example.com' } as Partial<Stranger>)
    const error = await rejection(auth.createAccessToken(stranger))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(error.message).to.match(/Stranger.*Member/)
    expect(await outcome(auth.createRefreshToken(stranger))).to.equal('ConfigurationError')
  })

  it('start in the transaction that creates the user, and end outside transactions [promise 59]', async () => {
    let made: { user: Member; refreshToken: string } | undefined
    await transaction(async () => {
      const user = await member()
      made = { user, refreshToken: await auth.createRefreshToken(user) }
    })
    if (!made) return expect.fail('nothing was made')
    const { user, refreshToken } = made
    expect(await canRefresh({ refreshToken })).to.equal(true)
    const calls = [() => auth.signOut(), () => auth.signOutEverywhere(user), () => auth.endSession(user, user.id)]
    for (const call of calls) expect(await outcome(transaction(async () => await call()))).to.equal('ConfigurationError')
    expect(await auth.sessions(user)).to.have.length(1)
  })
})
