import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { Auth } from '../auth/auth.js'
import type { AuthEventName, AuthEvents } from '../auth/events.js'
import type { DueAccountsOptions, DueAccountsReport } from '../auth/flows/lifecycle/delete-due.js'
import type { MaintenanceOptions, MaintenanceResult } from '../auth/maintenance.js'
import type { RememberMeOptions } from '../auth/tokens/session-life.js'
import { ConfigurationError } from '../core/errors.js'
import type { Languages } from '../core/messages/languages.js'
import type { CookieSettings } from '../http/caller/cookies.js'
import type { Actor } from '../policy/context.js'
import type { StepUpRule } from '../policy/fresh-session.js'
import type { Unguarded } from '../query/inspection/unguarded.js'
import { type Runtime, runtimeSlot } from '../runtime.js'
import type { RegisteredUserClass } from '../users/caller/actor.js'
import type { Domain } from '../users/domain.js'
import type { Token } from '../users/token.js'
import type { UserRole } from '../users/user-role.js'
import type { UserSetting } from '../users/user-setting.js'

/**
 * The result of initPerms(), for adapters, jobs and scripts.
 *
 * @example const perms: Perms = initPerms({ knex, jwt: { secret } })
 */
export interface Perms {
  readonly knex: Knex
  readonly models: {
    readonly user: RegisteredUserClass
    readonly userRole: typeof UserRole
    readonly token: typeof Token
    readonly domain: typeof Domain
    readonly userSetting: typeof UserSetting
  }
  readonly options: {
    readonly accessDenied: 404 | 403
    readonly cookies: CookieSettings | undefined
    /** Schemes of the Authorization header that carry tokens, in addition to Bearer. */
    readonly schemes: readonly string[]
    /** The models of `initPerms({ models })` and the subclass of AuditLog, if there is one. */
    readonly models: readonly (typeof Model)[]
    readonly stepUp: StepUpRule | undefined
    readonly languages: Languages
    readonly rememberMe: RememberMeOptions | undefined
    /** Whether users may have passkeys. */
    readonly passkeys: boolean
  }
  /** Functions to sign in, refresh and sign out. @throws ConfigurationError when initPerms() got no `jwt` */
  readonly auth: Auth
  /** Creates or updates the library's tables. @returns the names of the migrations that ran */
  migrate(): Promise<string[]>
  /**
   * Deletes rows that are no longer needed: expired sessions and other tokens, old invitations, expired counts of failed attempts, and
   * audit rows older than `auditRetention`. Deletes the accounts that are due, and shares that have expired or whose rows do not exist any more. Each transaction deletes at most `batch` rows. Several processes may call it at once. Call it
   * once a day.
   *
   * @returns the numbers of deleted rows
   * @throws ConfigurationError for an invalid option
   * @example const { tokens } = await perms.maintain({ auditRetention: 365 })
   */
  maintain(options?: MaintenanceOptions): Promise<MaintenanceResult>
  /**
   * Deletes the accounts whose deletion is due, and their rows as the models say it (`static onUserDeleted`), in batches. The work can be
   * interrupted at any time: the next call continues. Several processes may call it at once. `perms.maintain()` calls it too.
   *
   * @returns a report for each account. It stays in the table of AccountDeletion.
   * @throws ConfigurationError for an invalid option, and without `jwt`
   * @example const { deleted, failed } = await perms.deleteDueAccounts({ limit: 10 })
   */
  deleteDueAccounts(options?: DueAccountsOptions): Promise<DueAccountsReport>
  /**
   * Reads the types of the columns that only the database knows: those of models without a schema that resources serve. Otherwise the
   * first request reads them. Call it before the server listens, to find a wrong column name in an option at the start.
   *
   * @throws ServiceUnavailableError when the database does not answer, MissingTableError, and ConfigurationError for an option that
   * names a column that does not exist
   * @example await perms.ready()
   */
  ready(): Promise<void>
  /**
   * Returns the caller of an access token or an API key, for sockets and jobs.
   *
   * @throws InvalidTokenError
   * @example await runAs(await perms.authenticate(token), () => UserDocument.query())
   */
  authenticate(token: string): Promise<Actor>
  /** Returns 32 bytes for one purpose, which are the same in every process of the application with the same keys. */
  deriveKey(purpose: string): Uint8Array
  /**
   * Adds a listener of sign-ins and similar events. Events contain no secrets. An error of a listener does not affect the request.
   *
   * @returns a function that removes the listener
   * @example perms.on('signInFailed', ({ email, address }) => log.warn({ email, address }))
   */
  on<K extends AuthEventName>(name: K, listener: (payload: AuthEvents[K]) => unknown): () => void
  /**
   * Lists views, functions and similar objects that read tables of models with a policy: policies do not apply to them.
   * The first adapter prints the list with console.warn().
   *
   * @throws the driver's error when the database user may not read the catalogue
   * @example for (const { kind, name, reads } of await perms.listUnguarded()) console.log(`${kind} ${name} reads ${reads.join(', ')}`)
   */
  listUnguarded(): Promise<Unguarded[]>
  /**
   * Runs fn in the runtime of this database. In a process with several runtimes, code outside a request needs it.
   *
   * @returns the result of fn; a query builder that fn returns is executed inside
   * @throws RuntimeClosedError after close()
   * @example await tenantB.run(() => asSystem(() => User.query()))
   */
  run<T>(fn: () => T): Promise<Awaited<T>>
  /** Like run(), for adapters: calls fn synchronously and returns its result. */
  enter<T>(fn: () => T): T
  /** Called by adapters. From now on code without a context is refused. @throws ConfigurationError without `jwt` */
  noteAdapter(): void
  /** Converts a known error of the database or of Objection to an error of this library. Returns other errors unchanged. */
  mapError(error: unknown): unknown
  /** Ends the worker threads and the runtime. The Knex instance stays open, since it belongs to the application. */
  close(): Promise<void>
}

const current = runtimeSlot<Perms | null>(() => null)

/** Returns the result of the initPerms() call in effect. @throws ConfigurationError before initPerms() and after close() */
export function currentPerms(): Perms {
  const perms = current.get()
  if (perms) return perms
  throw new ConfigurationError('The library is not set up: call initPerms({ knex, ... }) first.')
}

/** Sets the result of the initPerms() call in effect. */
export function setPerms(runtime: Runtime, perms: Perms): void {
  current.set(runtime, perms)
}
