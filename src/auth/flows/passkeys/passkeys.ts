import { ConfigurationError } from '../../../core/errors.js'
import type { LibraryId } from '../../../policy/registered-types.js'
import type { UserRow } from '../../../users/caller/actor.js'
import type { Passkey } from '../../../users/passkey.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import { mailDelivery } from '../mail/mail-delivery.js'
import type { FactorChoice } from '../second-factor/trusted-devices.js'
import { confirmationOptions } from './confirm.js'
import { type PasskeyContext, passkeysOf } from './context.js'
import { remove, rename, reset } from './manage.js'
import { type AddedPasskey, register, registrationOptions } from './register.js'
import { secondFactorOptions, verifySecondFactor } from './second-factor.js'
import { type PasskeyOptions, passkeySettings } from './settings.js'
import { type PasskeySignInOptions, signInOptions, signInWithPasskey } from './sign-in.js'
import type { PasskeyCreationOptions, PasskeyRequestOptions } from './webauthn.js'

/**
 * Passkeys (WebAuthn), with the optional package `@simplewebauthn/server`: `perms.auth.passkeys`. User verification is required, so a
 * passkey counts as two factors. Options are for a browser, which answers with a credential: pass its `toJSON()` on. Each challenge in
 * options works once, for five minutes, in the session that asked for it.
 *
 * All functions except `list` throw ConfigurationError without `initPerms({ passkeys })`, and inside the application's transaction().
 */
export interface Passkeys {
  /**
   * Returns options with which a browser creates a passkey for the caller.
   *
   * @throws InsufficientUserAuthenticationError unless the session was confirmed recently, with a second factor if the user has one
   * @throws UnauthorizedError for an anonymous caller, ForbiddenError with an API key, ConflictError with 20 passkeys
   */
  registrationOptions(): Promise<PasskeyCreationOptions>
  /**
   * Adds a passkey to the caller's account.
   *
   * @param passkey the credential that the browser created, as JSON
   * @param options `name`: for the list of passkeys, 100 characters at most
   * @returns the passkey, and recovery codes, which are shown once, if the user had none
   * @throws ValidationError for a credential that is refused, ConflictError for one that is registered already; like registrationOptions
   */
  register(passkey: object, options?: { name?: string | undefined }): Promise<AddedPasskey>
  /** Returns options with which a browser offers the passkeys that it has. They name no user. @throws TooManyAttemptsError */
  signInOptions(): Promise<PasskeyRequestOptions>
  /**
   * Signs in with a passkey alone. No second factor is asked for.
   *
   * @param passkey the credential that the browser returned, as JSON
   * @throws InvalidCredentialsError, with one message for all reasons; AccountDisabledError, TooManyAttemptsError, ValidationError
   * @example const { status, accessToken } = await perms.auth.passkeys.signIn({ id: 'of the passkey', response: {} }, { device: 'Firefox' })
   */
  signIn(passkey: object, options?: PasskeySignInOptions): Promise<SignInResult>
  /** Returns options that name the passkeys of the user of a challenge of `signIn()`. @throws InvalidTokenError */
  secondFactorOptions(challenge: string): Promise<PasskeyRequestOptions>
  /** Completes a sign-in with a passkey as the second factor. @throws InvalidTokenError, InvalidCredentialsError, TooManyAttemptsError */
  verifySecondFactor(challenge: string, passkey: object, options?: FactorChoice): Promise<SignInResult>
  /** Returns options for `perms.auth.confirm({ passkey })`. @throws UnauthorizedError, ForbiddenError with an API key */
  confirmationOptions(): Promise<PasskeyRequestOptions>
  /** Returns the passkeys of a user, the oldest first. It does not check who the caller is. */
  list(user: UserRow): Promise<Passkey[]>
  /** Renames a passkey of the caller. @throws NotFoundError, ValidationError */
  rename(id: LibraryId, name: string): Promise<Passkey>
  /**
   * Removes a passkey of the caller.
   *
   * @throws NotFoundError, InsufficientUserAuthenticationError as for registrationOptions, ConflictError when the user could not sign in
   * any more
   */
  remove(id: LibraryId): Promise<void>
  /**
   * Removes all passkeys of a user who lost them. The caller must outrank the user; a route must check further conditions itself.
   *
   * @returns the number of removed passkeys
   * @throws ForbiddenError when the caller's rank is not higher, ConflictError when the user could not sign in any more
   */
  reset(user: UserRow): Promise<number>
}

/** Returns the objects that the functions of passkeys share. @throws ConfigurationError for invalid options */
export function passkeyContext(core: AuthCore, options: PasskeyOptions | undefined): PasskeyContext {
  const checked = options && passkeySettings(options)
  return {
    core,
    delivery: mailDelivery(core),
    settings: () => {
      if (checked) return checked
      throw new ConfigurationError(
        "Passkeys need a domain: initPerms({ passkeys: { rpId: 'example.com', rpName: 'Example', origins: ['https://example.com'] } }).",
      )
    },
  }
}

export function passkeys(context: PasskeyContext): Passkeys {
  return {
    registrationOptions: () => registrationOptions(context),
    register: (passkey, { name } = {}) => register(context, passkey, name),
    signInOptions: () => signInOptions(context),
    signIn: (passkey, options = {}) => signInWithPasskey(context, passkey, options),
    secondFactorOptions: (challenge) => secondFactorOptions(context, challenge),
    verifySecondFactor: (challenge, passkey, options = {}) => verifySecondFactor(context, challenge, passkey, options),
    confirmationOptions: () => confirmationOptions(context),
    list: (user: User) => passkeysOf(user.id),
    rename: (id, name) => rename(context, id, name),
    remove: (id) => remove(context, id),
    reset: (user: User) => reset(context, user),
  }
}
