import { ConfigurationError, InvalidCredentialsError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { currentActor, currentAddress } from '../../policy/context.js'
import { invalidField, requireText } from '../../schema/text-input.js'
import { accountNameOf } from '../../users/account/identifiers.js'
import { storedHash } from '../../users/account/stored-password.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { LEGACY } from '../../users/legacy-tokens.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import { forActiveCaller } from './active-caller.js'
import { isStillSentTo } from './codes/codes.js'
import type { CodeContext } from './codes/send-code.js'
import { consumeFoundCode, matchCode, readDigits } from './codes/stored-codes.js'
import { type PasskeyConfirmation, provePasskey } from './passkeys/confirm.js'
import type { PasskeyContext } from './passkeys/context.js'
import { type AssertionResponse, readAssertion } from './passkeys/responses.js'
import {
  asSystemInTransaction,
  beginAttempt,
  consumeCodeOf,
  type FactorContext,
  factorOf,
  methodOfCode,
  readCode,
} from './second-factor/factors.js'

/** The credentials with which a user confirms a session. Give at least one. */
export interface ConfirmCredentials {
  readonly password?: string | undefined
  /** A code of the authenticator app, or a recovery code. */
  readonly code?: string | undefined
  /** A code of `perms.auth.codes.requestConfirmation()`. It makes the session recent, and is no second factor. */
  readonly sentCode?: string | undefined
  /** The answer of a browser to `perms.auth.passkeys.confirmationOptions()`, as JSON. */
  readonly passkey?: object | undefined
}

/** A confirmed session. */
export interface Confirmed {
  readonly authTime: Date
  /** Names of RFC 8176, and 'recovery' for a recovery code. */
  readonly amr: readonly string[]
  /** Only if tokens show when and how users proved to be present (`jwt.authTimeClaims`). */
  readonly accessToken?: string | undefined
  /** Seconds until the access token expires. */
  readonly expiresIn?: number | undefined
}

/** Returns `perms.auth.confirm`. */
export function confirmFlow(
  context: FactorContext,
  codes: CodeContext,
  passkeys: PasskeyContext,
): (credentials: ConfirmCredentials) => Promise<Confirmed> {
  const { core } = context
  return async (given) => {
    core.assertNoTransaction('confirm')
    const actor = currentActor()
    if (!actor) throw new UnauthorizedError()
    forbidApiKey(message('subject.sessions'))
    const { sessionId } = actor
    if (!sessionId) throw new ConfigurationError('confirm() confirms the session of an access token, and runAs() has none.')
    const credentials = readCredentials(given)
    const user = actor.user as User
    const passkey = await prove({ ...context, codes, passkeys, sessionId }, user, credentials)
    const amr = [
      ...(credentials.password === undefined ? [] : ['pwd']),
      ...(credentials.code === undefined ? [] : [methodOfCode(credentials.code)]),
      ...(credentials.sentCode === undefined ? [] : [codes.settings.method]),
      ...(passkey?.amr ?? []),
    ]
    const raise = () => core.sessions.raise(sessionId, amr)
    const write = () => forActiveCaller(core.knex, actor.id, () => (passkey ? passkey.use(raise) : raise()))
    const authTime = await (passkey ? passkey.reporting(write) : write())
    if (authTime === null) throw new UnauthorizedError(message('session.ended'))
    core.emit('sessionConfirmed', { userId: actor.id, sessionId, amr, address: currentAddress() })
    return { authTime, amr, ...(await newToken(core, sessionId)) }
  }
}

interface ReadCredentials extends Omit<ConfirmCredentials, 'passkey'> {
  readonly passkey?: AssertionResponse | undefined
}

function readCredentials(given: ConfirmCredentials | null | undefined): ReadCredentials {
  const { password, code, sentCode, passkey } = given ?? {}
  if ([password, code, sentCode, passkey].every((one) => one === undefined)) throw invalidField('password', message('field.requiredOrCode'))
  return {
    ...(password === undefined ? {} : { password: requireText(password, 'password') }),
    ...(code === undefined ? {} : { code: readCode(code) }),
    ...(sentCode === undefined ? {} : { sentCode: readDigits(sentCode, 'sentCode') }),
    ...(passkey === undefined ? {} : { passkey: readAssertion(passkey) }),
  }
}

/** The parts that check the proofs of one session. */
interface ConfirmContext extends FactorContext {
  readonly codes: CodeContext
  readonly passkeys: PasskeyContext
  readonly sessionId: string
}

/** Checks the credentials under the throttle of sign-ins. @throws InvalidCredentialsError, with one message for all of them */
async function prove(context: ConfirmContext, user: User, credentials: ReadCredentials): Promise<PasskeyConfirmation | null> {
  const { core } = context
  const attempt = await beginAttempt(core, user)
  const { isRight, passkey = null } = await verify(context, user, credentials).catch(async (error: unknown) => {
    await attempt.withdrawn()
    throw error
  })
  if (isRight) {
    // A correct password must not reset the limit on wrong codes, nor a correct code that on wrong passwords.
    await attempt.withdrawn()
    return passkey
  }
  const account = accountNameOf(user)
  core.emit('signInFailed', { userId: user.id, email: user.email ?? '', account, reason: 'confirm', address: currentAddress() })
  throw new InvalidCredentialsError(message('session.wrongConfirmation'))
}

interface ConfirmVerdict {
  readonly isRight: boolean
  readonly passkey?: PasskeyConfirmation
}

async function verify(context: ConfirmContext, user: User, credentials: ReadCredentials): Promise<ConfirmVerdict> {
  const { password, code, sentCode, passkey } = credentials
  const { core } = context
  // Does the work of a hash for users without a password too. A wrong password uses no code up.
  if (password !== undefined && !(await core.hasher.verify(password, await storedHash(user)))) return { isRight: false }
  if (code !== undefined && !(await useFactorCode(context, user, code))) return { isRight: false }
  if (sentCode !== undefined && !(await useSentCode(context, user, sentCode))) return { isRight: false }
  if (passkey === undefined) return { isRight: true }
  try {
    return { isRight: true, passkey: await provePasskey(context.passkeys, user, passkey) }
  } catch (error) {
    if (error instanceof InvalidCredentialsError) return { isRight: false }
    throw error
  }
}

async function useFactorCode(context: ConfirmContext, user: User, code: string): Promise<boolean> {
  const factor = await factorOf(user.id)
  return await asSystemInTransaction(context.core, () => consumeCodeOf(context, user.id, factor, code))
}

async function useSentCode({ core, codes, sessionId }: ConfirmContext, user: User, code: string): Promise<boolean> {
  const found = await matchCode(core, user, null, { purpose: 'confirm', sessionId }, code)
  if (!found || !(await isStillSentTo(codes, user, found))) return false
  // Another request may use the code up at the same moment.
  return await consumeFoundCode(core, user, found, async () => true).catch((error: unknown) => {
    if (error instanceof InvalidCredentialsError) return false
    throw error
  })
}

// The session of a legacy token has no token of this library.
async function newToken({ accessTokens, sessions }: AuthCore, sessionId: string): Promise<Pick<Confirmed, 'accessToken' | 'expiresIn'>> {
  if (!accessTokens.showsProof) return {}
  const { user, session } = await sessions.findActiveOfAnyKind(sessionId)
  if (session.kind === LEGACY) return {}
  return { accessToken: accessTokens.create(user, session), expiresIn: accessTokens.lifetime }
}
