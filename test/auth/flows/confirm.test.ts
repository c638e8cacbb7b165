import { expect } from 'chai'
import jsonwebtoken from 'jsonwebtoken'
import {
  asAnonymous,
  asSystem,
  ConfigurationError,
  createTables,
  InvalidCredentialsError,
  Invitation,
  type Mail,
  type PermsOptions,
  Role,
  runAs,
  SecondFactor,
  Token,
  TooManyAttemptsError,
  transaction,
  type User,
  ValidationError,
} from '../../../src/index.js'
import { type Actor, runAsActor } from '../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { repetitions } from '../../helpers/repetitions.js'
import { type Member, member, outcome, password, type SetUp, secret, setUp } from '../set-up.js'
import { addFactor, codeOf } from './second-factor/factor.js'

const oldSecret = 'the secret of the old application, 32 bytes'
const address = '192.0.2.1'

eachDatabase('Sessions', (db) => {
  const mailer = capturedMailer<Mail>()
  let all: SetUp
  let user: Member

  const open = async (options: Partial<PermsOptions> = {}) => {
    const legacyTokens = { secret: oldSecret, until: new Date(Date.now() + 86_400_000), userId: ({ id }: { id?: unknown }) => String(id) }
    const jwt = { secret, legacyTokens, ...options.jwt }
    all = await setUp(db.knex, { mail: { mailer, baseUrl: 'https://app.example.com' }, ...options, jwt } as Partial<PermsOptions>)
    await createTables(db.knex, [SecondFactor, Invitation] as never)
  }
  const again = async (options: Partial<PermsOptions>) => {
    await all.perms.close()
    await open(options)
  }
  before(() => open())
  after(() => all.perms.close())
  beforeEach(async () => {
    all.events.length = 0
    user = await member()
  })

  const signIn = async (who: Member = user) => {
    const result = await all.perms.auth.signIn({ email: who.email, password })
    if (result.status !== 'signedIn') throw new Error('The user has a second factor.')
    return result
  }
  const authenticate = (token: string) => all.perms.authenticate(token)
  const as = <T>(actor: Actor, fn: () => T) => runAsActor(actor, fn, { address })
  const confirm = async (token: string, credentials: object) => as(await authenticate(token), () => all.perms.auth.confirm(credentials))
  const ageOf = (actor: Actor) => (actor.authTime ? (Date.now() - actor.authTime.getTime()) / 1000 : null)
  const isNow = (actor: Actor) => {
    const age = ageOf(actor)
    return age !== null && age < 60
  }

  describe('record when and how the user proved to be present', () => {
    it('at a sign-in with a password, and keep it through a refresh [promise 85]', async () => {
      const clock = fakeClock()
      try {
        const first = await signIn()
        const { authTime, amr } = await authenticate(first.accessToken)
        expect(amr).to.deep.equal(['pwd'])
        expect(authTime).to.be.instanceOf(Date)
        clock.advance(600)
        const second = await all.perms.auth.refresh(first.refreshToken)
        const refreshed = await authenticate(second.accessToken)
        expect(refreshed).to.deep.include({ authTime, amr })
        expect(ageOf(refreshed)).to.be.at.least(600)
      } finally {
        clock.restore()
      }
    })

    it('at a sign-in with a second factor, by password or by mail [promise 85]', async () => {
      user = await member({ emailVerifiedAt: new Date() })
      const { secret: key, recoveryCodes } = await addFactor(all.perms, user as unknown as User, password)
      const challenge = async () => (await all.perms.auth.signIn({ email: user.email, password })).challenge ?? ''
      const clock = fakeClock()
      try {
        clock.advance(60)
        const byCode = await all.perms.auth.secondFactors.verify(await challenge(), codeOf(key))
        expect((await authenticate(byCode.accessToken ?? '')).amr).to.deep.equal(['pwd', 'otp'])
      } finally {
        clock.restore()
      }
      const byRecovery = await all.perms.auth.secondFactors.verify(await challenge(), recoveryCodes[0] ?? '')
      expect((await authenticate(byRecovery.accessToken ?? '')).amr).to.deep.equal(['pwd', 'recovery'])
      await all.perms.auth.mail.requestMagicLink(user.email)
      await all.perms.auth.settled()
      const mailed = await all.perms.auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last(user.email)))
      const byMail = await all.perms.auth.secondFactors.verify(mailed.challenge ?? '', recoveryCodes[1] ?? '')
      const actor = await authenticate(byMail.accessToken ?? '')
      expect(actor.amr).to.deep.equal(['mail', 'recovery'])
      expect(isNow(actor)).to.equal(true)
    })

    it('not for sessions that code starts, unless it says so [promise 86]', async () => {
      const unknown = await all.perms.auth.createAccessToken(user as never)
      expect(await authenticate(unknown)).to.deep.include({ authTime: null, amr: null })
      const said = await all.perms.auth.createAccessToken(user as never, { amr: ['pwd'] })
      expect(isNow(await authenticate(said))).to.equal(true)
      const authTime = new Date(Date.now() - 1000)
      const refreshToken = await all.perms.auth.createRefreshToken(user as never, { authTime, amr: ['hwk'] })
      const token = await all.perms.auth.createAccessToken(user as never, { refreshToken })
      expect(await authenticate(token)).to.deep.include({ authTime, amr: ['hwk'] })
      for (const amr of [['two words'], [''], ['x'.repeat(256)]])
        expect((await rejection(all.perms.auth.createRefreshToken(user as never, { amr }))).message).to.include('names of RFC 8176')
    })

    it('not for legacy tokens, API keys, impersonations and sessions of earlier versions [promise 86]', async () => {
      const legacy = jsonwebtoken.sign({ id: user.id, iat: Math.floor(Date.now() / 1000) }, oldSecret)
      expect(await authenticate(legacy)).to.deep.include({ authTime: null, amr: ['legacy'] })
      const { plain } = await asSystem(() => Token.issue(user as never, { kind: 'api', abilities: ['*'] }))
      expect((await authenticate(plain)).authTime).to.equal(null)
      const root = await member()
      await root.grantRole(Role.SUPERADMIN)
      const signedIn = await signIn(root)
      const { accessToken } = await as(await authenticate(signedIn.accessToken), () =>
        all.perms.auth.impersonation.start(user as never, { reason: 'x' }),
      )
      expect((await authenticate(accessToken)).authTime).to.equal(null)
      const { accessToken: old } = await signIn()
      // As 0.1.0 creates it.
      await db.knex('token').update({ auth_time: null, amr: null })
      const actor = await authenticate(old)
      expect(actor).to.deep.include({ authTime: null, amr: null })
    })

    it('in the statement that loads the caller: no request runs another one [promise 85]', async () => {
      const { accessToken } = await signIn()
      expect((await countQueries(db.knex, () => authenticate(accessToken))).statements).to.have.length(1)
    })
  })

  describe('are confirmed', () => {
    it('by a password: the session is recent from the next request on, and others stay as they are [promise 90]', async () => {
      const clock = fakeClock()
      try {
        const [own, other] = [await signIn(), await signIn()]
        clock.advance(600)
        const { authTime, amr, accessToken } = await confirm(own.accessToken, { password })
        expect([amr, accessToken]).to.deep.equal([['pwd'], undefined])
        expect(await authenticate(own.accessToken)).to.deep.include({ authTime, amr: ['pwd'] })
        expect(isNow(await authenticate(own.accessToken))).to.equal(true)
        expect(ageOf(await authenticate(other.accessToken))).to.be.at.least(600)
      } finally {
        clock.restore()
      }
    })

    it('by a code, once, and the methods are those of the last proof [promises 85, 90]', async () => {
      const { secret: key, recoveryCodes } = await addFactor(all.perms, user as unknown as User, password)
      const accessToken = await all.perms.auth.createAccessToken(user as never, { amr: ['pwd'] })
      const clock = fakeClock()
      try {
        clock.advance(60)
        const code = codeOf(key)
        expect((await confirm(accessToken, { password, code })).amr).to.deep.equal(['pwd', 'otp'])
        expect(await rejection(confirm(accessToken, { code }))).to.be.instanceOf(InvalidCredentialsError)
        clock.advance(60)
        expect((await confirm(accessToken, { code: codeOf(key) })).amr).to.deep.equal(['otp'])
      } finally {
        clock.restore()
      }
      expect((await confirm(accessToken, { code: recoveryCodes[0] })).amr).to.deep.equal(['recovery'])
      expect(await rejection(confirm(accessToken, { code: recoveryCodes[0] }))).to.be.instanceOf(InvalidCredentialsError)
      expect((await authenticate(accessToken)).amr).to.deep.equal(['recovery'])
      // A password alone proves no factor: allOf(recent(300), factor('totp')) asks for another code.
      await confirm(accessToken, { password })
      expect((await authenticate(accessToken)).amr).to.deep.equal(['pwd'])
    })

    it('of legacy tokens too [promise 86]', async () => {
      await again({ jwt: { secret, authTimeClaims: true } })
      const legacy = jsonwebtoken.sign({ id: user.id, iat: Math.floor(Date.now() / 1000) }, oldSecret)
      const { accessToken } = await confirm(legacy, { password })
      // A token of this library could not name the session of a legacy token.
      expect(accessToken).to.equal(undefined)
      expect(isNow(await authenticate(legacy))).to.equal(true)
      await again({})
    })

    it('by nothing else: wrong and missing ones give one answer, and change nothing [promise 90]', async () => {
      const clock = fakeClock()
      try {
        const { accessToken } = await signIn()
        const before = await authenticate(accessToken)
        clock.advance(600)
        const messages = new Set<string>()
        for (const credentials of [{ password: 'wrong' }, { code: '123456' }, { code: 'aaaaa-bbbbb' }, { password, code: '123456' }]) {
          const error = await rejection(confirm(accessToken, credentials))
          expect(error).to.be.instanceOf(InvalidCredentialsError)
          messages.add(error.message)
        }
        expect(messages.size).to.equal(1)
        const invalid = [
          {},
          null,
          { password: '' },
          { password: 1 },
          { code: ' ' },
          { code: ['1'] },
          { password, code: null },
          { code: '1'.repeat(200) },
        ]
        for (const credentials of invalid)
          expect(await rejection(confirm(accessToken, credentials as object)), JSON.stringify(credentials)).to.be.instanceOf(
            ValidationError,
          )
        expect((await authenticate(accessToken)).authTime).to.deep.equal(before.authTime)
      } finally {
        clock.restore()
      }
    })

    it('not for anonymous callers, API keys, impersonations, code without a session, and in transactions [promises 86, 91]', async () => {
      const { auth } = all.perms
      expect(await outcome(asAnonymous(() => auth.confirm({ password })))).to.equal('UnauthorizedError')
      const { plain } = await asSystem(() => Token.issue(user as never, { kind: 'api', abilities: ['*'] }))
      expect(await outcome(confirm(plain, { password }))).to.equal('ForbiddenError')
      const root = await member()
      await root.grantRole(Role.SUPERADMIN)
      const { accessToken: rootToken } = await signIn(root)
      const { accessToken } = await as(await authenticate(rootToken), () => auth.impersonation.start(user as never))
      expect(await outcome(confirm(accessToken, { password }))).to.equal('ForbiddenError')
      expect(await rejection(runAs(user as never, () => auth.confirm({ password })))).to.be.instanceOf(ConfigurationError)
      const own = await authenticate((await signIn()).accessToken)
      expect(await rejection(as(own, () => transaction(() => auth.confirm({ password }))))).to.be.instanceOf(ConfigurationError)
    })

    it('under the limits of failed sign-ins, which a success does not reset [promise 90]', async () => {
      await again({ throttle: { signIn: { pair: 3, account: 10 } } })
      const { accessToken } = await signIn()
      const wrong = () => outcome(confirm(accessToken, { password: 'wrong' }))
      expect([await wrong(), await wrong()]).to.deep.equal(['InvalidCredentialsError', 'InvalidCredentialsError'])
      await confirm(accessToken, { password })
      expect(await wrong()).to.equal('InvalidCredentialsError')
      all.hasher.verified.length = 0
      expect(await rejection(confirm(accessToken, { password }))).to.be.instanceOf(TooManyAttemptsError)
      expect(all.hasher.verified).to.deep.equal([])
      // Sign-in from the same address counts the same attempts.
      expect(await outcome(asAnonymous(() => all.perms.auth.signIn({ email: user.email, password }), { address }))).to.equal(
        'TooManyAttemptsError',
      )
      await again({})
    })

    it('with events of a success and a failure, which name no secret', async () => {
      const seen: [string, object][] = []
      const offs = (['sessionConfirmed', 'signInFailed'] as const).map((name) =>
        all.perms.on(name, (payload) => void seen.push([name, payload])),
      )
      const { accessToken } = await signIn()
      const { sessionId } = await authenticate(accessToken)
      await confirm(accessToken, { password })
      await rejection(confirm(accessToken, { password: 'wrong' }))
      for (const off of offs) off()
      expect(seen).to.deep.equal([
        ['sessionConfirmed', { userId: user.id, sessionId, amr: ['pwd'], address }],
        ['signInFailed', { userId: user.id, email: user.email, account: user.email, reason: 'confirm', address }],
      ])
    })

    it('at once where callers are cached', async () => {
      await again({ cacheCallers: 60 })
      const clock = fakeClock()
      try {
        const { accessToken } = await signIn()
        await authenticate(accessToken)
        clock.advance(30)
        const { authTime } = await confirm(accessToken, { password })
        expect((await authenticate(accessToken)).authTime).to.deep.equal(authTime)
      } finally {
        clock.restore()
        await again({})
      }
    })

    it('and their tokens show it, if they are to: auth_time and amr', async () => {
      await again({ jwt: { secret, authTimeClaims: true } })
      const clock = fakeClock()
      try {
        const signedIn = await signIn()
        const claimsOf = (token = '') => all.perms.auth.verifyAccessToken(token) as unknown as { auth_time: number; amr: string[] }
        const first = claimsOf(signedIn.accessToken)
        expect(first.amr).to.deep.equal(['pwd'])
        expect(Math.abs(first.auth_time - Date.now() / 1000)).to.be.lessThan(60)
        clock.advance(600)
        const { accessToken, expiresIn } = await confirm(signedIn.accessToken, { password })
        expect(expiresIn).to.equal(900)
        expect(claimsOf(accessToken).auth_time).to.be.at.least(first.auth_time + 600)
        expect(isNow(await authenticate(accessToken ?? ''))).to.equal(true)
        const next = await all.perms.auth.refresh(signedIn.refreshToken)
        expect(claimsOf(next.accessToken)).to.deep.include({ amr: ['pwd'], auth_time: claimsOf(accessToken).auth_time })
      } finally {
        clock.restore()
        await again({})
      }
      expect(all.perms.auth.verifyAccessToken((await signIn()).accessToken)).to.not.have.any.keys('auth_time', 'amr')
    })
  })

  describe('that end', () => {
    it('while a confirmation checks the password are not confirmed [promise 91]', async () => {
      for (const end of ['signOut', 'everywhere', 'disable', 'password'] as const) {
        const racer = await member()
        const { accessToken } = await signIn(racer)
        const actor = await authenticate(accessToken)
        const row = await db.knex('token').where({ id: actor.sessionId }).first()
        all.hasher.beforeVerify = async () => {
          all.hasher.beforeVerify = undefined
          if (end === 'signOut') await as(actor, () => all.perms.auth.signOut())
          if (end === 'everywhere') await all.perms.auth.signOutEverywhere(racer as never)
          if (end === 'disable') await asSystem(() => racer.update({ isEnabled: false }))
          if (end === 'password') await asSystem(() => racer.update({ password: 'another battery staple' }))
        }
        expect(await outcome(as(actor, () => all.perms.auth.confirm({ password }))), end).to.equal('UnauthorizedError')
        const after = await db.knex('token').where({ id: actor.sessionId }).first()
        expect(after.auth_time, end).to.deep.equal(row.auth_time)
        expect(await outcome(authenticate(accessToken)), end).to.equal('InvalidTokenError')
      }
    })

    it('at the same moment as their confirmation stay ended, whichever commits first [promise 91]', async function () {
      this.timeout(60_000)
      for (let i = 0; i < repetitions(20); i += 1) {
        const racer = await member()
        const { accessToken } = await signIn(racer)
        const actor = await authenticate(accessToken)
        const [confirmed, ended] = await Promise.all([
          outcome(as(actor, () => all.perms.auth.confirm({ password }))),
          outcome(as(actor, () => all.perms.auth.signOut())),
        ])
        expect(confirmed).to.be.oneOf(['fine', 'UnauthorizedError'])
        expect(ended).to.equal('fine')
        expect(await outcome(authenticate(accessToken))).to.equal('InvalidTokenError')
      }
    })
  })
})
