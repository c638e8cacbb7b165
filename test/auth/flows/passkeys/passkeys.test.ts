import { expect } from 'chai'
import {
  asSystem,
  ConfigurationError,
  initPerms,
  type Mail,
  Passkey,
  type PasskeyOptions,
  type Perms,
  Role,
  runAs,
  transaction,
} from '../../../../src/index.js'
import { capturedMailer, type FakeClock, fakeClock } from '../../../../src/testing/index.js'
import { PasskeyChallenge } from '../../../../src/users/passkey-challenge.js'
import type { Variant } from '../../../helpers/authenticator.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { type Member, member, outcome, password, type SetUp, secret } from '../../set-up.js'
import { addFactor, challengeOf, codeOf } from '../second-factor/factor.js'
import { addPasskey, passkeyOptions, setUpPasskeys, signInWith, signInWithPassword, softPasskey, withToken } from './set-up.js'

const withoutTransactions = (statements: readonly string[]) =>
  statements.filter((sql) => /^(?:select|insert|update|delete|with)/i.test(sql))

eachDatabase('Passkeys', (db) => {
  const mailer = capturedMailer<Mail>()
  let all: SetUp
  let perms: Perms
  let user: Member
  let token: string
  let clock: FakeClock | undefined
  before(async () => {
    all = await setUpPasskeys(db.knex, { throttle: false, mail: { mailer, baseUrl: 'https://app.example.com' } })
    perms = all.perms
  })
  after(() => perms.close())
  beforeEach(async () => {
    user = await member({ emailVerifiedAt: new Date() } as Partial<Member>)
    token = (await signInWithPassword(perms, user)).accessToken
  })
  afterEach(() => {
    clock?.restore()
    clock = undefined
  })

  const as = <T>(by: string, fn: () => Promise<T>) => withToken(perms, by, fn)
  const list = () => asSystem(() => perms.auth.passkeys.list(user))
  const remove = (by: string, id: string) => as(by, () => perms.auth.passkeys.remove(id))
  const begin = (by: string) => as(by, () => perms.auth.passkeys.registrationOptions())

  describe('sign in', () => {
    it('alone, with the methods of two factors, in nine statements [promise 115]', async () => {
      const { soft } = await addPasskey(perms, token)
      const given = await perms.auth.passkeys.signInOptions()
      const { result, statements } = await countQueries(db.knex, () => perms.auth.passkeys.signIn(soft.get(given)))
      if (result.status !== 'signedIn') throw new Error('A second factor is missing.')
      expect(result.user.id).to.equal(user.id)
      expect((await perms.authenticate(result.accessToken)).amr).to.deep.equal(['hwk', 'user', 'mfa'])
      expect((await list())[0]?.lastUsedAt).to.be.instanceOf(Date)
      expect(withoutTransactions(statements)).to.have.length(9)
    })

    it('as a software key where they can be copied to other devices [promise 115]', async () => {
      const { soft } = await addPasskey(perms, token, { passkey: softPasskey({ isMultiDevice: true, isBackedUp: true }) })
      expect((await perms.authenticate((await signInWith(perms, soft)).accessToken)).amr).to.deep.equal(['swk', 'user', 'mfa'])
    })

    it('with options that name no user and no passkey, and store only a hash of the challenge [promises 102, 119]', async () => {
      const given = await perms.auth.passkeys.signInOptions()
      expect(given.allowCredentials).to.deep.equal([])
      expect(given).to.include({ rpId: 'example.com', userVerification: 'required', timeout: 300_000 })
      const stored = await asSystem(() => PasskeyChallenge.query().orderBy('createdAt', 'desc').first())
      expect(stored).to.deep.include({ userId: null, boundTo: null, ceremony: 'sign-in' })
      expect(JSON.stringify(await db.knex('passkey_challenge'))).to.not.include(given.challenge)
    })

    it('in the same statements for known and unknown passkeys that are refused [promise 119]', async () => {
      const { soft } = await addPasskey(perms, token)
      const unknown = softPasskey()
      unknown.userHandle = soft.userHandle
      const counts = []
      for (const passkey of [soft, unknown]) {
        const given = await perms.auth.passkeys.signInOptions()
        const attempt = () => outcome(perms.auth.passkeys.signIn(passkey.get(given, { signature: Buffer.alloc(70, 1) })))
        const { result, statements } = await countQueries(db.knex, attempt)
        counts.push([result, statements])
      }
      expect(counts[0]).to.deep.equal(counts[1])
    })
  })

  describe('are a second factor', () => {
    it('after a password, whose challenge names the factors of the user [promise 116]', async () => {
      const { soft } = await addPasskey(perms, token)
      const asked = await perms.auth.signIn({ email: user.email, password })
      expect(asked).to.deep.include({ status: 'secondFactor', factors: ['passkey'] })
      const given = await perms.auth.passkeys.secondFactorOptions(asked.challenge ?? '')
      expect(given.allowCredentials?.map(({ id }) => id)).to.deep.equal([soft.credentialId])
      const result = await perms.auth.passkeys.verifySecondFactor(asked.challenge ?? '', soft.get(given, { userHandle: null }))
      expect((await perms.authenticate(result.accessToken ?? '')).amr).to.deep.equal(['pwd', 'hwk', 'user', 'mfa'])
    })

    it('beside an authenticator app, and a recovery code takes the place of both [promise 116]', async () => {
      const { secret: app } = await addFactor(perms, user, password)
      const challenge = await challengeOf(perms, user.email, password)
      const signedIn = await perms.auth.secondFactors.verify(challenge, codeOf(app))
      await addPasskey(perms, signedIn.accessToken ?? '')
      expect(await perms.auth.signIn({ email: user.email, password })).to.deep.include({ factors: ['totp', 'passkey'] })
    })

    it('that a recovery code replaces: the first passkey gives ten of them [promise 116]', async () => {
      const { recoveryCodes } = await addPasskey(perms, token)
      expect(recoveryCodes).to.have.length(10)
      const [code = ''] = recoveryCodes ?? []
      const result = await perms.auth.secondFactors.verify(await challengeOf(perms, user.email, password), code)
      expect((await perms.authenticate(result.accessToken ?? '')).amr).to.deep.equal(['pwd', 'recovery'])
      expect(await outcome(perms.auth.secondFactors.verify(await challengeOf(perms, user.email, password), code))).to.equal(
        'InvalidCredentialsError',
      )
      expect(await outcome(perms.auth.secondFactors.verify(await challengeOf(perms, user.email, password), '123456'))).to.equal(
        'InvalidCredentialsError',
      )
    })

    it('five times at most for one challenge [promise 116]', async () => {
      const { soft } = await addPasskey(perms, token)
      const challenge = await challengeOf(perms, user.email, password)
      const verify = async (variant: Variant) => {
        const given = await perms.auth.passkeys.secondFactorOptions(challenge)
        return await outcome(perms.auth.passkeys.verifySecondFactor(challenge, soft.get(given, variant)))
      }
      for (let i = 0; i < 5; i += 1) expect(await verify({ signature: Buffer.alloc(70, 1) })).to.equal('InvalidCredentialsError')
      expect(await verify({})).to.equal('InvalidTokenError')
    })
  })

  describe('are added and removed', () => {
    it('only in a session that was proved within five minutes [promise 117]', async () => {
      const { soft, passkey } = await addPasskey(perms, token)
      clock = fakeClock()
      const { accessToken } = await signInWith(perms, soft)
      clock.advance(200)
      const given = await begin(accessToken)
      clock.advance(101)
      expect(await outcome(begin(accessToken))).to.equal('InsufficientUserAuthenticationError')
      expect(await outcome(remove(accessToken, passkey.id))).to.equal('InsufficientUserAuthenticationError')
      // The options are answered in the time that the user needs for it.
      expect(await outcome(as(accessToken, () => perms.auth.passkeys.register(softPasskey().create(given))))).to.equal('fine')
      clock.advance(400)
      expect(await outcome(as(accessToken, () => perms.auth.passkeys.register(softPasskey().create(given))))).to.equal(
        'InsufficientUserAuthenticationError',
      )
      const confirmed = await as(accessToken, async () =>
        perms.auth.confirm({ passkey: soft.get(await perms.auth.passkeys.confirmationOptions()) }),
      )
      expect(confirmed.amr).to.deep.equal(['hwk', 'user', 'mfa'])
      expect(await outcome(begin(accessToken))).to.equal('fine')
    })

    it('with a second factor in that session, if the user has one [promise 117]', async () => {
      const { passkey } = await addPasskey(perms, token)
      const error = await rejection(begin(token))
      expect(error).to.deep.include({ code: 'insufficient_user_authentication', acrValues: ['passkey', 'totp'] })
      expect(await outcome(remove(token, passkey.id))).to.equal('InsufficientUserAuthenticationError')
      // A password alone does not suffice.
      await as(token, () => perms.auth.confirm({ password }))
      expect(await outcome(begin(token))).to.equal('InsufficientUserAuthenticationError')
    })

    it('not with an API key, in runAs() or without a caller [promise 117]', async () => {
      const { plain } = await as(token, () => perms.auth.apiKeys.issue(user, { abilities: ['*'] }))
      expect(await outcome(begin(plain))).to.equal('ForbiddenError')
      expect(await outcome(perms.auth.passkeys.registrationOptions())).to.equal('UnauthorizedError')
      expect(await outcome(runAs(user, () => perms.auth.passkeys.registrationOptions()))).to.equal('ConfigurationError')
    })

    it('with an event and a mail [promise 117]', async () => {
      const names: string[] = []
      const stops = (['passkeyAdded', 'passkeyRemoved'] as const).map((name) => perms.on(name, () => names.push(name)))
      const { soft, passkey } = await addPasskey(perms, token)
      await remove((await signInWith(perms, soft)).accessToken, passkey.id)
      await perms.auth.settled()
      expect(names).to.deep.equal(['passkeyAdded', 'passkeyRemoved'])
      expect(mailer.mails.filter(({ to }) => to === user.email).map(({ kind }) => kind)).to.deep.equal(names)
      for (const stop of stops) stop()
    })

    it('with one handle for all passkeys of a user, and names of their own [promise 113]', async () => {
      const first = await addPasskey(perms, token)
      const { accessToken } = await signInWith(perms, first.soft)
      const second = await addPasskey(perms, accessToken)
      expect(second.soft.userHandle).to.equal(first.soft.userHandle)
      expect(second.recoveryCodes).to.equal(undefined)
      await as(accessToken, () => perms.auth.passkeys.rename(second.passkey.id, 'Phone'))
      expect((await list()).map(({ name }) => name)).to.deep.equal(['Passkey', 'Phone'])
      const stranger = (await signInWithPassword(perms, await member())).accessToken
      expect(await outcome(as(stranger, () => perms.auth.passkeys.rename(second.passkey.id, 'Mine')))).to.equal('NotFoundError')
      expect(await outcome(remove(stranger, second.passkey.id))).to.equal('NotFoundError')
    })

    it('until the last method of sign-in, which stays [promise 118]', async () => {
      const { soft, passkey } = await addPasskey(perms, token)
      const second = await addPasskey(perms, (await signInWith(perms, soft)).accessToken)
      await db.knex('member').where({ id: user.id }).update({ password_hash: null })
      const { accessToken } = await signInWith(perms, soft)
      expect(await outcome(remove(accessToken, passkey.id))).to.equal('fine')
      expect(await outcome(remove(accessToken, second.passkey.id))).to.equal('ConflictError')
      expect(await list()).to.have.length(1)
      expect(await outcome(asSystem(() => perms.auth.passkeys.reset(user)))).to.equal('ConflictError')
      // Sign-in by mail is a method too.
      perms.auth.mail.offerSignIn()
      expect(await outcome(remove(accessToken, second.passkey.id))).to.equal('fine')
      expect(await list()).to.deep.equal([])
    })

    it('by reset() not with an API key [promise 117]', async () => {
      await addPasskey(perms, token)
      const { plain } = await as(token, () => perms.auth.apiKeys.issue(user, { abilities: ['*'] }))
      expect(await outcome(as(plain, () => perms.auth.passkeys.reset(user)))).to.equal('ForbiddenError')
      expect(await list()).to.have.length(1)
    })

    it('by reset() only by callers who outrank the user [promise 39]', async () => {
      await addPasskey(perms, token)
      await asSystem(() => user.grantRole(Role.ADMIN))
      for (const role of [Role.ADMIN, null]) {
        const caller = await member()
        if (role) await asSystem(() => caller.grantRole(role))
        const { accessToken } = await signInWithPassword(perms, caller)
        expect(await outcome(as(accessToken, () => perms.auth.passkeys.reset(user))), String(role)).to.equal('ForbiddenError')
      }
      expect(await list()).to.have.length(1)
      const boss = await member()
      await asSystem(() => boss.grantRole(Role.SUPERADMIN))
      const { accessToken } = await signInWithPassword(perms, boss)
      expect(await as(accessToken, () => perms.auth.passkeys.reset(user))).to.equal(1)
    })

    it('all at once by reset(), after which the password suffices [promise 116]', async () => {
      await addPasskey(perms, token)
      expect(await asSystem(() => perms.auth.passkeys.reset(user))).to.equal(1)
      expect((await perms.auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
    })
  })

  it('are twenty at most, also when another one is added between the options and the answer', async () => {
    const { soft } = await addPasskey(perms, token)
    const { accessToken } = await signInWith(perms, soft)
    const insert = async (count: number) => {
      for (let i = 0; i < count; i += 1) {
        const { credentialId } = softPasskey()
        const values = { userId: user.id, name: 'Key', credentialId, credentialHash: credentialId, userHandle: soft.userHandle }
        const device = { deviceType: 'singleDevice', backedUp: false, aaguid: '0', transports: null, publicKey: 'key', counter: '0' }
        await asSystem(() => Passkey.create({ ...values, ...device } as object))
      }
    }
    await insert(18)
    const options = await begin(accessToken)
    await insert(1)
    expect(await outcome(as(accessToken, () => perms.auth.passkeys.register(softPasskey().create(options))))).to.equal('ConflictError')
    expect(await outcome(begin(accessToken))).to.equal('ConflictError')
    expect(await list()).to.have.length(20)
  })

  it("refuse to be used and changed inside the application's transaction [promise 59]", async () => {
    const { passkey } = await addPasskey(perms, token)
    const { passkeys } = perms.auth
    const calls: Record<string, () => Promise<unknown>> = {
      signInOptions: () => passkeys.signInOptions(),
      signIn: () => passkeys.signIn({}),
      secondFactorOptions: () => passkeys.secondFactorOptions('sf_x'),
      verifySecondFactor: () => passkeys.verifySecondFactor('sf_x', {}),
      registrationOptions: () => passkeys.registrationOptions(),
      register: () => passkeys.register({}),
      confirmationOptions: () => passkeys.confirmationOptions(),
      remove: () => passkeys.remove(passkey.id),
      reset: () => passkeys.reset(user),
    }
    for (const [name, call] of Object.entries(calls))
      expect(await outcome(as(token, () => transaction(call, { knex: db.knex }))), name).to.equal('ConfigurationError')
    expect(await list()).to.have.length(1)
  })

  it('end with the first proof of an address, by whoever they were added [promise 119]', async () => {
    await asSystem(() => user.update({ emailVerifiedAt: null } as Partial<Member>))
    await addPasskey(perms, token)
    await perms.auth.mail.requestMagicLink(user.email)
    await perms.auth.settled()
    const result = await perms.auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last('magicLink')))
    expect(result.status).to.equal('signedIn')
    expect(await list()).to.deep.equal([])
  })

  it('stay after the reset of a proved address, and are asked for [promise 119]', async () => {
    await addPasskey(perms, token)
    await perms.auth.mail.requestPasswordReset(user.email)
    await perms.auth.settled()
    await perms.auth.mail.resetPassword({ token: mailer.tokenFrom(mailer.last('resetPassword')), password: 'another battery staple' })
    expect(await list()).to.have.length(1)
    expect((await perms.auth.signIn({ email: user.email, password: 'another battery staple' })).status).to.equal('secondFactor')
  })

  it('show no key, credential id or handle in JSON [promise 119]', async () => {
    const { soft } = await addPasskey(perms, token)
    const shown = JSON.stringify(await list())
    for (const hidden of [soft.credentialId, soft.userHandle, 'publicKey', 'counter', 'credentialHash'])
      expect(shown).to.not.include(hidden)
    expect(await asSystem(() => Passkey.query().where('userId', user.id).resultSize())).to.equal(1)
  })
})

describe('initPerms({ passkeys })', () => {
  const start = async (passkeys: Partial<PasskeyOptions>) => {
    const { default: Knex } = await import('knex')
    const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
    try {
      const perms = initPerms({ knex, jwt: { secret }, passkeys: { ...passkeyOptions, ...passkeys } })
      await perms.close()
    } finally {
      await knex.destroy()
    }
  }

  it('refuses an RP id that is no domain, origins elsewhere, and http except on localhost [promise 101]', async () => {
    const invalid: [keyof PasskeyOptions, Partial<PasskeyOptions>][] = [
      ...['', 'com', 'https://example.com', 'example.com:443', 'EXAMPLE.com', '192.0.2.1', 'example.com/', '.example.com'].map(
        (rpId): [keyof PasskeyOptions, Partial<PasskeyOptions>] => ['rpId', { rpId }],
      ),
      ...[
        'http://example.com',
        'https://example.com/',
        'https://example.com/app',
        'https://badexample.com',
        'https://example.org',
        '*',
        '',
      ].map((origin): [keyof PasskeyOptions, Partial<PasskeyOptions>] => ['origins', { origins: [origin] }]),
      ['origins', { origins: [] }],
      ['rpName', { rpName: ' ' }],
      ['maxAge', { maxAge: 0 }],
    ]
    for (const [option, given] of invalid) {
      const error = await rejection(start(given))
      expect(error, JSON.stringify(given)).to.be.instanceOf(ConfigurationError)
      expect(error.message).to.include(`passkeys: { ${option}: `)
    }
    await start({ rpId: 'localhost', origins: ['http://localhost:3000'] })
    await start({ origins: ['https://example.com', 'https://a.b.example.com:8443', `android:apk-key-hash:${'a'.repeat(43)}`] })
  })
})
