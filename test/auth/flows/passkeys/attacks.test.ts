import { generateKeyPairSync } from 'node:crypto'
import { expect } from 'chai'
import { asSystem, Passkey, type Perms, Token } from '../../../../src/index.js'
import { type FakeClock, fakeClock } from '../../../../src/testing/index.js'
import type { SoftPasskey, Variant } from '../../../helpers/authenticator.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { type Member, member, outcome, password, type SetUp } from '../../set-up.js'
import { challengeOf } from '../second-factor/factor.js'
import { addPasskey, origin, setUpPasskeys, signInWith, signInWithPassword, softPasskey, withToken } from './set-up.js'

type Attestation = NonNullable<Variant['attestation']>

const objectOf = (fmt: string, attStmt: Map<unknown, unknown>, authData: Buffer) =>
  new Map<unknown, unknown>([
    ['fmt', fmt],
    ['attStmt', attStmt],
    ['authData', authData],
  ])
const withCertificates: Attestation = ({ authData }) => {
  const statement: [unknown, unknown][] = [
    ['alg', -7],
    ['sig', Buffer.alloc(70)],
    ['x5c', [Buffer.alloc(300)]],
  ]
  return objectOf('packed', new Map(statement), authData)
}

/** Responses that one check refuses, at a registration and at a sign-in. */
const refused: Readonly<Record<string, Variant>> = {
  'that come from another origin [promise 103]': { origin: 'https://evil.example' },
  'that come from another port of the same host [promise 103]': { origin: `${origin}:8443` },
  'that are signed for another RP id [promise 104]': { rpId: 'evil.example' },
  'of another type [promise 105]': { type: 'payment.get' },
  'without the flag of user verification [promise 106]': { isVerified: false },
  'without the flag of user presence [promise 106]': { isPresent: false },
  'made in a frame of another origin [promise 107]': { crossOrigin: true },
  'made below another top origin [promise 107]': { topOrigin: 'https://evil.example' },
  'with backup flags that contradict each other [promise 108]': { isBackedUp: true },
  'with truncated authenticator data [promise 109]': { bytes: (bytes) => bytes.subarray(0, 36) },
}

/** Responses that a registration refuses. */
const refusedAtRegistration: Readonly<Record<string, Variant>> = {
  'with truncated CBOR [promise 109]': { bytes: (bytes) => bytes.subarray(0, -10) },
  'with bytes after the authenticator data [promise 109]': {
    attestation: ({ authData }) => objectOf('none', new Map(), Buffer.concat([authData, Buffer.of(0)])),
  },
  'that are no map [promise 109]': { attestation: () => ['none'] },
  'with an attestation of an unknown format [promise 110]': { attestation: ({ authData, attStmt }) => objectOf('junk', attStmt, authData) },
  'with certificates [promise 110]': { attestation: withCertificates },
  "with a statement in the format 'none' [promise 110]": {
    attestation: ({ authData }) => objectOf('none', new Map([['a', 1]]), authData),
  },
  'with a signature of another key over a self attestation [promise 110]': {
    attestation: ({ authData }) =>
      objectOf(
        'packed',
        new Map<unknown, unknown>([
          ['alg', -7],
          ['sig', Buffer.alloc(70)],
        ]),
        authData,
      ),
  },
  'whose id is not the signed one [promise 112]': { shownId: Buffer.alloc(32, 7).toString('base64url') },
}

const rsa = (bits: number, publicExponent = 65_537) => generateKeyPairSync('rsa', { modulusLength: bits, publicExponent }).publicKey
const rsaKey = (n: Buffer, e: Buffer) =>
  new Map<number, unknown>([
    [1, 3],
    [3, -257],
    [-1, n],
    [-2, e],
  ])
const modulusOf = (bits: number) => Buffer.from(rsa(bits).export({ format: 'jwk' }).n ?? '', 'base64url')

eachDatabase('Responses of authenticators', (db) => {
  let all: SetUp
  let perms: Perms
  let user: Member
  let token: string
  let soft: SoftPasskey
  let clock: FakeClock | undefined
  before(async () => {
    all = await setUpPasskeys(db.knex, { throttle: false })
    perms = all.perms
    user = await member()
    token = (await signInWithPassword(perms, user)).accessToken
    soft = (await addPasskey(perms, token)).soft
    token = (await signInWith(perms, soft)).accessToken
  })
  after(() => perms.close())
  beforeEach(() => {
    all.events.length = 0
  })
  afterEach(() => {
    clock?.restore()
    clock = undefined
  })

  const rows = () => asSystem(() => Passkey.query().orderBy('id'))
  const sessions = () => asSystem(() => Token.query().where({ kind: 'refresh' }).resultSize())
  const options = (by = token) => withToken(perms, by, () => perms.auth.passkeys.registrationOptions())
  const register = (response: object, by = token) => withToken(perms, by, () => perms.auth.passkeys.register(response))
  const signIn = async (variant: Variant = {}, with_ = soft) =>
    await perms.auth.passkeys.signIn(with_.get(await perms.auth.passkeys.signInOptions(), variant))
  const confirm = (response: object, by = token) => withToken(perms, by, () => perms.auth.confirm({ passkey: response }))
  const confirmOptions = (by = token) => withToken(perms, by, () => perms.auth.passkeys.confirmationOptions())
  const addUser = async (passkey = softPasskey()) => {
    const who = await member()
    const { accessToken } = await signInWithPassword(perms, who)
    const added = await addPasskey(perms, accessToken, { passkey })
    return { who, ...added, token: (await signInWith(perms, passkey)).accessToken }
  }
  const refusesRegistration = async (response: object, by = token) => {
    const before = await rows()
    expect(await outcome(register(response, by))).to.equal('ValidationError')
    expect(await rows()).to.deep.equal(before)
  }
  const refusesSignIn = async (attempt: () => Promise<unknown>) => {
    const [before, count] = [await rows(), await sessions()]
    expect(await outcome(attempt())).to.equal('InvalidCredentialsError')
    expect(await rows()).to.deep.equal(before)
    expect(await sessions()).to.equal(count)
  }

  describe('are refused at a registration', () => {
    for (const [title, variant] of Object.entries({ ...refused, ...refusedAtRegistration }))
      it(title, async () => await refusesRegistration(softPasskey().create(await options(), variant)))

    it('with a key of an algorithm that was not offered, or a curve of another one [promise 111]', async () => {
      await refusesRegistration(softPasskey({ kind: 'ES384' }).create(await options()))
      const key = softPasskey({ kind: 'ES384' }).coseKey()
      await refusesRegistration(softPasskey().create(await options(), { coseKey: new Map([...key, [3, -7]]) }))
    })

    it('with a key whose type or curve is not that of its algorithm, or with a long one [promise 111]', async () => {
      const entries = (kind: 'ES256' | 'EdDSA' | 'RS256') => [...softPasskey({ kind }).coseKey()]
      const [ec, ed, big] = [entries('ES256'), entries('EdDSA'), entries('RS256')]
      const keys: Map<number, unknown>[] = [
        new Map([...ec, [1, 1]]),
        new Map([...ec, [-1, 2]]),
        new Map([...ed, [1, 2]]),
        new Map([...ed, [-1, 7]]),
        new Map([...big, [1, 2]]),
        new Map([...ec, [-100, Buffer.alloc(1500)]]),
      ]
      for (const coseKey of keys) await refusesRegistration(softPasskey().create(await options(), { coseKey }))
    })

    it('with an RSA key that is too small, too large, or has a large exponent [promise 111]', async () => {
      const e = Buffer.from([1, 0, 1])
      for (const key of [rsaKey(modulusOf(1024), e), rsaKey(Buffer.alloc(640, 255), e), rsaKey(modulusOf(2048), Buffer.alloc(256, 255))])
        await refusesRegistration(softPasskey().create(await options(), { coseKey: key }))
      expect(await outcome(register(softPasskey({ kind: 'RS256' }).create(await options())))).to.equal('fine')
      expect(await outcome(register(softPasskey({ kind: 'EdDSA' }).create(await options())))).to.equal('fine')
    })

    it('with a credential id that a user has already, with one answer whoever that is [promise 112]', async () => {
      const other = await addUser()
      const errors = []
      for (const credentialId of [other.soft.id, soft.id])
        errors.push(await rejection(register(softPasskey().create(await options(), { credentialId }))))
      expect(errors.map((error) => [error.constructor.name, error.message])).to.deep.equal(
        Array(2).fill(['ConflictError', 'This passkey is registered already: use it, or add another one.']),
      )
    })

    it('when the answer to options of another session, user or ceremony, or to none [promise 102]', async () => {
      const other = await addUser()
      const again = (await signInWith(perms, soft)).accessToken
      await refusesRegistration(softPasskey().create(await options(again)))
      await refusesRegistration(softPasskey().create(await options(other.token)))
      const { challenge } = await confirmOptions()
      await refusesRegistration(softPasskey().create({ ...(await options()), challenge }))
      await refusesRegistration(softPasskey().create(await options(), { challenge: 'a'.repeat(43) }))
    })
  })

  describe('are refused at a sign-in', () => {
    for (const [title, variant] of Object.entries(refused)) it(title, async () => await refusesSignIn(() => signIn(variant)))

    it('with the signature of another key, or for an unknown passkey [promise 113]', async () => {
      const thief = softPasskey()
      thief.userHandle = soft.userHandle
      await refusesSignIn(() => signIn({ shownId: soft.credentialId }, thief))
      await refusesSignIn(() => signIn({}, thief))
      await refusesSignIn(() => signIn({ signature: Buffer.alloc(70, 1) }))
    })

    it('with the handle of another user, or without a handle [promise 113]', async () => {
      const other = await addUser()
      await refusesSignIn(() => signIn({ userHandle: other.soft.userHandle }))
      await refusesSignIn(() => signIn({ userHandle: null }))
      await refusesSignIn(() => signIn({ userHandle: Buffer.from(String(user.id)).toString('base64url') }))
    })

    it('a second time, after five minutes, and for a challenge of another ceremony [promise 102]', async () => {
      const used = soft.get(await perms.auth.passkeys.signInOptions())
      expect(await outcome(perms.auth.passkeys.signIn(used))).to.equal('fine')
      await refusesSignIn(() => perms.auth.passkeys.signIn(used))
      // A refused response uses the challenge up too.
      const given = await perms.auth.passkeys.signInOptions()
      await refusesSignIn(() => perms.auth.passkeys.signIn(soft.get(given, { signature: Buffer.alloc(70, 1) })))
      await refusesSignIn(() => perms.auth.passkeys.signIn(soft.get(given)))
      for (const challenge of [(await confirmOptions()).challenge, (await options()).challenge])
        await refusesSignIn(() => perms.auth.passkeys.signIn(soft.get({ challenge })))
      clock = fakeClock()
      const late = await perms.auth.passkeys.signInOptions()
      clock.advance(301)
      await refusesSignIn(() => perms.auth.passkeys.signIn(soft.get(late)))
    })

    it('when the user is disabled, after the passkey was accepted [promise 115]', async () => {
      const other = await addUser()
      await asSystem(() => other.who.update({ isEnabled: false }))
      const reasons: string[] = []
      const stop = perms.on('signInFailed', ({ reason }) => reasons.push(reason))
      expect(await outcome(signIn({ signature: Buffer.alloc(70, 1) }, other.soft))).to.equal('InvalidCredentialsError')
      expect(await outcome(signIn({}, other.soft))).to.equal('AccountDisabledError')
      stop()
      expect(reasons).to.deep.equal(['passkey', 'disabled'])
    })

    it('when the passkey becomes one that can be copied [promise 108]', async () => {
      await refusesSignIn(() => signIn({ isMultiDevice: true }))
      await refusesSignIn(() => signIn({ isMultiDevice: true, isBackedUp: true }))
    })

    it('when the counter of a passkey that is not backed up goes back, which is reported [promise 108]', async () => {
      const other = await addUser(softPasskey().counting())
      expect(await outcome(signIn({ counter: 9 }, other.soft))).to.equal('fine')
      all.events.length = 0
      const names: string[] = []
      const stop = perms.on('passkeyCounterRegressed', ({ userId }) => names.push(String(userId)))
      for (const counter of [9, 8, 0]) await refusesSignIn(() => signIn({ counter }, other.soft))
      expect(names).to.deep.equal(Array(3).fill(String(other.who.id)))
      stop()
      expect(await outcome(signIn({ counter: 4_294_967_295 }, other.soft))).to.equal('fine')
    })

    it('but not when the counter of a passkey that is backed up goes back [promise 108]', async () => {
      const other = await addUser(softPasskey({ isMultiDevice: true, isBackedUp: true }))
      for (const counter of [9, 3, 0]) expect(await outcome(signIn({ counter }, other.soft))).to.equal('fine')
    })
  })

  describe('are reported with the check that failed, and with one answer to the client', () => {
    const flaws: [Variant, object][] = [
      [{ origin: 'https://evil.example' }, { reason: 'origin', origin: 'https://evil.example' }],
      [
        { origin: `https://evil.example/\u202e${'a'.repeat(400)}` },
        { reason: 'origin', origin: `https://evil.example/?${'a'.repeat(278)}` },
      ],
      [{ rpId: 'evil.example' }, { reason: 'rpId' }],
      [{ isVerified: false }, { reason: 'userVerification' }],
      [{ crossOrigin: true }, { reason: 'crossOrigin' }],
      [{ type: 'payment.get' }, { reason: 'response' }],
      [{ bytes: (bytes) => bytes.subarray(0, 30) }, { reason: 'response' }],
      [{ challenge: 'a'.repeat(43) }, { reason: 'challenge' }],
      [{ challenge: 'short' }, { reason: 'clientData' }],
    ]
    const refusals = async (attempt: () => Promise<unknown>) => {
      const seen: object[] = []
      const stop = perms.on('passkeyRefused', ({ address: _, ...event }) => seen.push(event))
      const error = await rejection(attempt())
      stop()
      return { seen, message: error.message }
    }

    it('at a sign-in [promise 159]', async () => {
      const messages = new Set<string>()
      const expects = async (attempt: () => Promise<unknown>, flaw: object) => {
        const { seen, message } = await refusals(attempt)
        expect(seen).to.deep.equal([{ userId: null, ceremony: 'sign-in', ...flaw }])
        messages.add(message)
      }
      for (const [variant, flaw] of flaws) await expects(() => signIn(variant), flaw)
      await expects(() => signIn({ signature: Buffer.alloc(70, 1) }), { reason: 'response' })
      const stranger = softPasskey()
      stranger.userHandle = soft.userHandle
      await expects(() => signIn({}, stranger), { reason: 'unknownPasskey' })
      await expects(() => signIn({ userHandle: null }), { reason: 'userHandle' })
      expect([...messages]).to.have.length(1)
    })

    it('at a registration and a confirmation, with the user of the session [promise 159]', async () => {
      const messages = new Set<string>()
      for (const [variant, flaw] of flaws) {
        const { seen, message } = await refusals(async () => await register(softPasskey().create(await options(), variant)))
        expect(seen).to.deep.equal([{ userId: user.id, ceremony: 'registration', ...flaw }])
        messages.add(message)
      }
      expect([...messages]).to.have.length(1)
      const other = await addUser()
      const { seen } = await refusals(async () => await confirm(other.soft.get(await confirmOptions())))
      expect(seen).to.deep.equal([{ userId: user.id, ceremony: 'confirm', reason: 'otherUser' }])
    })
  })

  describe('are refused for another session or user', () => {
    it('when the ceremony, the user or the session of the challenge alone is another one [promise 102]', async () => {
      const other = await addUser()
      const change = async (row: object) => expect(await db.knex('passkey_challenge').whereNull('used_at').update(row)).to.equal(1)
      const [userId, otherId] = [String(user.id), String(other.who.id)]
      const begin = async <T>(given: () => Promise<T>) => {
        await db.knex('passkey_challenge').del()
        return await given()
      }
      for (const row of [{ ceremony: 'confirm' }, { user_id: userId }, { bound_to: 'session' }]) {
        const given = await begin(() => perms.auth.passkeys.signInOptions())
        await change(row)
        await refusesSignIn(() => perms.auth.passkeys.signIn(soft.get(given)))
      }
      for (const row of [{ user_id: otherId }, { user_id: null }, { bound_to: 'session' }, { bound_to: null }]) {
        const given = await begin(() => confirmOptions())
        await change(row)
        expect(await outcome(confirm(soft.get(given)))).to.equal('InvalidCredentialsError')
        const creation = await begin(() => options())
        await change(row)
        await refusesRegistration(softPasskey().create(creation))
      }
      const creation = await begin(() => options())
      expect(await outcome(confirm(soft.get(creation)))).to.equal('InvalidCredentialsError')
      const given = await begin(() => confirmOptions())
      await change({ user_handle: soft.userHandle })
      await refusesRegistration(softPasskey().create({ ...creation, ...given, user: creation.user }))
    })

    it('when they confirm [promise 102]', async () => {
      const other = await addUser()
      const again = (await signInWith(perms, soft)).accessToken
      const given = await confirmOptions(again)
      expect(await outcome(confirm(soft.get(given)))).to.equal('InvalidCredentialsError')
      expect(await outcome(confirm(soft.get(given), again))).to.equal('fine')
      expect(await outcome(confirm(soft.get(given), again))).to.equal('InvalidCredentialsError')
      expect(await outcome(confirm(soft.get(await perms.auth.passkeys.signInOptions())))).to.equal('InvalidCredentialsError')
      // The passkey of another user.
      expect(await outcome(confirm(other.soft.get(await confirmOptions())))).to.equal('InvalidCredentialsError')
    })

    it('when they are a second factor [promises 102, 113]', async () => {
      const other = await addUser()
      const [first, second] = [await challengeOf(perms, user.email, password), await challengeOf(perms, user.email, password)]
      const verify = (challenge: string, response: object) => perms.auth.passkeys.verifySecondFactor(challenge, response)
      const given = await perms.auth.passkeys.secondFactorOptions(first)
      expect(await outcome(verify(second, soft.get(given)))).to.equal('InvalidCredentialsError')
      expect(await outcome(verify(first, other.soft.get(given)))).to.equal('InvalidCredentialsError')
      const fresh = await perms.auth.passkeys.secondFactorOptions(first)
      expect(await outcome(verify(first, soft.get(fresh)))).to.equal('fine')
      expect(await outcome(verify(first, soft.get(fresh)))).to.equal('InvalidTokenError')
    })
  })

  it('are measured before anything else: a long part reads nothing and uses no challenge up [promise 114]', async () => {
    const given = await perms.auth.passkeys.signInOptions()
    const response = soft.get(given)
    const long = 'A'.repeat(100_000)
    for (const part of ['clientDataJSON', 'authenticatorData', 'signature', 'userHandle'])
      expect(await outcome(perms.auth.passkeys.signIn({ ...response, response: { ...response.response, [part]: long } })), part).to.equal(
        'ValidationError',
      )
    for (const wrong of [{ ...response, id: long }, { ...response, rawId: long }, { ...response, type: 'password' }, {}, [], { id: 1 }])
      expect(await outcome(perms.auth.passkeys.signIn(wrong))).to.equal('ValidationError')
    const creation = softPasskey().create(await options())
    for (const part of ['clientDataJSON', 'attestationObject', 'transports'])
      expect(await outcome(register({ ...creation, response: { ...creation.response, [part]: long } })), part).to.equal('ValidationError')
    for (const transports of [Array(11).fill('usb'), ['u'.repeat(21)], ['USB'], [1], 'usb'])
      expect(await outcome(register({ ...creation, response: { ...creation.response, transports } }))).to.equal('ValidationError')
    expect(await outcome(register(creation))).to.equal('fine')
    expect(await outcome(perms.auth.passkeys.signIn(response))).to.equal('fine')
  })
})
