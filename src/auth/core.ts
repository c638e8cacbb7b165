import type { Knex } from 'knex'
import type { PasswordHasher } from '../users/account/password-hasher.js'
import type { User } from '../users/user.js'
import type { SignInResult } from './auth-types.js'
import type { Background } from './background.js'
import type { Emit } from './events.js'
import type { MailService } from './flows/mail/mail-service.js'
import type { Throttle } from './throttle/throttle.js'
import type { KeySet } from './tokens/key-set.js'
import type { Caller } from './tokens/load-caller.js'
import type { Sessions } from './tokens/sessions.js'

/** The parts that all sign-in flows share. createAuth creates it and passes it to each flow. */
export interface AuthCore {
  readonly knex: Knex
  readonly keys: KeySet
  readonly hasher: PasswordHasher
  readonly throttle: Throttle
  readonly sessions: Sessions
  readonly emit: Emit
  /**
   * Returns a session by the id of its row, with its user and roles, or null. It runs one query and does not check whether the
   * session is active.
   */
  load(sessionId: string): Promise<Caller | null>
  /** Runs work that no response waits for. */
  readonly background: Background
  /**
   * Completes a sign-in after the first factor: starts a session, or returns a challenge when the user has a second factor.
   *
   * @param options `rehashed` replaces the stored hash in the same transaction
   * @returns null when the user's row changed since it was read
   * @throws AccountDisabledError
   */
  completeSignIn(user: User, options?: { device?: string | undefined; rehashed?: string | null | undefined }): Promise<SignInResult | null>
  /**
   * Starts a session after all factors.
   *
   * @returns null when the user's row changed since it was read
   * @throws AccountDisabledError
   */
  startSession(user: User, options?: { device?: string | undefined; rehashed?: string | null | undefined }): Promise<SignInResult | null>
  /** Creates an access token. @param expiresIn in seconds */
  accessToken(user: User, sessionId: string, expiresIn?: number): string
  /** Writes and sends mail; null without `initPerms({ mail })`. */
  readonly mailService: MailService | null
  /**
   * Throws inside the application's transaction, because counters and single-use tokens must not be rolled back.
   *
   * @throws ConfigurationError
   */
  assertNoTransaction(name: string): void
}
