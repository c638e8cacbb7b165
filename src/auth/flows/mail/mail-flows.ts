import type { RegisteredUser, UserRow } from '../../../users/caller/actor.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import type { LifetimeChoice } from '../../tokens/session-life.js'
import type { RegistrationSteps } from '../register.js'
import { confirmEmailChange, requestEmailChange } from './change-email.js'
import { requestMagicLink, signInWithMagicLink } from './magic-link.js'
import { mailDelivery } from './mail-delivery.js'
import type { MailContext } from './mail-requests.js'
import { registerPrivately } from './private-registration.js'
import { requestPasswordReset, resetPassword } from './reset-password.js'
import { requestVerification, verifyEmail } from './verify-email.js'

/**
 * Flows by e-mail: `perms.auth.mail`. Requests resolve at once, and in the same way for known and unknown addresses. Look-up,
 * writing and sending happen in the background; a failing mailer emits `mailFailed`. A token works once, while it is the newest of
 * its kind and the user still has the address it was sent to.
 * All functions throw ConfigurationError without `initPerms({ mail })` and inside the application's transaction().
 */
export interface MailFlows {
  /** Whether a mailer is configured. */
  readonly isReady: boolean
  /** Mails a verification link when the address belongs to a user and is not verified. @throws ValidationError, TooManyAttemptsError */
  requestVerification(email: string): Promise<void>
  /** Marks the user's address as verified. @throws InvalidTokenError */
  verifyEmail(token: string): Promise<RegisteredUser>
  /** Mails a password reset link when the address belongs to a user. @throws ValidationError, TooManyAttemptsError */
  requestPasswordReset(email: string): Promise<void>
  /**
   * Sets a new password and ends all sessions and API keys. If the address had never been proved, it also ends second factors and
   * everything else from before: another person may have registered the address.
   *
   * @throws InvalidTokenError, ValidationError for the password (the token stays usable)
   */
  resetPassword(given: { token: string; password: string }): Promise<RegisteredUser>
  /**
   * Mails a confirmation link to the new address and a notice to the old one.
   *
   * @throws ValidationError for a wrong old password or an invalid address, TooManyAttemptsError, ForbiddenError with an API key
   */
  requestEmailChange(user: UserRow, given: { email: string; oldPassword: string }): Promise<void>
  /**
   * Changes the user's address to the confirmed one and ends all sessions.
   *
   * @throws InvalidTokenError, UniqueViolationError (409) when the address is taken by now
   */
  confirmEmailChange(token: string): Promise<RegisteredUser>
  /**
   * Records that the application signs users in by mail. Then a user may remove a last passkey or password, because the mailbox remains.
   * `features.magicLink` calls it. Call it once if you serve sign-in by mail with routes of your own.
   */
  offerSignIn(): void
  /** Mails a sign-in link when the address belongs to a user. @throws ValidationError, TooManyAttemptsError */
  requestMagicLink(email: string): Promise<void>
  /**
   * Signs in, or returns a challenge for the second factor. If the address had never been proved, it ends everything from before:
   * password, sessions, API keys, second factors and links.
   *
   * @param options `remember`, `sessionExpires`: the lifetime of the session, within `jwt.rememberMe`
   * @throws InvalidTokenError; ValidationError for a lifetime out of bounds (the token stays usable)
   */
  signInWithMagicLink(token: string, options?: { device?: string | undefined } & LifetimeChoice): Promise<SignInResult>
  /**
   * Registers a user without revealing whether the address is taken: only the mail tells.
   *
   * @param steps `check` runs before the call resolves, `afterCreate` afterwards with the new row
   * @throws ValidationError for invalid values, TooManyAttemptsError, and errors of `check`
   */
  registerPrivately(values: object, steps?: RegistrationSteps): Promise<void>
}

export function mailFlows(core: AuthCore): MailFlows {
  const context: MailContext = { core, delivery: mailDelivery(core), tables: core.tables }
  return {
    isReady: core.mailService !== null,
    requestVerification: (email) => requestVerification(context, email),
    verifyEmail: (token) => verifyEmail(context, token),
    requestPasswordReset: (email) => requestPasswordReset(context, email),
    resetPassword: (given) => resetPassword(context, given),
    requestEmailChange: (user: User, given) => requestEmailChange(context, user, given),
    confirmEmailChange: (token) => confirmEmailChange(context, token),
    offerSignIn: () => core.signInMethods.noteMail(),
    requestMagicLink: (email) => requestMagicLink(context, email),
    signInWithMagicLink: (token, options = {}) => signInWithMagicLink(context, token, options),
    registerPrivately: (values, steps) => registerPrivately(context, values, steps),
  }
}
