import type { Knex } from 'knex'
import { Model } from 'objection'
import { AuditTrail } from './auth/audit-trail.js'
import { type Auth, createAuth } from './auth/auth.js'
import { type AuthEventName, type AuthEvents, emitter, type OnEvent } from './auth/events.js'
import type { MailOptions } from './auth/flows/mail-service.js'
import type { SecondFactorOptions } from './auth/flows/second-factor.js'
import { bcryptHasher } from './auth/passwords/bcrypt-hasher.js'
import { checkPasswordPolicy, minPasswordLength, type PasswordPolicy } from './auth/passwords/password-policy.js'
import { createThrottle, type Throttle, type ThrottleOptions, unlimited } from './auth/throttle/throttle.js'
import { DEFAULT_REFRESH_LIFE, type JwtOptions } from './auth/tokens/key-set.js'
import { ConfigurationError, PermsError, ValidationError } from './core/errors.js'
import { prepareConnections } from './database/connections.js'
import { mapDatabaseError } from './database/database-errors.js'
import { mapIdentifiers } from './database/identifiers.js'
import { registerLibraryTables } from './database/missing-tables.js'
import { mapObjectionError } from './database/objection-errors.js'
import { inTransaction, outsideTransaction } from './database/transaction.js'
import { selfCheck } from './enforce/self-check.js'
import { type CookieOptions, type CookieSettings, cookieSettings } from './http/caller/cookies.js'
import { libraryTables, migrate } from './migrations.js'
import { type Actor, currentActor, currentAddress, noteAdapterMade, runAsActor, setOutsideContext } from './policy/context.js'
import { registerModels } from './policy/registered-models.js'
import { guardPlainClasses } from './query/plain-classes.js'
import { keepTablesProtected, protectedTables } from './query/protected-tables.js'
import { describeUnguarded, findUnguarded, type Unguarded } from './query/unguarded.js'
import { enterRuntime, forgetAdapters, type Runtime, runtimeCount, runtimeSlot, startRuntime, whenLastEnds } from './runtime.js'
import { definitionOf } from './schema/definition.js'
import { dialectOf } from './schema/storage.js'
import type { UserClass } from './users/actor.js'
import { AuditLog } from './users/audit-log.js'
import { onCallerChange } from './users/caller-changes.js'
import { Domain } from './users/domain.js'
import { registerUserEvents } from './users/events.js'
import type { PasswordHasher } from './users/password-hasher.js'
import { registerOldPasswordCheck, registerPasswords, wrongOldPassword } from './users/password-mixin.js'
import { Token } from './users/token.js'
import { User } from './users/user.js'
import { requireDomains, UserRole } from './users/user-role.js'
import { UserSetting } from './users/user-setting.js'
import './users/defaults.js'

export interface PermsOptions {
  /**
   * Names this application in tokens and derived keys. Needed when applications with several databases share keys between
   * processes. Default: derived from the connection, and looked at while several runtimes are alive.
   */
  name?: string | undefined
  /** The one database of the application. */
  knex: Knex
  /** How access tokens are signed. Without it no adapter can be made and nobody can sign in. */
  jwt?:
    | (JwtOptions & {
        /** Further claims of access tokens; they never decide permission. */
        claims?: ((user: User) => object) | undefined
      })
    | undefined
  /** The application's own models, where they differ from the library's. */
  user?: UserClass | undefined
  userRole?: typeof UserRole | undefined
  token?: typeof Token | undefined
  domain?: typeof Domain | undefined
  userSetting?: typeof UserSetting | undefined
  /** Models to get to know at start: their relations back to the user, their tables, their policies' errors. */
  models?: readonly (abstract new (...args: never[]) => Model)[] | undefined
  passwords?:
    | (PasswordPolicy & {
        /** bcrypt's cost: 12 when not said, 10 at least. */
        cost?: number | undefined
      })
    | undefined
  /** Another way of hashing passwords. */
  passwordHasher?: PasswordHasher | undefined
  /** How a row that may not be read, or not written, is answered: 404 and 403 when not said; 403: 403 for both. */
  accessDenied?: 404 | 403 | undefined
  /** What code without a context may do: everything until an adapter has been made when not said. */
  outsideContext?: 'allow' | 'deny' | undefined
  /** 'required': every grant names a domain or '*'. */
  domains?: 'optional' | 'required' | undefined
  /** Prepared statements by name on PostgreSQL; switch off for poolers that cannot. */
  namedStatements?: boolean | undefined
  /** Limits on failed sign-ins, refreshes and registrations: counted in memory when not said; false for none. */
  throttle?: ThrottleOptions | Throttle | false | undefined
  /**
   * Seconds (300 at most) for which the caller behind an access token is cached. A session that another process ends, a user whom it
   * disables or a role that it takes back stays valid for that long. Default: no cache.
   */
  cacheCallers?: number | undefined
  /**
   * Tokens may come and go in cookies too: a client that signs in with `Prefer: cookies` gets them as `__Host-` cookies that no
   * script can read. Not looked at when not said.
   */
  cookies?: boolean | CookieOptions | undefined
  /** Writes what happens into AuditLog, or into a class of yours that extends it. */
  auditLog?: boolean | typeof AuditLog | undefined
  /** How authenticator apps call the application. */
  secondFactor?: SecondFactorOptions | undefined
  /** How mail is sent, and where its links lead: for verified addresses, forgotten passwords and so on. */
  mail?: MailOptions | undefined
  /** Gives the user of a request in the application's own way, once the session has been looked at; null refuses it. */
  loadUser?: ((claims: Record<string, unknown>) => Promise<User | null> | User | null) | undefined
}

/** The library, set up: what adapters, jobs and scripts hold on to. */
export interface Perms {
  readonly knex: Knex
  readonly models: {
    readonly user: UserClass
    readonly userRole: typeof UserRole
    readonly token: typeof Token
    readonly domain: typeof Domain
    readonly userSetting: typeof UserSetting
  }
  readonly options: { readonly accessDenied: 404 | 403; readonly cookies: CookieSettings | undefined }
  /** @throws ConfigurationError where initPerms was given no jwt */
  readonly auth: Auth
  /** Makes or updates the library's tables. @returns the names of the migrations that ran */
  migrate(): Promise<string[]>
  /** The caller behind an access token or an API key, for sockets and jobs: `runAs(await perms.authenticate(token), fn)`. @throws InvalidTokenError */
  authenticate(token: string): Promise<Actor>
  /** 32 bytes for one purpose, the same in every process of the application with the same keys. */
  deriveKey(purpose: string): Uint8Array
  /**
   * Tells of what happens at the doors; nothing in it is a secret. What a listener throws breaks no request.
   *
   * @returns takes the listener off again
   * @example perms.on('signInFailed', ({ email, address }) => log.warn({ email, address }))
   */
  on<K extends AuthEventName>(name: K, listener: (payload: AuthEvents[K]) => unknown): () => void
  /**
   * Lists the views, functions and the like that read the tables of models with a policy: the library cannot see what is behind them.
   * The first adapter that is made prints the list with console.warn.
   *
   * @throws what the driver throws where the catalogue of the database may not be read
   * @example for (const { kind, name, reads } of await perms.listUnguarded()) console.log(`${kind} ${name} reads ${reads.join(', ')}`)
   */
  listUnguarded(): Promise<Unguarded[]>
  /**
   * Runs fn with this database: in a process with several runtimes, code outside a request says which one it means.
   *
   * @returns what fn resolves to; a query builder that fn returns runs inside
   * @throws RuntimeClosedError after close()
   * @example await tenantB.run(() => asSystem(() => User.query()))
   */
  run<T>(fn: () => T): Promise<Awaited<T>>
  /** The same for adapters: calls fn at once and returns what it returns. */
  enter<T>(fn: () => T): T
  /** Called by adapters: from now on code without a context is refused. @throws ConfigurationError without jwt */
  noteAdapter(): void
  /** An error of the database or of Objection as one of the library's, where it is known. */
  mapError(error: unknown): unknown
  /** Ends the worker threads and forgets this database. The Knex instance stays open: it is the application's. */
  close(): Promise<void>
}

const current = runtimeSlot<Perms | null>(() => null)

/** The library as it is set up now. @throws ConfigurationError before initPerms and after close() */
export function currentPerms(): Perms {
  const perms = current.get()
  if (perms) return perms
  throw new ConfigurationError('Call initPerms({ knex, ... }) first: the library is not set up.')
}

/**
 * Sets the library up. One call a process; another with the same Knex instance replaces the first, one with another throws
 * unless `perms.close()` came before.
 *
 * @throws ConfigurationError for a missing or short secret, a second copy of Objection, a second database
 * @example const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } })
 */
export function initPerms(options: PermsOptions): Perms {
  const { knex } = options
  if (typeof knex !== 'function' || !(knex as { client?: unknown }).client)
    throw new ConfigurationError('initPerms({ knex }): pass a Knex instance, made with Knex({ client, connection }).')
  refuseSecondObjection(options)
  minPasswordLength(options.passwords)
  const cookies = cookieSettings(options.cookies, options.jwt?.refreshTokenExpires ?? DEFAULT_REFRESH_LIFE)
  const hasher = options.passwordHasher ?? bcryptHasher(options.passwords?.cost === undefined ? {} : { cost: options.passwords.cost })
  const { jwt } = options
  const runtime = startRuntime(knex, options.name)
  try {
    // The hasher of the application may serve its next runtime too.
    if (!options.passwordHasher) runtime.onEnd(() => void hasher.close?.())
    runtime.onEnd(() => keepTablesProtected(knex))
    runtime.onEnd(() => forgetBoundModels(knex))
    runtime.onEnd(prepareConnections(knex, options.namedStatements === undefined ? {} : { namedStatements: options.namedStatements }))
    runtime.onEnd(mapIdentifiers(knex))
    // Objection's classes are those of the whole process.
    if (runtimeCount() === 1) whenLastEnds(guardPlainClasses())
    const models = registerModels(given(options)) as unknown as Perms['models']
    registerLibraryTables(libraryTables())
    registerPasswords(runtime, { hasher, check: (password, { email }) => checkPasswordPolicy(password, { ...options.passwords, email }) })
    requireDomains(runtime, options.domains === 'required')
    setOutsideContext(runtime, options.outsideContext)
    for (const model of [...Object.values(models), ...(options.models ?? [])]) definitionOf(model)
    enterRuntime(runtime, selfCheck)
    const listeners = new Listeners()
    const trail = options.auditLog ? new AuditTrail(auditModel(options.auditLog), onAuditLost) : null
    const onEvent: OnEvent = (name, payload) => {
      trail?.record(name, payload)
      return listeners.tell(name, payload)
    }
    const emit = emitter(onEvent)
    const throttle = throttleOf(options, emit, runtime)
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
    const boundAuth = auth && inRuntime(runtime, auth)
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
            "Signing in needs a secret: initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } }); make one with `node -e \"console.log(require('crypto').randomBytes(32).toString('base64url'))\"`.",
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
      run: (fn) => enterRuntime(runtime, async () => await fn()) as never,
      enter: (fn) => enterRuntime(runtime, fn),
      async close() {
        await (auth ?? trail)?.settled()
        runtime.end()
        forgetAdapters(runtime)
        await hasher.close?.()
      },
    }
    current.set(runtime, perms)
    return perms
  } catch (error) {
    runtime.end()
    throw error
  }
}

// Models that are known by then: those of initPerms, of the library, and those that were used or related to one that was.
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
  ) as unknown as Record<string, typeof Model>
}

function refuseSecondObjection(options: PermsOptions): void {
  const bases = { user: User, userRole: UserRole, token: Token, domain: Domain, userSetting: UserSetting }
  for (const [kind, cls] of Object.entries(given(options))) {
    if (!(cls.prototype instanceof Model)) {
      throw new ConfigurationError(
        `initPerms({ ${kind}: ${cls.name} }): the class is made with another copy of Objection than the library's; keep one (npm ls objection).`,
      )
    }
    const Base = bases[kind as keyof typeof bases] as unknown as typeof Model
    if (kind !== 'user' && cls !== Base && !(cls.prototype instanceof Base))
      throw new ConfigurationError(`initPerms({ ${kind}: ${cls.name} }): the class must extend ${Base.name}.`)
  }
}

// What auth does belongs to its runtime, whatever the context of its caller.
function inRuntime<T extends object>(runtime: Runtime, api: T): T {
  const bound = Object.entries(api).map(([name, value]) => {
    if (typeof value === 'function') return [name, (...args: unknown[]) => enterRuntime(runtime, () => Reflect.apply(value, api, args))]
    return [name, typeof value === 'object' && value !== null ? inRuntime(runtime, value as object) : value]
  })
  return Object.fromEntries(bound) as T
}

// Objection keeps classes bound to a Knex by their names: after a reload there are other classes with these names.
function forgetBoundModels(knex: Knex): void {
  ;(knex as { $$objection?: { boundModels?: Map<string, unknown> } }).$$objection?.boundModels?.clear()
}

function auditModel(given: true | typeof AuditLog): typeof AuditLog {
  const model = given === true ? AuditLog : given
  if (model !== AuditLog && !(model.prototype instanceof AuditLog))
    throw new ConfigurationError(`initPerms({ auditLog: ${model.name} }): the class must extend AuditLog.`)
  definitionOf(model)
  return model
}

// Nothing else hears of it: what is missing in the log must show somewhere.
function onAuditLost(error: unknown): void {
  console.error('objection-perms: an event could not be written into the audit log:', error instanceof Error ? error.message : error)
}

function throttleOf({ throttle, knex }: PermsOptions, emit: ReturnType<typeof emitter>, runtime: Runtime): Throttle {
  if (throttle === false) return unlimited
  return throttle && 'begin' in throttle ? throttle : createThrottle(throttle ?? {}, { knex, emit, scope: () => runtime.scope() })
}

// Guessing the old password counts as guessing at sign-in.
function throttledProof(throttle: Throttle): Parameters<typeof registerOldPasswordCheck>[1] {
  return async (row, verify) => {
    if (inTransaction()) {
      throw new ValidationError('The old password cannot be checked inside a transaction or with If-Match: send the change alone.', [
        { field: 'oldPassword', message: 'cannot be checked inside a transaction' },
      ])
    }
    const attempt = await throttle.begin('signIn', { account: (row as User).email, address: currentAddress() })
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

  // What one of them throws keeps the others from nothing. They run as the caller, without the powers of what told them.
  readonly tell: OnEvent = (name, payload) =>
    Promise.allSettled([...(this.#known.get(name) ?? [])].map((listener) => runAsActor(currentActor(), () => listener(payload as never))))
}

function mapError(error: unknown, knex: Knex): unknown {
  if (error instanceof PermsError) return error
  const known = mapObjectionError(error)
  return known === error ? mapDatabaseError(error, dialectOf(knex)) : known
}
