import type { Knex } from 'knex'
import { Model } from 'objection'
import { AuditTrail } from './auth/audit-trail.js'
import { type Auth, createAuth } from './auth/auth.js'
import { type AuthEventName, type AuthEvents, emitter, type OnEvent } from './auth/events.js'
import type { MailOptions } from './auth/flows/mail/mail-service.js'
import type { SecondFactorOptions } from './auth/flows/second-factor/second-factor.js'
import { bcryptHasher } from './auth/passwords/bcrypt-hasher.js'
import { LegacyHasher } from './auth/passwords/legacy/legacy-hasher.js'
import type { LegacyPasswordScheme } from './auth/passwords/legacy/scheme.js'
import { checkPasswordPolicy, minPasswordLength, type PasswordPolicy } from './auth/passwords/password-policy.js'
import { resolveThrottle, type Throttle, type ThrottleOptions } from './auth/throttle/throttle.js'
import { DEFAULT_REFRESH_LIFE, type JwtOptions } from './auth/tokens/key-set.js'
import { type LegacyTokenOptions, registerLegacyTokens } from './auth/tokens/legacy-tokens.js'
import { ConfigurationError, PermsError, ValidationError } from './core/errors.js'
import { prepareConnections } from './database/connections.js'
import { mapDatabaseError } from './database/errors/database-errors.js'
import { registerLibraryTables } from './database/errors/missing-tables.js'
import { mapObjectionError } from './database/errors/objection-errors.js'
import { mapIdentifiers } from './database/identifiers.js'
import { inTransaction, outsideTransaction } from './database/transaction.js'
import { selfCheck } from './enforce/self-check.js'
import { type CookieOptions, type CookieSettings, cookieSettings } from './http/caller/cookies.js'
import { migrate } from './migrations.js'
import { type Actor, currentActor, currentAddress, noteAdapterMade, runAsActor, setOutsideContext } from './policy/context.js'
import { type LibraryIds, registerModels, type TableOptions } from './policy/registered-models.js'
import { assertHome } from './query/home.js'
import { inspectPlainClasses } from './query/inspection/plain-classes.js'
import { keepTablesProtected, protectedTables } from './query/inspection/protected-tables.js'
import { describeUnguarded, findUnguarded, type Unguarded } from './query/inspection/unguarded.js'
import { forgetBoundModels } from './query/objection-internals.js'
import { forgetRelations } from './record/model-relations.js'
import { enterRuntime, forgetAdapters, installForProcess, type Runtime, runtimeSlot, startRuntime } from './runtime.js'
import { definitionOf } from './schema/definition/definition.js'
import { dialectOf } from './schema/storage.js'
import { accountNameOf, assertIdentifiers } from './users/account/identifiers.js'
import type { PasswordHasher } from './users/account/password-hasher.js'
import { registerOldPasswordCheck, registerPasswords, wrongOldPassword } from './users/account/password-mixin.js'
import { AuditLog } from './users/audit-log.js'
import type { RegisteredUserClass, UserClass } from './users/caller/actor.js'
import { onCallerChange } from './users/caller/caller-changes.js'
import { Domain } from './users/domain.js'
import { registerUserEvents } from './users/events.js'
import { libraryTables } from './users/tables/migration-tables.js'
import { Token } from './users/token.js'
import { User } from './users/user.js'
import { requireDomains, UserRole } from './users/user-role.js'
import { UserSetting } from './users/user-setting.js'
import './users/defaults.js'

export interface PermsOptions {
  /**
   * The name of this application in tokens and derived keys. Set it when several applications with their own databases share keys.
   *
   * @defaultValue a name derived from the connection, used only while several runtimes are active
   */
  name?: string | undefined
  /** The Knex instance of the application's database. */
  knex: Knex
  /** How access tokens are signed. Without it, adapters and sign-in throw a ConfigurationError. */
  jwt?:
    | (JwtOptions & {
        /** Returns additional claims of access tokens. Permissions never depend on them. */
        claims?: ((user: User) => object) | undefined
        /** Accepts the access tokens that the application issued before it used this library, until a fixed date. */
        legacyTokens?: LegacyTokenOptions | undefined
      })
    | undefined
  /** The application's user model. @defaultValue User */
  user?: UserClass | undefined
  /** A subclass of UserRole. @defaultValue UserRole */
  userRole?: typeof UserRole | undefined
  /** A subclass of Token. @defaultValue Token */
  token?: typeof Token | undefined
  /** A subclass of Domain. @defaultValue Domain */
  domain?: typeof Domain | undefined
  /** A subclass of UserSetting. @defaultValue UserSetting */
  userSetting?: typeof UserSetting | undefined
  /**
   * The names of the library's tables: a schema, a prefix, and names of single tables. A model's `static tableName` wins.
   *
   * @defaultValue the models' names in snake_case
   */
  tables?: TableOptions | undefined
  /**
   * The ids of the library's own tables: UUIDs of version 7, or integers that the database makes. A model that declares its id keeps
   * that. Ids of tokens are always UUIDs, because they identify sessions.
   *
   * @defaultValue 'uuid'
   */
  ids?: LibraryIds | undefined
  /** Models to check at start instead of at their first use. Relations from the user to them work from the start. */
  models?: readonly (abstract new (...args: never[]) => Model)[] | undefined
  passwords?:
    | (PasswordPolicy & {
        /** The cost of bcrypt, at least 10. @defaultValue 12 */
        cost?: number | undefined
        /**
         * Schemes of hashes that another system made, such as `[pbkdf2(), phpass()]`. The next sign-in replaces such a hash. Each scheme
         * takes part in every password check.
         *
         * @defaultValue none; bcrypt hashes need no scheme
         */
        legacy?: readonly LegacyPasswordScheme[] | undefined
      })
    | undefined
  /** The password hasher. @defaultValue bcryptHasher() */
  passwordHasher?: PasswordHasher | undefined
  /** The status for a row that the caller may not read: 404, or 403 as for writes. @defaultValue 404 */
  accessDenied?: 404 | 403 | undefined
  /** Whether code outside runAs(), asAnonymous() and asSystem() may use protected models. @defaultValue 'allow' until an adapter exists */
  outsideContext?: 'allow' | 'deny' | undefined
  /** With 'required', each granted role names a domain or '*'. @defaultValue 'optional' */
  domains?: 'optional' | 'required' | undefined
  /** Whether PostgreSQL statements are prepared with a name. Set it to false for poolers that do not support this. @defaultValue true */
  namedStatements?: boolean | undefined
  /** Limits of failed sign-ins, refreshes and registrations; false for no limits. @defaultValue counted in memory */
  throttle?: ThrottleOptions | Throttle | false | undefined
  /**
   * Seconds (at most 300) for which the caller of an access token is cached. When another process ends a session, disables a user or
   * revokes a role, this process notices it after that time.
   *
   * @defaultValue no cache
   */
  cacheCallers?: number | undefined
  /**
   * Enables tokens in cookies. A client that signs in with `Prefer: cookies` gets its tokens as `__Host-` cookies, which scripts
   * cannot read.
   *
   * @defaultValue false
   */
  cookies?: boolean | CookieOptions | undefined
  /** Writes events into AuditLog, or into the given subclass of AuditLog. @defaultValue false */
  auditLog?: boolean | typeof AuditLog | undefined
  /** Options of the second factor, such as the name that authenticator apps show. */
  secondFactor?: SecondFactorOptions | undefined
  /** The mailer and the base URL of links in mail, for verified addresses, password resets and so on. */
  mail?: MailOptions | undefined
  /** Loads the user of a request after its session was checked. null rejects the request. @defaultValue loads the registered user model */
  loadUser?: ((claims: Record<string, unknown>) => Promise<User | null> | User | null) | undefined
}

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
  readonly options: { readonly accessDenied: 404 | 403; readonly cookies: CookieSettings | undefined }
  /** Functions to sign in, refresh and sign out. @throws ConfigurationError when initPerms() got no `jwt` */
  readonly auth: Auth
  /** Creates or updates the library's tables. @returns the names of the migrations that ran */
  migrate(): Promise<string[]>
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

/**
 * Sets up the library for one database. Another call with the same Knex instance replaces the first one; if it throws, the first one
 * stays in effect. Calls with other databases add a runtime each, see `perms.run()`.
 *
 * @returns the Perms object, which adapters take
 * @throws ConfigurationError for a missing or short secret, a second copy of this package or of Objection, and invalid options
 * @example const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } })
 */
export function initPerms(options: PermsOptions): Perms {
  const { knex } = options
  if (typeof knex !== 'function' || !knex.client)
    throw new ConfigurationError('initPerms({ knex }): knex must be a Knex instance, made with Knex({ client, connection }).')
  assertModelClasses(options)
  minPasswordLength(options.passwords)
  const cookies = cookieSettings(options.cookies, options.jwt?.refreshTokenExpires ?? DEFAULT_REFRESH_LIFE)
  const { cost, legacy = [] } = options.passwords ?? {}
  const ownHasher = options.passwordHasher ?? bcryptHasher({ cost })
  const hasher = legacy.length === 0 ? ownHasher : new LegacyHasher(ownHasher, legacy)
  const { jwt } = options
  if (options.tables?.schema !== undefined && dialectOf(knex) === 'sqlite')
    throw new ConfigurationError('initPerms({ tables: { schema } }): SQLite has no schemas. Use tables.prefix.')
  const runtime = startRuntime(knex, options.name)
  try {
    // A hasher of the application may be used again in its next runtime.
    if (!options.passwordHasher) runtime.onEnd(() => void hasher.close?.())
    runtime.install(() => () => keepTablesProtected(knex))
    runtime.install(() => () => forgetBoundModels(knex))
    runtime.install(() =>
      prepareConnections(knex, options.namedStatements === undefined ? {} : { namedStatements: options.namedStatements }),
    )
    runtime.install(() => mapIdentifiers(knex))
    // A failed initPerms() call may have bound the relations to other classes.
    runtime.install(() => {
      forgetRelations()
      return () => undefined
    })
    // Objection's own classes are shared by the whole process.
    installForProcess(inspectPlainClasses)
    const models = registerModels(given(options), options.tables, options.ids) as Perms['models']
    assertIdentifiers(models.user)
    registerLibraryTables(libraryTables())
    registerPasswords(runtime, {
      hasher,
      check: (password, identifiers) => checkPasswordPolicy(password, { ...options.passwords, identifiers }),
    })
    requireDomains(runtime, options.domains === 'required')
    setOutsideContext(runtime, options.outsideContext)
    for (const model of [...Object.values(models), ...(options.models ?? [])]) definitionOf(model)
    enterRuntime(runtime, selfCheck)
    const listeners = new Listeners()
    const trail = options.auditLog ? new AuditTrail(auditModel(options.auditLog), onAuditLost) : null
    const onEvent: OnEvent = (name, payload) => {
      trail?.record(name, payload)
      return listeners.emit(name, payload)
    }
    const emit = emitter(onEvent)
    const throttle = resolveThrottle(options.throttle ?? {}, { knex: options.knex, emit, scope: () => runtime.scope() })
    registerOldPasswordCheck(runtime, throttledProof(throttle))
    const auth = jwt
      ? createAuth({
          knex,
          jwt,
          hasher,
          throttle,
          onEvent,
          trail: trail ?? undefined,
          cacheCallers: options.cacheCallers,
          mail: options.mail,
          secondFactor: options.secondFactor,
          ...(options.loadUser ? { loadUser: options.loadUser } : {}),
          runtime,
        })
      : null
    registerLegacyTokens(runtime, jwt)
    const boundAuth = auth && bindToRuntime(runtime, auth)
    registerUserEvents(runtime, (name, payload) => {
      auth?.forget({ userId: payload.userId })
      emit(name, payload as never)
    })
    if (options.cacheCallers !== undefined) onCallerChange(runtime, (change) => auth?.forget(change))
    let isUnguardedListed = false
    const perms: Perms = {
      knex,
      models,
      options: { accessDenied: options.accessDenied ?? 404, cookies },
      get auth() {
        if (!auth)
          throw new ConfigurationError(
            "Signing in needs a secret: initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } }). Create one with `node -e \"console.log(require('crypto').randomBytes(32).toString('base64url'))\"`.",
          )
        return boundAuth as Auth
      },
      migrate: () => enterRuntime(runtime, () => migrate(knex)),
      on: (name, listener) => listeners.add(name, listener),
      authenticate: (token) => perms.auth.authenticate(token),
      deriveKey: (purpose) => perms.auth.deriveKey(purpose),
      noteAdapter() {
        void perms.auth
        noteAdapterMade(runtime)
        if (!isUnguardedListed) setImmediate(() => void warnOfUnguarded(perms, runtime))
        isUnguardedListed = true
      },
      listUnguarded: () => enterRuntime(runtime, () => outsideTransaction(() => findUnguarded(knex, protectedTables()))),
      mapError: (error) => mapError(error, knex),
      run: <T>(fn: () => T) => enterRuntime(runtime, async (): Promise<Awaited<T>> => await fn()),
      enter: (fn) => enterRuntime(runtime, fn),
      async close() {
        await (auth ?? trail)?.settled()
        // A runtime that was replaced leaves the adapters of its successor alone.
        if (runtime.isAlive) forgetAdapters(runtime)
        runtime.end()
        await hasher.close?.()
      },
    }
    current.set(runtime, perms)
    runtime.confirm()
    return perms
  } catch (error) {
    runtime.abandon()
    throw error
  }
}

// Runs after the first adapter, when the models of initPerms() and all models in use so far are known.
async function warnOfUnguarded(perms: Perms, runtime: Runtime): Promise<void> {
  if (!runtime.isAlive) return
  try {
    const found = await perms.listUnguarded()
    if (found.length > 0) console.warn(describeUnguarded(found))
  } catch (error) {
    if (!runtime.isAlive) return
    const why = error instanceof Error ? error.message : String(error)
    console.warn(`objection-perms: the views and functions over protected tables could not be listed (call perms.listUnguarded()): ${why}`)
  }
}

function given(options: PermsOptions): Record<string, typeof Model> {
  const { user, userRole, token, domain, userSetting } = options
  return Object.fromEntries(
    Object.entries({ user, userRole, token, domain, userSetting }).filter(([, cls]) => cls !== undefined),
  ) as Record<string, typeof Model>
}

function assertModelClasses(options: PermsOptions): void {
  const bases = { user: User, userRole: UserRole, token: Token, domain: Domain, userSetting: UserSetting }
  for (const [kind, cls] of Object.entries(given(options))) {
    if (!(cls.prototype instanceof Model)) {
      throw new ConfigurationError(
        `initPerms({ ${kind}: ${cls.name} }): the class extends Model of another copy of Objection than this library uses. Install only one: run \`npm ls objection\`.`,
      )
    }
    const Base = bases[kind as keyof typeof bases]
    if (kind !== 'user' && cls !== Base && !(cls.prototype instanceof Base))
      throw new ConfigurationError(`initPerms({ ${kind}: ${cls.name} }): the class must extend ${Base.name}.`)
  }
}

// Binds the functions of an API to a runtime, independent of the caller's context.
function bindToRuntime<T extends object>(runtime: Runtime, api: T): T {
  const bound = Object.entries(api).map(([name, value]) => {
    if (typeof value === 'function') {
      const call = (...args: unknown[]) =>
        enterRuntime(runtime, () => {
          for (const given of args) assertHome(given)
          return Reflect.apply(value, api, args)
        })
      return [name, call]
    }
    return [name, typeof value === 'object' && value !== null ? bindToRuntime(runtime, value as object) : value]
  })
  return Object.fromEntries(bound) as T
}

function auditModel(given: true | typeof AuditLog): typeof AuditLog {
  const model = given === true ? AuditLog : given
  if (model !== AuditLog && !(model.prototype instanceof AuditLog))
    throw new ConfigurationError(`initPerms({ auditLog: ${model.name} }): the class must extend AuditLog.`)
  definitionOf(model)
  return model
}

// Nothing else reports this error.
function onAuditLost(error: unknown): void {
  console.error('objection-perms: an event could not be written into the audit log:', error instanceof Error ? error.message : error)
}

// A wrong old password counts like a failed sign-in.
function throttledProof(throttle: Throttle): Parameters<typeof registerOldPasswordCheck>[1] {
  return async (row, verify) => {
    if (inTransaction()) {
      throw new ValidationError('The old password cannot be checked inside a transaction or with If-Match: send the change alone.', [
        { field: 'oldPassword', message: 'cannot be checked inside a transaction' },
      ])
    }
    const attempt = await throttle.begin('signIn', { account: accountNameOf(row), address: currentAddress() })
    const isRight = await verify().catch(async (error: unknown) => {
      await attempt.withdrawn()
      throw error
    })
    if (!isRight) throw wrongOldPassword()
    await attempt.succeeded()
  }
}

class Listeners {
  readonly #known = new Map<string, Set<(payload: never) => unknown>>()

  add<K extends AuthEventName>(name: K, listener: (payload: AuthEvents[K]) => unknown): () => void {
    const known = this.#known.get(name) ?? new Set()
    this.#known.set(name, known)
    known.add(listener)
    return () => known.delete(listener)
  }

  // An error of one listener does not stop the others. Listeners run as the caller, without the bypasses of the code that emits.
  readonly emit: OnEvent = (name, payload) =>
    Promise.allSettled([...(this.#known.get(name) ?? [])].map((listener) => runAsActor(currentActor(), () => listener(payload as never))))
}

function mapError(error: unknown, knex: Knex): unknown {
  if (error instanceof PermsError) return error
  const known = mapObjectionError(error)
  return known === error ? mapDatabaseError(error, dialectOf(knex)) : known
}
