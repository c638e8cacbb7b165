/**
 * Pairs of requests whose answers must look alike: one about something that exists, such as an account, a passkey or a code, and one
 * about something that does not. Each request is made before it is sent, so that making it is not part of its time.
 */
import { randomBytes } from 'node:crypto'
import { challengeOf } from '../../src/auth/flows/providers/sign-in-store.js'
import { Identity, Passkey, type Perms, TrustedDevice, type User } from '../../src/index.js'
import { asSystem, runAsActor } from '../../src/policy/context.js'
import { hashToken, randomToken } from '../../src/users/token.js'
import { addFactor } from '../auth/flows/second-factor/factor.js'
import { SoftPasskey } from './authenticator.js'

/** A request below the path of the UserResource. */
export interface MadeRequest {
  readonly method?: string
  readonly path: string
  readonly body?: object
  readonly token?: string
  readonly cookie?: string
}

type Make = () => Promise<MadeRequest> | MadeRequest

/** The first request is about something that exists. */
export type Pair = readonly [Make, Make]

const password = 'correct horse battery'
const wrong = 'a wrong password'
const verifier = 'v'.repeat(43)
const soft = () => new SoftPasskey({ rpId: 'example.com', origin: 'https://app.example.com' })

/** Creates a user with every credential, one with a password, and one with none. @returns the pairs by title */
export async function equalPairs(perms: Perms, newUser: (values: object) => Promise<User>): Promise<Readonly<Record<string, Pair>>> {
  const { auth } = perms
  const rich = await newUser({ email: 'rich@example.com', password })
  const other = await newUser({ email: 'user@example.com', password })
  const none = await newUser({ email: 'none@example.com' })
  const amr = ['hwk', 'user', 'mfa']
  const tokenOf = async (user: User) => await auth.createAccessToken(user, { refreshToken: await auth.createRefreshToken(user, { amr }) })
  const asUser = async <T>(token: string, fn: () => Promise<T>) => await runAsActor(await perms.authenticate(token), fn)
  await addFactor(perms, other, password)
  const passkey = soft()
  await asUser(await tokenOf(rich), async () => auth.passkeys.register(passkey.create(await auth.passkeys.registrationOptions())))
  await addFactor(perms, rich, password)

  /** An answer with a signature of another key, by a known passkey or an unknown one. */
  const answer = (options: { challenge: string }, isKnown: boolean) => {
    const stranger = soft()
    const from = isKnown ? passkey : stranger
    return from.get(options, { signature: stranger.sign(randomBytes(32)), userHandle: passkey.userHandle })
  }
  const challengeFor = async (user: User) => {
    const result = await auth.signIn({ email: user.email, password })
    if (result.status !== 'secondFactor') throw new Error('There is no second factor.')
    return result.challenge
  }
  const deviceOf = async (user: User) => {
    const token = `td_${randomToken()}`
    const values = { userId: user.id, token: hashToken(token), passwordMark: '0'.repeat(64), expiresAt: new Date(Date.now() + 3_600_000) }
    const { id } = await asSystem(() => TrustedDevice.create({ ...values, description: null, address: null } as object))
    return { id, token }
  }
  const identityOf = (user: User) =>
    asSystem(() => Identity.create({ userId: user.id, provider: 'github', issuer: 'https://github.com', subject: randomToken() }))
  const confirm = async (user: User, body: object): Promise<MadeRequest> => ({ path: 'me/confirm', token: await tokenOf(user), body })
  const confirmWithPasskey = async (isKnown: boolean) => {
    const token = await tokenOf(none)
    const options = await asUser(token, () => auth.passkeys.confirmationOptions())
    const by = isKnown ? passkey : Object.assign(soft(), { userHandle: passkey.userHandle })
    return { path: 'me/confirm', token, body: { passkey: by.get(options) } }
  }
  const confirmWithCode = async (isRequested: boolean) => {
    const token = await tokenOf(none)
    if (isRequested) await asUser(token, () => auth.codes.requestConfirmation())
    await auth.settled()
    return { path: 'me/confirm', token, body: { sentCode: '000000' } }
  }
  const login = (user: User, body: object = {}) => ({ path: 'login', body: { email: user.email, password: wrong, ...body } })
  const remove = async (what: string, id: unknown) => ({ method: 'DELETE', path: `me/${what}/${id}`, token: await tokenOf(other) })
  const nobody = '01900000-0000-7000-8000-000000000000'
  const secondFactor = async (user: User) => {
    const challenge = await challengeFor(user)
    const options = await auth.passkeys.secondFactorOptions(challenge)
    return { path: 'second-factor', body: { challenge, passkey: answer(options, user === rich) } }
  }
  const callback = async (isKnown: boolean) => {
    const { url } = await auth.providers.start('github')
    const state = isKnown ? (new URL(url).searchParams.get('state') as string) : `ps_${randomToken()}`
    return { method: 'GET', path: `providers/github/callback/?code=x&state=${state}`, cookie: `__Host-provider=pb_${randomToken()}` }
  }
  const native = async (isKnown: boolean) => {
    const { url } = await auth.providers.start('github', { challenge: challengeOf(verifier) })
    const state = new URL(url).searchParams.get('state') as string
    const { redirect } = await auth.providers.finish('github', new URLSearchParams({ code: 'user@example.com', state }))
    const code = isKnown ? redirect.replace(/.*code=/, '') : `pc_${randomToken()}`
    return { path: 'providers/exchange', body: { code, verifier: 'w'.repeat(43) } }
  }
  const device = await deviceOf(rich)
  const { id: identityId } = await identityOf(rich)
  const [{ id: passkeyId } = { id: '' }] = await asSystem(() => Passkey.query().where('userId', rich.id))

  return {
    'passkeys, a known id': [
      async () => ({ path: 'passkeys', body: { passkey: answer(await auth.passkeys.signInOptions(), true) } }),
      async () => ({ path: 'passkeys', body: { passkey: answer(await auth.passkeys.signInOptions(), false) } }),
    ],
    'passkeys/options': [() => ({ path: 'passkeys/options' }), () => ({ path: 'passkeys/options' })],
    'second factor, a passkey': [() => secondFactor(rich), () => secondFactor(other)],
    'login, with passkey': [() => login(rich), () => login(none)],
    'login, a wrong password and a known device': [
      () => login(rich, { deviceToken: device.token }),
      () => login(rich, { deviceToken: `td_${randomToken()}` }),
    ],
    "login, another user's device": [
      () => login(other, { password, deviceToken: device.token }),
      () => login(other, { password, deviceToken: `td_${randomToken()}` }),
    ],
    'confirm, a wrong password': [() => confirm(rich, { password: wrong }), () => confirm(none, { password: wrong })],
    'confirm, a wrong code': [() => confirm(rich, { code: '000000' }), () => confirm(none, { code: '000000' })],
    'confirm, a wrong recovery code': [() => confirm(rich, { code: 'aaaaa-bbbbb' }), () => confirm(none, { code: 'aaaaa-bbbbb' })],
    "confirm, another user's passkey": [() => confirmWithPasskey(true), () => confirmWithPasskey(false)],
    'confirm, a wrong mailed code': [() => confirmWithCode(true), () => confirmWithCode(false)],
    'provider, a known state': [() => callback(true), () => callback(false)],
    'provider, a known one-time code': [() => native(true), () => native(false)],
    'deletion, a wrong password': [
      async () => ({ path: 'me/deletion', token: await tokenOf(rich), body: { password: wrong } }),
      async () => ({ path: 'me/deletion', token: await tokenOf(none), body: { password: wrong } }),
    ],
    "another user's device": [() => remove('devices', device.id), () => remove('devices', nobody)],
    "another user's passkey": [() => remove('passkeys', passkeyId), () => remove('passkeys', nobody)],
    "another user's identity": [() => remove('identities', identityId), () => remove('identities', nobody)],
  }
}
