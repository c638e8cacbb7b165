import type { Knex } from 'knex'
import type { PasswordHasher } from '../users/password-hasher.js'
import type { User } from '../users/user.js'
import type { SignInResult } from './auth-types.js'
import type { Background } from './background.js'
import type { Emit } from './events.js'
import type { MailService } from './flows/mail-service.js'
import type { Throttle } from './throttle/throttle.js'
import type { KeySet } from './tokens/key-set.js'
import type { Caller } from './tokens/load-caller.js'
import type { Sessions } from './tokens/sessions.js'

/** What the parts of signing in share: createAuth makes it and hands it to each. */
export interface AuthCore {
  readonly knex: Knex
  readonly keys: KeySet
  readonly hasher: PasswordHasher
  readonly throttle: Throttle
  readonly sessions: Sessions
  readonly emit: Emit
  /** A session by its row's id, with its user and roles, in one statement; null where there is none. Judges nothing. */
  load(sessionId: string): Promise<Caller | null>
  /** What no answer waits for. */
  readonly background: Background
  /**
   * Lets in one who has proved to be this user by one factor: asks for the second where there is one.
   *
   * @param rehashed takes the place of the stored hash in the same transaction
   * @returns null where the user's row changed since it was read
   * @throws AccountDisabledError
   */
  completeSignIn(user: User, options?: { device?: string | undefined; rehashed?: string | null | undefined }): Promise<SignInResult | null>
  /** Begins a session for one who has proved every factor. @throws AccountDisabledError */
  signedIn(user: User, options?: { device?: string | undefined; rehashed?: string | null | undefined }): Promise<SignInResult | null>
  /** @param expiresIn seconds */
  accessToken(user: User, sessionId: string, expiresIn?: number): string
  /** Writes and sends mail; null without `initPerms({ mail })`. */
  readonly mailService: MailService | null
  /** @throws ConfigurationError inside the application's transaction: what is counted or used up must not be rolled back with it */
  refuseTransaction(name: string): void
}
