import type { Knex } from 'knex'
import type { PasswordHasher } from '../users/account/password-hasher.js'
import type { AuditLog } from '../users/audit-log.js'
import type { Background } from './background.js'
import type { Emit } from './events.js'
import type { LifecycleOptions } from './flows/lifecycle/account-deletion.js'
import type { MailService } from './flows/mail/mail-service.js'
import type { NewPlaces } from './flows/new-places.js'
import type { FactorChallenges } from './flows/second-factor/challenges.js'
import type { DeviceRegistry } from './flows/second-factor/trusted-devices.js'
import type { SignInMethods } from './flows/sign-in-methods.js'
import type { OptionalTables } from './optional-tables.js'
import type { Throttle } from './throttle/throttle.js'
import type { AccessTokens } from './tokens/access-tokens.js'
import type { KeySet } from './tokens/key-set.js'
import type { SessionLife } from './tokens/session-life.js'
import type { Sessions } from './tokens/sessions.js'

/** The parts that all sign-in flows share. createAuth creates it and passes it to each flow. */
export interface AuthCore {
  readonly knex: Knex
  readonly keys: KeySet
  readonly hasher: PasswordHasher
  readonly throttle: Throttle
  readonly sessions: Sessions
  /** Decides how long new sessions last. */
  readonly life: SessionLife
  readonly emit: Emit
  /** Runs work that no response waits for. */
  readonly background: Background
  readonly accessTokens: AccessTokens
  /** Challenges for the second factor. */
  readonly challenges: FactorChallenges
  /** The devices on which users need not show the second factor again. */
  readonly devices: DeviceRegistry
  /** Refuses to remove the last method by which a user can sign in. */
  readonly signInMethods: SignInMethods
  /** Finds out which optional tables exist. Call it outside transactions. */
  readonly tables: () => Promise<OptionalTables>
  readonly lifecycle: LifecycleOptions
  /** The class of the rows of the audit log. */
  readonly auditModel: typeof AuditLog
  /** Notes from where users sign in; null without `initPerms({ newPlaces: true })`. */
  readonly newPlaces: NewPlaces | null
  /** Writes and sends mail; null without `initPerms({ mail })`. */
  readonly mailService: MailService | null
  /**
   * Throws inside the application's transaction, because counters and single-use tokens must not be rolled back.
   *
   * @throws ConfigurationError
   */
  assertNoTransaction(name: string): void
}
