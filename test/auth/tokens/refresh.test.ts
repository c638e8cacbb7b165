import { expect } from 'chai'
import type { SignedIn } from '../../../src/auth/auth.js'
import { parseKeys } from '../../../src/auth/tokens/key-set.js'
import { callerLoader } from '../../../src/auth/tokens/load-caller.js'
import { SessionLife } from '../../../src/auth/tokens/session-life.js'
import { Sessions } from '../../../src/auth/tokens/sessions.js'
import { ConfigurationError, InvalidTokenError, Token, transaction } from '../../../src/index.js'
import { asAnonymous, runAsActor } from '../../../src/policy/context.js'
import { type FakeClock, fakeClock } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { fieldsOf, rejection } from '../../helpers/errors.js'
import type { OneFactorAuth as Auth } from '../set-up.js'
import { type Member, member, outcome, password, type SetUp, secret, setUp } from '../set-up.js'

eachDatabase('refresh', (db) => {
  let all: SetUp
  let auth: Auth
  before(async () => {
    all = await setUp(db.knex)
    auth = all.auth
  })
  after(() => all.perms.close())
  beforeEach(() => {
    all.events.length = 0
  })

  async function signedIn(): Promise<SignedIn & { user: Member; sessionId: string }> {
    const { email } = await member()
    const answer = await auth.signIn({ email, password })
    return { ...answer, user: answer.user as Member, sessionId: auth.verifyAccessToken(answer.accessToken).sid }
  }

  const sessionOf = (id: string) => Token.getByOr404({ id })
  const eventNames = () => all.events.map(({ name }) => name)

  let clock: FakeClock | undefined
  afterEach(() => clock?.restore())

  /** The last rotation as if it had been so long ago. */
  async function rotatedAgo(id: string, milliseconds: number): Promise<void> {
    const { rotatedAt } = await sessionOf(id)
    if (!rotatedAt) throw new Error('the session was never refreshed')
    await Token.query()
      .findById(id)
      .patch({ rotatedAt: new Date(rotatedAt.getTime() - milliseconds) } as never)
  }

  it('returns new tokens of the same session [promise 21]', async () => {
    const first = await signedIn()
    const second = await auth.refresh(first.refreshToken)
    expect(second.status).to.equal('signedIn')
    expect(second.refreshToken).to.not.equal(first.refreshToken)
    expect(second.user.id).to.equal(first.user.id)
    expect(auth.verifyAccessToken(second.accessToken).sid).to.equal(first.sessionId)
    expect((await auth.authenticate(second.accessToken)).id).to.equal(first.user.id)
    expect((await auth.refresh(second.refreshToken)).refreshToken).to.not.be.oneOf([first.refreshToken, second.refreshToken])
    expect(await Token.query().where('userId', first.user.id).resultSize()).to.equal(1)
  })

  it('stores no value that could be used as a token [promise 20]', async () => {
    const first = await signedIn()
    await auth.refresh(first.refreshToken)
    const row = await db.knex('token').where('id', first.sessionId).first()
    const stored = JSON.stringify(row)
    const bytes = Buffer.from(first.refreshToken.slice(3), 'base64url').subarray(0, 32)
    for (const form of ['hex', 'base64', 'base64url'] as const) expect(stored).to.not.contain(bytes.toString(form))
    expect(row.token).to.match(/^[0-9a-f]{64}$/)
    for (const text of [row.token, `rt_${row.token}`, `rt_${Buffer.from(row.token, 'hex').toString('base64url')}`]) {
      expect(await outcome(auth.refresh(text))).to.equal('InvalidTokenError')
    }
    expect((await sessionOf(first.sessionId)).revoked).to.equal(false)
  })

  it('gives two tabs the same successor within 10 s [promise 21]', async () => {
    const first = await signedIn()
    const one = await auth.refresh(first.refreshToken)
    clock = fakeClock()
    clock.advance(8)
    const two = await all.another().refresh(first.refreshToken)
    expect(two.refreshToken).to.equal(one.refreshToken)
    expect(await outcome(auth.refresh(two.refreshToken))).to.equal('fine')
  })

  it('ends the session permanently when a token is reused after 10 s [promise 21]', async () => {
    const first = await signedIn()
    const second = await auth.refresh(first.refreshToken)
    clock = fakeClock()
    clock.advance(11)
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('InvalidTokenError')
    expect((await sessionOf(first.sessionId)).revoked).to.equal(true)
    expect((await sessionOf(first.sessionId)).revokedAt).to.be.instanceOf(Date)
    expect(await outcome(auth.refresh(second.refreshToken))).to.equal('InvalidTokenError')
    expect(await outcome(auth.authenticate(second.accessToken))).to.equal('InvalidTokenError')
    expect(eventNames().filter((name) => name === 'tokenReused')).to.have.length(1)
    expect(JSON.stringify(all.events)).to.not.contain('rt_')
  })

  it('ends the session when a token is reused after its successor was used [promise 21]', async () => {
    const first = await signedIn()
    const second = await auth.refresh(first.refreshToken)
    const third = await auth.refresh(second.refreshToken)
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('InvalidTokenError')
    expect(await outcome(auth.refresh(third.refreshToken))).to.equal('InvalidTokenError')
  })

  it('recognises a reused token of any generation [promise 21]', async () => {
    const first = await signedIn()
    let last = first.refreshToken
    for (let i = 0; i < 5; i += 1) last = (await auth.refresh(last)).refreshToken
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('InvalidTokenError')
    expect(eventNames()).to.include('tokenReused')
    expect(await outcome(auth.refresh(last))).to.equal('InvalidTokenError')
  })

  it('ends no session for an invented token [promise 21]', async () => {
    const first = await signedIn()
    const bytes = Buffer.from(first.refreshToken.slice(3), 'base64url')
    bytes[0] = (bytes[0] ?? 0) ^ 1
    for (const text of [`rt_${bytes.toString('base64url')}`, `${first.refreshToken}x`, 'rt_nonsense', 'nonsense', first.sessionId]) {
      expect(await outcome(auth.refresh(text)), text).to.equal('InvalidTokenError')
    }
    expect(eventNames()).to.not.include('tokenReused')
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('fine')
  })

  it('gives twenty concurrent calls the same successor [promise 21]', async () => {
    const other = all.another({ knex: db.knex })
    for (let round = 0; round < 5; round += 1) {
      const first = await signedIn()
      all.events.length = 0
      const answers = await Promise.all(Array.from({ length: 20 }, (_, i) => (i % 2 ? auth : other).refresh(first.refreshToken)))
      expect(new Set(answers.map(({ refreshToken }) => refreshToken)).size).to.equal(1)
      const session = await sessionOf(first.sessionId)
      expect(session.revoked).to.equal(false)
      expect(await outcome(auth.refresh(answers[0]?.refreshToken as string))).to.equal('fine')
    }
  })

  it('never has two valid successors, whatever runs concurrently [promise 21]', async () => {
    for (let round = 0; round < 5; round += 1) {
      const first = await signedIn()
      const second = await auth.refresh(first.refreshToken)
      await rotatedAgo(first.sessionId, 11_000)
      const all20 = Array.from({ length: 10 }, (_, i) => auth.refresh(i % 2 ? first.refreshToken : second.refreshToken))
      const settled = await Promise.allSettled(all20)
      const handedOut = new Set(settled.flatMap((one) => (one.status === 'fulfilled' ? [one.value.refreshToken] : [])))
      expect(handedOut.size).to.be.lessThan(2)
      // The old token came back: nothing of the session lives on.
      expect((await sessionOf(first.sessionId)).revoked).to.equal(true)
      for (const text of handedOut) expect(await outcome(auth.refresh(text))).to.equal('InvalidTokenError')
    }
  })

  /** A process that has read the session and then sleeps until `meanwhile` is over. */
  async function slowly(refreshToken: string, meanwhile: () => Promise<unknown>): Promise<string> {
    let isFirst = true
    const load = callerLoader(db.knex)
    const slow = new Sessions({
      knex: db.knex,
      keys: parseKeys({ secret }),
      life: new SessionLife({ sessionExpires: 1000 }, 1000),
      emit: () => {},
      load: async (id) => {
        const caller = await load(id)
        if (isFirst) await meanwhile()
        isFirst = false
        return caller
      },
    })
    return await outcome(slow.rotate(refreshToken))
  }

  it('does not go back to a successor that was used while a slow process slept [promise 21]', async () => {
    const first = await signedIn()
    let last = ''
    const slow = await slowly(first.refreshToken, async () => {
      last = (await auth.refresh((await auth.refresh(first.refreshToken)).refreshToken)).refreshToken
    })
    expect(slow).to.equal('InvalidTokenError')
    expect(await outcome(auth.refresh(last))).to.equal('InvalidTokenError')
  })

  it('returns no tokens of a session that ended while a slow process slept [promise 22]', async () => {
    const first = await signedIn()
    expect(await slowly(first.refreshToken, () => auth.signOutEverywhere(first.user))).to.equal('InvalidTokenError')
    expect((await sessionOf(first.sessionId)).rotatedAt).to.equal(null)
  })

  it('leaves no valid token when sign-out and refresh run concurrently [promise 22]', async () => {
    for (let round = 0; round < 5; round += 1) {
      const first = await signedIn()
      const actor = await auth.authenticate(first.accessToken)
      const [refreshed] = await Promise.allSettled([auth.refresh(first.refreshToken), runAsActor(actor, () => auth.signOut())])
      expect(await outcome(auth.authenticate(first.accessToken))).to.equal('InvalidTokenError')
      expect(await outcome(auth.refresh(first.refreshToken))).to.equal('InvalidTokenError')
      if (refreshed?.status === 'fulfilled') {
        expect(await outcome(auth.authenticate(refreshed.value.accessToken))).to.equal('InvalidTokenError')
        expect(await outcome(auth.refresh(refreshed.value.refreshToken))).to.equal('InvalidTokenError')
      }
    }
  })

  it('keeps the revocation although the request fails [promise 59]', async () => {
    const first = await signedIn()
    const second = await auth.refresh(first.refreshToken)
    await auth.refresh(second.refreshToken)
    const trx = await db.connect().transaction()
    await rejection(
      asAnonymous(async () => {
        await auth.refresh(first.refreshToken)
      }),
    )
    await trx.rollback()
    expect((await sessionOf(first.sessionId)).revoked).to.equal(true)
  })

  it("refuses to run inside the application's transaction, and does not use up the token [promise 59]", async () => {
    const first = await signedIn()
    const error = await rejection(transaction(async () => await auth.refresh(first.refreshToken)))
    expect(error).to.be.instanceOf(ConfigurationError)
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('fine')
  })

  it('refuses a user who was disabled or deleted since the sign-in [promise 22]', async () => {
    const disabled = await signedIn()
    await disabled.user.update({ isEnabled: false } as Partial<Member>)
    expect(await outcome(auth.refresh(disabled.refreshToken))).to.equal('InvalidTokenError')
    const softDeleted = await signedIn()
    await softDeleted.user.delete()
    expect(await outcome(auth.refresh(softDeleted.refreshToken))).to.equal('InvalidTokenError')
    const deleted = await signedIn()
    await deleted.user.hardDelete()
    expect(await outcome(auth.refresh(deleted.refreshToken))).to.equal('InvalidTokenError')
    expect(await Token.query().where('userId', deleted.user.id).resultSize()).to.equal(0)
  })

  it('extends the session at each refresh, up to its absolute end [promise 21]', async () => {
    const first = await signedIn()
    const before = await sessionOf(first.sessionId)
    const day = 86_400_000
    const life = (before.endsAt as Date).getTime() - before.createdAt.getTime()
    expect(life).to.be.within(90 * day - 5_000, 90 * day + 5_000)
    const sliding = (before.expiresAt as Date).getTime() - before.createdAt.getTime()
    expect(sliding).to.be.within(30 * day - 5_000, 30 * day + 5_000)
    const soon = new Date(Date.now() + day)
    await before.update({ expiresAt: soon } as never)
    const { refreshToken } = await auth.refresh(first.refreshToken)
    expect(((await sessionOf(first.sessionId)).expiresAt as Date).getTime()).to.be.greaterThan(Date.now() + 29 * day)
    await before.update({ endsAt: soon } as never)
    const last = await auth.refresh(refreshToken)
    expect((await sessionOf(first.sessionId)).expiresAt).to.deep.equal(soon)
    await before.update({ endsAt: new Date(Date.now() - 1000), expiresAt: new Date(Date.now() + day) } as never)
    expect(await outcome(auth.refresh(last.refreshToken))).to.equal('InvalidTokenError')
    expect(await outcome(auth.authenticate(last.accessToken))).to.equal('InvalidTokenError')
  })

  it('ends sessions after jwt.sessionExpires, and refuses an invalid one', async () => {
    const jwt = { secret: 'a secret of this test, 32 bytes or more' }
    const short = all.another({ jwt: { ...jwt, sessionExpires: 3600 } })
    const { email } = await member()
    const answer = await short.signIn({ email, password })
    const session = await sessionOf(short.verifyAccessToken(answer.accessToken).sid)
    const life = (session.endsAt as Date).getTime() - session.createdAt.getTime()
    expect(life).to.be.within(3_595_000, 3_605_000)
    for (const sessionExpires of [0, -1, 1.5, Number.NaN])
      expect(() => all.another({ jwt: { ...jwt, sessionExpires } })).to.throw(ConfigurationError, 'jwt.sessionExpires')
  })

  it('refuses an expired session [promise 23]', async () => {
    const first = await signedIn()
    await Token.query()
      .findById(first.sessionId)
      .patch({ expiresAt: new Date(Date.now() - 1) } as never)
    expect(await outcome(auth.refresh(first.refreshToken))).to.equal('InvalidTokenError')
    expect(await outcome(auth.authenticate(first.accessToken))).to.equal('InvalidTokenError')
  })

  it('accepts no other kind of token, and no other function accepts a refresh token [promise 17]', async () => {
    const first = await signedIn()
    const { plain } = await Token.issue(first.user)
    const named = await Token.issue(first.user, { kind: 'refresh', expiresIn: 1000 })
    for (const text of [first.accessToken, plain, named.plain]) expect(await outcome(auth.refresh(text))).to.equal('InvalidTokenError')
    for (const text of [first.refreshToken, plain]) {
      expect(await outcome(auth.authenticate(text))).to.equal('InvalidTokenError')
      expect(() => auth.verifyAccessToken(text)).to.throw(InvalidTokenError)
    }
    const bytes = Buffer.from(first.refreshToken.slice(3), 'base64url').subarray(0, 32)
    for (const text of [first.refreshToken, bytes.toString('base64url'), bytes.toString('hex'), bytes.toString('latin1')]) {
      expect(await Token.verify(text)).to.equal(null)
    }
    const access = await auth.createAccessToken(first.user)
    const { sid } = auth.verifyAccessToken(access)
    expect((await sessionOf(sid)).kind).to.equal('access')
  })

  it('refuses blank text, null, objects and arrays before any query [promise 27]', async () => {
    for (const given of ['', '  ', null, undefined, 1, {}, [], ['rt_'], 'x'.repeat(5000)]) {
      const error = await rejection(auth.refresh(given as string))
      expect([error.name, fieldsOf(error)], String(given)).to.deep.equal(['ValidationError', ['refresh_token']])
    }
  })

  it('works across a key rotation until the key is removed [promise 24]', async () => {
    const first = await signedIn()
    const fresh = { kid: 'new', algorithm: 'HS256', secret: 'the secret that comes after the first one' } as const
    const rotated = all.another({ jwt: { keys: [fresh, { algorithm: 'HS256', secret, retired: true }] } })
    const second = await rotated.refresh(first.refreshToken)
    expect((await rotated.authenticate(first.accessToken)).id).to.equal(first.user.id)
    // A process that still has the old configuration agrees on the successor.
    await rejection(auth.refresh(second.refreshToken))
    const third = await all.another({ jwt: { keys: [fresh] } }).refresh(second.refreshToken)
    expect(auth.verifyAccessToken.bind(auth, third.accessToken)).to.throw(InvalidTokenError)
    expect(await outcome(all.another({ jwt: { keys: [fresh] } }).refresh(first.refreshToken))).to.equal('InvalidTokenError')
    expect((await sessionOf(first.sessionId)).revoked).to.equal(false)
  })

  it('refuses a throttled call before any query', async () => {
    const first = await signedIn()
    const no = all.another({ throttle: { begin: () => Promise.reject(new ConfigurationError('no')) } })
    expect(await outcome(no.refresh(first.refreshToken))).to.equal('ConfigurationError')
    expect((await sessionOf(first.sessionId)).rotatedAt).to.equal(null)
  })
})
