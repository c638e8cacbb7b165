import { ConfigurationError, ServiceUnavailableError, UnauthorizedError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentActor, currentAddress } from '../../../policy/context.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import type { LifetimeChoice } from '../../tokens/session-life.js'
import { proveAddress } from '../first-proof.js'
import { mailDelivery } from '../mail/mail-delivery.js'
import { findByEmail, readEmail, runInBackground } from '../mail/mail-requests.js'
import { completeSignIn } from '../start-session.js'
import type { CodeOptions } from './code-options.js'
import { codeSettings } from './code-options.js'
import { type CodeContext, destinationOf, requireCodes, sendCode } from './send-code.js'
import { consumeFoundCode, type FoundCode, matchCode, readDigits, wrongCode } from './stored-codes.js'

/** An address, the code that was sent to its user, and the choices of a sign-in. */
export interface CodeSignIn extends LifetimeChoice {
  readonly email: string
  /** Six digits; blanks and dashes are ignored. */
  readonly code: string
  /** A description for the list of sessions. */
  readonly device?: string | undefined
}

/**
 * One-time codes by mail, or by the sender of `initPerms({ codes: { sender } })`: `perms.auth.codes`. A code has six digits and works
 * once, for ten minutes, while it is the newest. After five wrong attempts it is dead, in whatever process they happen. Requests resolve
 * at once, and in the same way for known and unknown addresses.
 * All functions throw ConfigurationError without a mailer or sender, and inside the application's transaction().
 */
export interface Codes {
  /** Whether a mailer or a sender is configured. */
  readonly isReady: boolean
  /** 'mail' if codes go to the users' addresses, 'sms' if they go to the numbers of `sender.destination`. */
  readonly method: 'mail' | 'sms'
  /**
   * Sends a code to sign in with when the address belongs to a user.
   *
   * @throws ValidationError, TooManyAttemptsError
   * @example await perms.auth.codes.request('ada@example.com')
   */
  request(email: string): Promise<void>
  /**
   * Signs in with a code, or returns a challenge for the second factor. If the code was mailed to an address that had never been proved,
   * it ends everything from before, like a magic link. Wrong codes count like failed sign-ins.
   *
   * @throws InvalidCredentialsError, with the same message for unknown users; TooManyAttemptsError, ValidationError
   * @example const result = await perms.auth.codes.signIn({ email: 'ada@example.com', code: '123456' })
   */
  signIn(given: CodeSignIn): Promise<SignInResult>
  /**
   * Sends the caller a code for `perms.auth.confirm({ sentCode })`. The code confirms only the session that asked for it.
   *
   * @throws UnauthorizedError for an anonymous caller, ForbiddenError for an API key or an impersonation, TooManyAttemptsError
   */
  requestConfirmation(): Promise<void>
}

/** Returns the objects that the functions of codes share. @throws ConfigurationError for invalid options */
export function codeContext(core: AuthCore, options: CodeOptions | undefined): CodeContext {
  return { core, settings: codeSettings(options), delivery: mailDelivery(core) }
}

export function codes(context: CodeContext): Codes {
  const { core, delivery, settings } = context
  return {
    isReady: core.mailService !== null || settings.sender !== undefined,
    method: settings.method,

    async request(email) {
      requireCodes(context, 'request')
      const address = readEmail(email)
      await delivery.count(address, { address: currentAddress() })
      runInBackground(core, async () => await sendCode(context, await findByEmail(address), { purpose: 'signIn' }, address))
    },

    async signIn(given) {
      requireCodes(context, 'signIn')
      forbidApiKey(message('subject.sessions'))
      return await signIn(context, given)
    },

    async requestConfirmation() {
      requireCodes(context, 'requestConfirmation')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      forbidApiKey(message('subject.sessions'))
      const { sessionId } = actor
      if (!sessionId)
        throw new ConfigurationError(
          'requestConfirmation() needs the session of an access token, and runAs() has none: call it in a request with an access token.',
        )
      const user = actor.user as User
      await delivery.count(user.email, { address: currentAddress(), caller: user.id })
      const use = { purpose: 'confirm', sessionId } as const
      runInBackground(core, () => sendCode(context, { user, standIn: user.id }, use, user.email))
    },
  }
}

async function signIn(context: CodeContext, given: CodeSignIn): Promise<SignInResult> {
  const { core, settings } = context
  const address = readEmail(given?.email)
  const code = readDigits(given.code, 'code')
  const life = core.life.of(given)
  const attempt = await core.throttle.begin('signIn', { account: address, address: currentAddress() })
  let result: SignInResult | null
  try {
    const { user, row, standIn } = await findByEmail(address)
    const found = await matchCode(core, user, standIn, { purpose: 'signIn' }, code)
    if (!user || !found || !(await isStillSentTo(context, user, found))) {
      const about = { userId: row?.id ?? null, email: address, account: address, address: currentAddress() }
      core.emit('signInFailed', { ...about, reason: 'code' })
      throw wrongCode()
    }
    await useCode(context, user, found)
    const device = typeof given.device === 'string' ? given.device : undefined
    result = await completeSignIn(core, user, { device, amr: [settings.method], life })
  } catch (error) {
    if (!(error instanceof UnauthorizedError)) await attempt.withdrawn()
    throw error
  }
  // With a second factor to come, the attempt still counts, like that of a correct password.
  if (result?.status === 'secondFactor') await attempt.withdrawn()
  else await attempt.succeeded()
  if (!result) throw new ServiceUnavailableError(message('code.accountChanged'))
  return result
}

/** Returns whether the user still has the address or number to which the code went. */
export async function isStillSentTo(context: CodeContext, user: User, { to }: FoundCode): Promise<boolean> {
  return (await destinationOf(context, user)) === to
}

/** Uses a code up. A mailed code proves the address, with the consequences of a magic link. */
async function useCode({ core, delivery, settings }: CodeContext, user: User, found: FoundCode): Promise<void> {
  if (settings.method !== 'mail') return await consumeFoundCode(core, user, found, async () => {})
  const tables = await core.tables()
  const revoked = await consumeFoundCode(core, user, found, () => proveAddress(user, { email: found.to, tables }))
  if (revoked) delivery.reportProof(user, 'code', revoked)
}
