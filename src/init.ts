import type { Knex } from 'knex'
import { AuditTrail } from './auth/audit-trail.js'
import { type Auth, type CallerCacheControl, createAuth, remembering } from './auth/auth.js'
import { emitter, type OnEvent } from './auth/events.js'
import { providerSettings } from './auth/flows/providers/options.js'
import { assertRetention, type MaintainedParts, maintain } from './auth/maintenance.js'
import { bcryptHasher } from './auth/passwords/bcrypt-hasher.js'
import { registerBreachFailures } from './auth/passwords/breached-range.js'
import { LegacyHasher } from './auth/passwords/legacy/legacy-hasher.js'
import { assertPasswordPolicy, checkPasswordPolicy } from './auth/passwords/password-policy.js'
import { resolveThrottle } from './auth/throttle/throttle.js'
import { DEFAULT_REFRESH_LIFE } from './auth/tokens/key-set.js'
import { registerLegacyTokens } from './auth/tokens/legacy-tokens.js'
import { setRememberedCallers } from './auth/tokens/remembered-callers.js'
import { ConfigurationError, PermsError } from './core/errors.js'
import { assertKnownOptions } from './core/known-options.js'
import { Languages } from './core/messages/languages.js'
import { assertPackageInstalled } from './core/optional-package.js'
import { registerLockTable } from './database/cluster-lock.js'
import { prepareConnections } from './database/connections.js'
import { mapDatabaseError } from './database/errors/database-errors.js'
import { registerLibraryTables } from './database/errors/missing-tables.js'
import { mapObjectionError } from './database/errors/objection-errors.js'
import { mapIdentifiers } from './database/identifiers.js'
import { outsideTransaction } from './database/transaction.js'
import { selfCheck } from './enforce/self-check.js'
import { tokenReader } from './http/caller/authorization.js'
import { type CookieSettings, cookieSettings } from './http/caller/cookies.js'
import { readNeededTypes } from './http/crud/existing/table-types.js'
import { startCoverageOfEnvironment } from './insight/coverage/coverage.js'
import { StartCheck } from './migrate/table-check.js'
import { migrate } from './migrations.js'
import { currentAddress, noteAdapterMade, setOutsideContext } from './policy/context.js'
import { declareRoles } from './policy/declared-roles.js'
import type { StepUpRule } from './policy/fresh-session.js'
import { assertRolesOf } from './policy/policy.js'
import { libraryTable, registerModels } from './policy/registered-models.js'
import { setTableCheck } from './query/execution/table-check.js'
import { inspectPlainClasses } from './query/inspection/plain-classes.js'
import { keepTablesProtected, protectedTables } from './query/inspection/protected-tables.js'
import { findUnguarded } from './query/inspection/unguarded.js'
import { forgetBoundModels } from './query/objection-internals.js'
import { forgetRelations } from './record/model-relations.js'
import { assertRelations } from './record/relations.js'
import { enterRuntime, forgetAdapters, installForProcess, type Runtime, startRuntime } from './runtime.js'
import { definitionOf } from './schema/definition/definition.js'
import { modelClass } from './schema/model-class.js'
import { dialectOf } from './schema/storage.js'
import { bindToRuntime } from './setup/bind-to-runtime.js'
import { Listeners } from './setup/listeners.js'
import { throttledProof } from './setup/old-password.js'
import { permsOptionNames } from './setup/option-names.js'
import { auditModel, declaredModels, lifecycleOptions, type PermsOptions, stepUpRule } from './setup/options.js'
import { type Perms, setPerms } from './setup/perms.js'
import { warnOfProviderSignUp } from './setup/provider-sign-up-warning.js'
import { warnOfUnguarded } from './setup/unguarded-warning.js'
import { warnOfUserRows } from './setup/user-rows-warning.js'
import { onAccountChange } from './users/account/account-changes.js'
import { assertIdentifiers } from './users/account/identifiers.js'
import { registerOldPasswordCheck } from './users/account/old-password.js'
import type { PasswordHasher } from './users/account/password-hasher.js'
import { registerPasswords } from './users/account/passwords.js'
import { setAuditModel } from './users/audit/audited-rows.js'
import { onCallerChange } from './users/caller/caller-changes.js'
import { registerUserEvents } from './users/events.js'
import { assertFreesEmail } from './users/lifecycle/freed-identifiers.js'
import { registerUserData } from './users/lifecycle/user-data.js'
import { assertModelClasses, given } from './users/registration.js'
import { libraryTables } from './users/tables/migration-tables.js'
import { requireDomains } from './users/user-role.js'
import './users/defaults.js'

/**
 * Sets up the library for one database. Another call with the same Knex instance replaces the first one; if it throws, the first one
 * stays in effect. Calls with other databases add a runtime each, see `perms.run()`.
 *
 * @returns the Perms object, which adapters take
 * @throws ConfigurationError for a missing or short secret, a second copy of this package or of Objection, and invalid options
 * @example const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } })
 */
export function initPerms(options: PermsOptions): Perms {
  assertKnownOptions(options, permsOptionNames, 'initPerms')
  const { knex } = options
  if (typeof knex !== 'function' || !knex.client)
    throw new ConfigurationError('initPerms({ knex }): knex must be a Knex instance, made with Knex({ client, connection }).')
  assertModelClasses(options, 'initPerms')
  assertPasswordPolicy(options.passwords)
  assertRetention(options.auditRetention)
  const stepUp = stepUpRule(options.stepUp)
  const languages = new Languages(options)
  tokenReader(options.jwt?.schemes) // checks the names
  const cookies = cookieSettings(options.cookies, options.jwt?.refreshTokenExpires ?? DEFAULT_REFRESH_LIFE)
  const hasher = hasherOf(options)
  if (options.tables?.schema !== undefined && dialectOf(knex) === 'sqlite')
    throw new ConfigurationError('initPerms({ tables: { schema } }): SQLite has no schemas. Use tables.prefix.')
  if (!['warn', 'refuse', undefined].includes(options.checkTables))
    throw new ConfigurationError(`initPerms({ checkTables: ${JSON.stringify(options.checkTables)} }): use 'warn' or 'refuse'.`)
  assertPackages(options)
  const runtime = startRuntime(knex, options.name)
  try {
    // A hasher of the application may be used again in its next runtime.
    if (!options.passwordHasher) runtime.onEnd(() => void hasher.close?.())
    prepareDatabase(runtime, options)
    const models = prepareModels(runtime, options, hasher)
    const signIn = startSignIn(runtime, options, hasher, languages)
    const perms = permsOf(runtime, options, { models, cookies, stepUp, hasher, languages, ...signIn })
    if (options.checkTables !== undefined) addTableCheck(runtime, perms, options.checkTables)
    setPerms(runtime, perms)
    runtime.confirm()
    startCoverageOfEnvironment(declaredModels(options))
    return perms
  } catch (error) {
    runtime.abandon()
    throw error
  }
}

function assertPackages({ passkeys, providers }: PermsOptions): void {
  if (passkeys) assertPackageInstalled('@simplewebauthn/server', 'initPerms({ passkeys })')
  if (providers) assertPackageInstalled('openid-client', 'initPerms({ providers })')
}

function hasherOf({ passwords: { cost, legacy = [] } = {}, passwordHasher }: PermsOptions): PasswordHasher {
  const hasher = passwordHasher ?? bcryptHasher({ cost })
  return legacy.length === 0 ? hasher : new LegacyHasher(hasher, legacy)
}

/** Changes Knex and Objection for the runtime. */
function prepareDatabase(runtime: Runtime, { knex, namedStatements }: PermsOptions): void {
  runtime.install(() => () => keepTablesProtected(knex))
  runtime.install(() => () => forgetBoundModels(knex))
  runtime.install(() => prepareConnections(knex, namedStatements === undefined ? {} : { namedStatements }))
  runtime.install(() => mapIdentifiers(knex))
  // A failed initPerms() call may have bound the relations to other classes.
  runtime.install(() => {
    forgetRelations()
    return () => undefined
  })
  // Objection's own classes are shared by the whole process.
  installForProcess(inspectPlainClasses)
}

/** Registers and checks the models, and what their code reads from the runtime. */
function prepareModels(runtime: Runtime, options: PermsOptions, hasher: PasswordHasher): Perms['models'] {
  const models = registerModels(given(options), options.tables, options.ids) as Perms['models']
  assertIdentifiers(models.user)
  assertFreesEmail(modelClass(models.user))
  registerUserData(runtime, declaredModels(options))
  registerLibraryTables(libraryTables())
  registerLockTable(libraryTable('throttle'))
  registerPasswords(runtime, {
    hasher,
    check: (password, identifiers) => checkPasswordPolicy(password, { ...options.passwords, identifiers }),
  })
  requireDomains(runtime, options.domains === 'required')
  declareRoles(runtime, options.roles)
  setOutsideContext(runtime, options.outsideContext)
  for (const model of [...Object.values(models), ...(options.models ?? [])]) definitionOf(model)
  for (const model of options.models ?? []) assertRelations(model)
  enterRuntime(runtime, () => {
    selfCheck()
    if (options.roles) for (const model of [...Object.values(models), ...(options.models ?? [])]) assertRolesOf(modelClass(model))
  })
  return models
}

/** The parts of an application that sign users in and report events. */
interface SignInParts {
  readonly listeners: Listeners
  readonly trail: AuditTrail | null
  /** Null without `initPerms({ jwt })`. */
  readonly auth: (Auth & CallerCacheControl) | null
}

function startSignIn(runtime: Runtime, options: PermsOptions, hasher: PasswordHasher, languages: Languages): SignInParts {
  const { knex, jwt, cacheCallers, rememberCallers, loadUser, mail, codes, secondFactor, passkeys } = options
  const providers = providerSettings(options.providers, options.providerSignIn)
  const lifecycle = lifecycleOptions(options, stepUpRule(options.stepUp))
  const listeners = new Listeners()
  const trail = options.auditLog ? new AuditTrail(auditModel(options.auditLog), onAuditLost) : null
  if (trail) setAuditModel(runtime, trail.model)
  const onEvent: OnEvent = (name, payload) => {
    trail?.record(name, payload)
    return listeners.emit(name, payload)
  }
  const emit = emitter(onEvent)
  const throttle = resolveThrottle(options.throttle ?? {}, { knex, emit, scope: () => runtime.scope() })
  registerOldPasswordCheck(runtime, throttledProof(throttle))
  const parts = {
    knex,
    hasher,
    throttle,
    onEvent,
    trail: trail ?? undefined,
    cacheCallers,
    rememberCallers,
    mail,
    codes,
    languages,
    secondFactor,
    providers,
    passkeys,
    loadUser,
    runtime,
    lifecycle,
    newPlaces: options.newPlaces,
  }
  const auth = jwt ? createAuth({ ...parts, jwt }) : null
  setRememberedCallers(runtime, auth?.[remembering] ?? null)
  registerLegacyTokens(runtime, jwt)
  registerBreachFailures(runtime, (reason, isAccepted) => emit('breachCheckFailed', { reason, isAccepted, address: currentAddress() }))
  registerUserEvents(runtime, (name, payload) => {
    auth?.forget({ userId: payload.userId })
    emit(name, payload as never)
  })
  if (auth && mail?.notices) onAccountChange(runtime, (change) => auth.noteAccountChange(change))
  if (cacheCallers !== undefined) onCallerChange(runtime, (change) => auth?.forget(change))
  return { listeners, trail, auth }
}

interface PermsParts extends SignInParts {
  readonly models: Perms['models']
  readonly cookies: CookieSettings | undefined
  readonly stepUp: StepUpRule | undefined
  readonly hasher: PasswordHasher
  readonly languages: Languages
}

function permsOf(runtime: Runtime, options: PermsOptions, parts: PermsParts): Perms {
  const { models, cookies, stepUp, hasher, languages, listeners, trail, auth } = parts
  const { knex } = options
  const boundAuth = auth && bindToRuntime(runtime, auth)
  const schemes = [...(options.jwt?.schemes ?? [])]
  let isUnguardedListed = false
  const perms: Perms = {
    knex,
    models,
    options: {
      accessDenied: options.accessDenied ?? 404,
      cookies,
      schemes,
      models: declaredModels(options),
      stepUp,
      languages,
      rememberMe: options.jwt?.rememberMe,
      passkeys: options.passkeys !== undefined,
    },
    get auth() {
      if (!boundAuth)
        throw new ConfigurationError(
          "Signing in needs a secret: initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } }). Create one with `node -e \"console.log(require('crypto').randomBytes(32).toString('base64url'))\"`.",
        )
      return boundAuth
    },
    migrate: () => enterRuntime(runtime, () => migrate(knex)),
    ready: () => enterRuntime(runtime, readNeededTypes),
    maintain: (given) => enterRuntime(runtime, () => outsideTransaction(() => maintain(maintainedParts(options, auth), given))),
    deleteDueAccounts: (given) => perms.auth.accountDeletion.deleteDue(given),
    on: (name, listener) => listeners.add(name, listener),
    authenticate: (token) => perms.auth.authenticate(token),
    deriveKey: (purpose) => perms.auth.deriveKey(purpose),
    noteAdapter() {
      void perms.auth
      noteAdapterMade(runtime)
      if (!isUnguardedListed) setImmediate(() => warnAtStart(perms, runtime, options))
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
  return perms
}

function maintainedParts({ knex, throttle, auditLog, auditRetention }: PermsOptions, auth: Auth | null): MaintainedParts {
  const countsInDatabase = typeof throttle === 'object' && 'store' in throttle && throttle.store === 'database'
  return {
    knex,
    countsInDatabase,
    auditModel: auditModel(auditLog || true),
    auditRetention,
    deleteDueAccounts: auth?.accountDeletion.deleteDue,
  }
}

function warnAtStart(perms: Perms, runtime: Runtime, options: PermsOptions): void {
  warnOfUserRows(runtime)
  warnOfProviderSignUp(runtime, options)
  void warnOfUnguarded(perms, runtime)
}

/** Adds the check of the tables to the object. The check begins after initPerms(). */
function addTableCheck(runtime: Runtime, perms: Perms, mode: 'warn' | 'refuse'): void {
  const check = new StartCheck(perms, runtime, mode)
  if (mode === 'refuse') setTableCheck(runtime, (knex) => check.pass(knex))
  check.start()
  const { migrate: run, close } = perms
  perms.migrate = () => check.aroundMigrations(run)
  perms.close = async () => {
    await check.close()
    await close()
  }
}

// Nothing else reports an error of the audit log.
function onAuditLost(error: unknown): void {
  console.error('objection-perms: an event could not be written into the audit log:', error instanceof Error ? error.message : error)
}

function mapError(error: unknown, knex: Knex): unknown {
  if (error instanceof PermsError) return error
  const known = mapObjectionError(error)
  return known === error ? mapDatabaseError(error, dialectOf(knex)) : known
}
