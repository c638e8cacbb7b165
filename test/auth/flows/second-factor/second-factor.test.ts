import { expect } from 'chai'
import { Secret, TOTP } from 'otpauth'
import { totpStep } from '../../../../src/auth/flows/second-factor/totp.js'
import { seal, unseal } from '../../../../src/auth/tokens/secret-box.js'
import { type Mail, SecondFactor, SecondFactorUnreadableError, Token, transaction, type User } from '../../../../src/index.js'
import { createTables } from '../../../../src/migrations.js'
import { runAsActor } from '../../../../src/policy/context.js'
import { capturedMailer, fakeClock } from '../../../../src/testing/index.js'
import { toActor } from '../../../../src/users/caller/actor.js'
import { countQueries, eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { secret as jwtSecret, type Member, member, outcome, password, type SetUp, setUp } from '../../set-up.js'

describe('TOTP', () => {
  it('returns the codes of RFC 6238, appendix B', () => {
    const secret = Secret.fromUTF8('12345678901234567890').base32
    // The last six of its eight digits.
    for (const [seconds, code] of [
      [59, '287082'],
      [1111111109, '081804'],
      [1111111111, '050471'],
      [1234567890, '005924'],
      [2000000000, '279037'],
      [20000000000, '353130'],
    ] as const)
      expect(totpStep(secret, code, seconds * 1000), String(seconds)).to.equal(Math.floor(seconds / 30))
  })

  it('accepts the previous and the next time step, and no others', () => {
    const secret = new Secret({ size: 20 }).base32
    const at = 1_700_000_010_000
    const code = (offset: number) => new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: at + offset * 30_000 })
    for (const offset of [-1, 0, 1]) expect(totpStep(secret, code(offset), at)).to.equal(Math.floor(at / 30_000) + offset)
    for (const offset of [-3, -2, 2, 3]) expect(totpStep(secret, code(offset), at)).to.equal(null)
  })
})

describe('A sealed secret', () => {
  const [first, second] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)]
  it('is decrypted with its key and for its owner only, and not after a changed bit [promise 20]', () => {
    const text = seal([first], 'ada', 'the secret')
    expect(text).not.to.contain('secret')
    expect(seal([first], 'ada', 'the secret')).not.to.equal(text)
    expect(unseal([first], 'ada', text)).to.equal('the secret')
    expect(unseal([second, first], 'ada', text)).to.equal('the secret')
    expect(unseal([second], 'ada', text)).to.equal(null)
    expect(unseal([first], 'bob', text)).to.equal(null)
    const bytes = Buffer.from(text, 'base64url')
    for (const i of [0, 13, bytes.length - 1]) {
      const changed = Buffer.from(bytes)
      changed[i] = (changed[i] as number) ^ 1
      expect(unseal([first], 'ada', changed.toString('base64url'))).to.equal(null)
    }
    for (const wrong of ['', 'x', 'AAAA']) expect(unseal([first], 'ada', wrong)).to.equal(null)
  })
})

eachDatabase('The second factor', (db) => {
  const mailer = capturedMailer<Mail>()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  let all: SetUp
  let user: Member
  let clock: ReturnType<typeof fakeClock>
  before(async () => {
    all = await setUp(db.knex, { mail }, { mail, secondFactor: { issuer: 'Zoo' } })
    await createTables(db.knex, [SecondFactor])
  })
  after(() => all.perms.close())
  beforeEach(async () => {
    clock = fakeClock()
    user = await member()
    all.events.length = 0
  })
  afterEach(() => clock.restore())

  const factors = () => all.auth.secondFactors
  const account = () => user as unknown as User
  /** The next code of the app: no step is taken twice. */
  const codeOf = (secret: string): string => {
    clock.advance(30)
    return new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() })
  }
  async function enrol(): Promise<{ secret: string; recoveryCodes: readonly string[] }> {
    const { secret } = await factors().begin(account(), { password })
    const { recoveryCodes } = await factors().confirm(account(), codeOf(secret))
    return { secret, recoveryCodes }
  }
  const challenge = async (): Promise<string> => {
    const result = (await all.auth.signIn({ email: user.email, password })) as unknown as { status: string; challenge: string }
    expect(result.status).to.equal('secondFactor')
    return result.challenge
  }

  it('is required once it is confirmed, and accepts a code of the app', async () => {
    const { secret, uri } = await factors().begin(account(), { password })
    expect(uri).to.match(/^otpauth:\/\/totp\/Zoo:member\d+%40example\.com\?issuer=Zoo/)
    expect((await all.auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
    await factors().confirm(account(), codeOf(secret))
    all.events.length = 0
    const asked = await challenge()
    expect(all.events.map(({ name }) => name)).not.to.include('signIn')
    const result = await factors().verify(asked, codeOf(secret), { device: 'a phone' })
    expect((await all.auth.authenticate(result.accessToken as string)).id).to.equal(user.id)
    expect(all.events.map(({ name }) => name)).to.include('signIn')
    expect((await all.auth.sessions(user.id))[0]?.description).to.equal('a phone')
  })

  it('accepts codes typed in groups', async () => {
    const { secret } = await enrol()
    const code = codeOf(secret)
    expect((await factors().verify(await challenge(), `${code.slice(0, 3)} ${code.slice(3)}`)).status).to.equal('signedIn')
  })

  it('accepts each code once', async () => {
    const { secret } = await enrol()
    const code = codeOf(secret)
    await factors().verify(await challenge(), code)
    expect(await outcome(factors().verify(await challenge(), code))).to.equal('InvalidCredentialsError')
  })

  it('accepts a recovery code once, in any spacing and letter case [promise 23]', async () => {
    const { recoveryCodes } = await enrol()
    expect(recoveryCodes).to.have.length(10)
    expect(new Set(recoveryCodes).size).to.equal(10)
    const [first = '', second = ''] = recoveryCodes
    expect((await factors().verify(await challenge(), first)).status).to.equal('signedIn')
    expect(await outcome(factors().verify(await challenge(), first))).to.equal('InvalidCredentialsError')
    expect((await factors().verify(await challenge(), ` ${second.toUpperCase().replaceAll('-', ' ')} `)).status).to.equal('signedIn')
    expect(await factors().status(account())).to.deep.equal({ isOn: true, recoveryCodesLeft: 8 })
    expect(all.events.filter(({ name }) => name === 'recoveryCodeUsed')).to.have.length(2)
  })

  it('stores nothing that could be used to sign in [promise 20]', async () => {
    const { secret, recoveryCodes } = await enrol()
    const asked = await challenge()
    const rows = JSON.stringify([await db.knex('second_factor').select(), await db.knex('token').select()])
    for (const text of [secret, asked, ...recoveryCodes, ...recoveryCodes.map((one) => one.replaceAll('-', ''))])
      expect(rows).not.to.contain(text)
    const shown = await runAsActor(toActor(await own()), () => SecondFactor.query())
    expect(Object.keys(shown[0]?.toJSON() ?? {})).not.to.include.members(['secret'])
    expect(JSON.stringify(shown)).not.to.match(/secret|lastStep/)
  })

  const own = async () => (await (all.perms.models.user as unknown as typeof User).get(user.id)) as User

  it('is neither shown to other users nor created for them [promise 39]', async () => {
    await enrol()
    const other = (await (all.perms.models.user as unknown as typeof User).get((await member()).id)) as User
    expect(await runAsActor(toActor(other), () => SecondFactor.query())).to.deep.equal([])
    await runAsActor(toActor(await own()), async () => {
      expect(await outcome(SecondFactor.create({ userId: user.id, secret: 'x' } as never))).to.equal('ForbiddenError')
      expect(await SecondFactor.query().delete()).to.equal(0)
    })
  })

  it('issues a challenge that no other flow accepts [promise 17]', async () => {
    const { secret } = await enrol()
    const asked = await challenge()
    expect(await outcome(all.auth.authenticate(asked))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.refresh(asked))).to.equal('InvalidTokenError')
    expect(await outcome(all.auth.mail.resetPassword({ token: asked, password: 'a wholly new password' }))).to.equal('InvalidTokenError')
    expect(await all.auth.sessions(user.id)).to.deep.equal([])
    const { plain } = await Token.issue(account(), { kind: 'api' })
    for (const wrong of [plain, 'x', `sf_${'x'.repeat(43)}`])
      expect(await outcome(factors().verify(wrong, codeOf(secret)))).to.equal('InvalidTokenError')
  })

  it('issues a challenge that ends after use, five minutes, five tries or a changed password', async () => {
    const { secret } = await enrol()
    const used = await challenge()
    await factors().verify(used, codeOf(secret))
    expect(await outcome(factors().verify(used, codeOf(secret)))).to.equal('InvalidTokenError')
    const late = await challenge()
    clock.advance(301)
    expect(await outcome(factors().verify(late, codeOf(secret)))).to.equal('InvalidTokenError')
    const tried = await challenge()
    for (let i = 0; i < 5; i += 1) expect(await outcome(factors().verify(tried, '000000'))).to.equal('InvalidCredentialsError')
    expect(await outcome(factors().verify(tried, codeOf(secret)))).to.equal('InvalidTokenError')
    const old = await challenge()
    await user.update({ password: 'a wholly new password' } as never)
    expect(await outcome(factors().verify(old, codeOf(secret)))).to.equal('InvalidTokenError')
  })

  it('counts wrong codes together with wrong passwords, and a right password does not clear the count [promise 12]', async () => {
    const { secret } = await enrol()
    const limited = all.another({ throttle: {}, secondFactor: { issuer: 'Zoo' } })
    const from = <T>(fn: () => Promise<T>) => runAsActor(null, fn, { address: '192.0.2.5' })
    const signIn = () => from(() => limited.signIn({ email: user.email, password })) as Promise<unknown> as Promise<{ challenge: string }>
    let wrong = 0
    for (let round = 0; round < 5; round += 1) {
      const { challenge: asked } = await signIn().catch(() => ({ challenge: '' }))
      if (asked === '') break
      for (let i = 0; i < 4; i += 1)
        if ((await from(() => outcome(limited.secondFactors.verify(asked, '000000')))) === 'InvalidCredentialsError') wrong += 1
    }
    expect(wrong).to.equal(10)
    expect(await outcome(signIn())).to.equal('TooManyAttemptsError')
    const elsewhere = (await runAsActor(null, () => limited.signIn({ email: user.email, password }), {
      address: '198.51.100.7',
    })) as unknown as { challenge: string }
    const result = await runAsActor(null, () => limited.secondFactors.verify(elsewhere.challenge, codeOf(secret)), {
      address: '198.51.100.7',
    })
    expect(result.status).to.equal('signedIn')
  })

  it('is required after a magic link too, once the address was proved', async () => {
    await user.update({ emailVerifiedAt: new Date() } as never)
    await enrol()
    await all.auth.mail.requestMagicLink(user.email)
    await all.auth.settled()
    const result = await all.auth.mail.signInWithMagicLink(mailer.tokenFrom(mailer.last('magicLink')))
    expect(result.status).to.equal('secondFactor')
    expect(await all.auth.sessions(user.id)).to.deep.equal([])
  })

  it('is required by a process that did not see it being added', async () => {
    await enrol()
    const other = all.another()
    expect((await other.signIn({ email: user.email, password })).status).to.equal('secondFactor')
  })

  it('requires the password to start, and ends the other sessions once it is confirmed', async () => {
    for (const wrong of [undefined, '', 'wrong'])
      expect(await outcome(factors().begin(account(), { password: wrong }))).to.equal('ValidationError')
    const { accessToken } = await all.auth.signIn({ email: user.email, password })
    const { accessToken: mine } = await all.auth.signIn({ email: user.email, password })
    const actor = await all.auth.authenticate(mine)
    await runAsActor(actor, async () => {
      const { secret } = await factors().begin(actor.user as User, { password })
      await factors().confirm(actor.user as User, codeOf(secret))
    })
    expect(await outcome(all.auth.authenticate(accessToken))).to.equal('InvalidTokenError')
    expect((await all.auth.authenticate(mine)).id).to.equal(user.id)
    expect(all.events.map(({ name }) => name)).to.include('factorAdded')
    expect(await outcome(factors().begin(account(), { password }))).to.equal('ValidationError')
  })

  it('cannot be changed with an API key or while impersonating [promise 25]', async () => {
    const { secret } = await enrol()
    for (const details of [{ abilities: ['*'] }, { impersonatorId: user.id }]) {
      await runAsActor(toActor(await own(), details), async () => {
        expect(await outcome(factors().begin(account(), { password }))).to.equal('ForbiddenError')
        expect(await outcome(factors().confirm(account(), codeOf(secret)))).to.equal('ForbiddenError')
        expect(await outcome(factors().remove(account(), codeOf(secret)))).to.equal('ForbiddenError')
        expect(await outcome(factors().renewRecoveryCodes(account(), codeOf(secret)))).to.equal('ForbiddenError')
      })
    }
    expect((await factors().status(account())).isOn).to.equal(true)
  })

  it('is removed by its user with a code, or reset by an administrator; sign-in then needs one factor', async () => {
    const { secret, recoveryCodes } = await enrol()
    expect(await outcome(factors().remove(account(), '000000'))).to.equal('InvalidCredentialsError')
    await factors().remove(account(), codeOf(secret))
    expect((await all.auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
    expect(await outcome(factors().remove(account(), recoveryCodes[0] ?? ''))).to.equal('ValidationError')
    await enrol()
    expect(await factors().reset(account())).to.equal(true)
    expect(await factors().reset(account())).to.equal(false)
    expect((await all.auth.signIn({ email: user.email, password })).status).to.equal('signedIn')
    expect(await db.knex('token').where({ user_id: user.id, kind: 'recovery' })).to.deep.equal([])
  })

  it('replaces the old recovery codes with new ones', async () => {
    const { secret, recoveryCodes } = await enrol()
    const renewed = await factors().renewRecoveryCodes(account(), codeOf(secret))
    expect(await outcome(factors().verify(await challenge(), recoveryCodes[0] ?? ''))).to.equal('InvalidCredentialsError')
    expect((await factors().verify(await challenge(), renewed.recoveryCodes[0] ?? '')).status).to.equal('signedIn')
  })

  it('keeps its recovery codes when the password or the address changes, because a user who lost the phone resets the password first', async () => {
    const { recoveryCodes } = await enrol()
    await user.update({ password: 'a wholly new password' } as never)
    await user.update({ email: `new-${user.email}` } as never)
    expect(await factors().status(account())).to.deep.equal({ isOn: true, recoveryCodesLeft: 10 })
    const asked = await all.auth.signIn({ email: user.email, password: 'a wholly new password' })
    expect((await factors().verify(asked.challenge ?? '', recoveryCodes[0] ?? '')).status).to.equal('signedIn')
  })

  it('works across a key rotation until the old key is removed [promise 24]', async () => {
    const { secret } = await enrol()
    const next = 'another secret of this test, 32 bytes'
    const jwt = {
      keys: [
        { kid: 'new', algorithm: 'HS256', secret: next },
        { kid: 'old', algorithm: 'HS256', secret: jwtSecret },
      ],
    }
    const rotated = all.another({ jwt: jwt as never })
    const asked = (await rotated.signIn({ email: user.email, password })) as unknown as { challenge: string }
    expect((await rotated.secondFactors.verify(asked.challenge, codeOf(secret))).status).to.equal('signedIn')
  })

  it('reports an unreadable secret with the fix for the operator when its key is gone, and still accepts recovery codes', async () => {
    const { secret, recoveryCodes } = await enrol()
    const [first = '', second = ''] = recoveryCodes
    const jwt = { secret: 'made at random at each start, 32 bytes' }
    const restarted = all.another({ jwt, throttle: { signIn: { pair: 6 } }, secondFactor: { issuer: 'Zoo' } })
    const ask = async () => ((await restarted.signIn({ email: user.email, password })) as unknown as { challenge: string }).challenge
    await runAsActor(
      null,
      async () => {
        // More often than the limit of wrong codes allows: these attempts are not counted as wrong codes.
        for (let i = 0; i < 8; i += 1) {
          const error = await rejection(restarted.secondFactors.verify(await ask(), codeOf(secret)))
          expect(error).to.be.instanceOf(SecondFactorUnreadableError)
          expect(error).to.include({ status: 503, code: 'second_factor_unreadable' })
          expect(error.message).to.contain('recovery code').and.not.contain(user.id)
          expect((error.cause as Error).message)
            .to.contain(user.id)
            .and.contain('retired: true')
            .and.contain('reset(user)')
        }
        expect(all.events.filter(({ name }) => name === 'signInFailed')).to.deep.equal([])
        expect((await restarted.secondFactors.verify(await ask(), first)).status).to.equal('signedIn')
      },
      { address: '192.0.2.6' },
    )
    expect(await outcome(restarted.secondFactors.renewRecoveryCodes(account(), codeOf(secret)))).to.equal('SecondFactorUnreadableError')
    await restarted.secondFactors.remove(account(), second)
    const anew = await restarted.secondFactors.begin(account(), { password })
    // The other process began this set-up with a key that the first process does not have.
    expect(await outcome(factors().confirm(account(), codeOf(anew.secret)))).to.equal('ValidationError')
    await restarted.secondFactors.confirm(account(), codeOf(anew.secret))
    expect((await restarted.secondFactors.verify(await ask(), codeOf(anew.secret))).status).to.equal('signedIn')
  })

  it('accepts text only, and refuses other types without a query [promise 27]', async () => {
    const { secret } = await enrol()
    const asked = await challenge()
    for (const wrong of ['', ' ', null, undefined, {}, ['x'], 1]) {
      const { statements } = await countQueries(db.knex, async () => {
        expect(await outcome(factors().verify(wrong as never, codeOf(secret)))).to.equal('ValidationError')
        expect(await outcome(factors().verify(asked, wrong as never))).to.equal('ValidationError')
      })
      expect(statements).to.deep.equal([])
    }
  })

  it('refuses to run in the application’s transaction [promise 59]', async () => {
    const { secret } = await enrol()
    const asked = await challenge()
    expect(await outcome(transaction(() => factors().verify(asked, codeOf(secret))))).to.equal('ConfigurationError')
    expect(await outcome(transaction(() => factors().remove(account(), codeOf(secret))))).to.equal('ConfigurationError')
  })

  it('costs one statement at sign-in for a user without a second factor', async () => {
    await all.auth.signIn({ email: user.email, password })
    const { statements } = await countQueries(db.knex, () => all.auth.signIn({ email: user.email, password }))
    expect(statements.filter((sql) => sql.includes('second_factor'))).to.have.length(1)
  })
})
