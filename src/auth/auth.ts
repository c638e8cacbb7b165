import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { inTransaction } from '../database/transaction.js'
import { recent } from '../policy/session-rules.js'
import type { AccountChange } from '../users/account/account-changes.js'
import { AuditLog } from '../users/audit-log.js'
import type { CallerChange } from '../users/caller/caller-changes.js'
import type { Auth, AuthOptions } from './auth-types.js'
import { Background } from './background.js'
import type { AuthCore } from './core.js'
import { type AuthEventName, type Emit, emitter } from './events.js'
import { codeContext, codes } from './flows/codes/codes.js'
import { confirmFlow } from './flows/confirm.js'
import { impersonation } from './flows/impersonation.js'
import { importUsers } from './flows/import/import-users.js'
import { invitations } from './flows/invitations/invitations.js'
import { accountDeletions, DEFAULT_DELAY } from './flows/lifecycle/account-deletion.js'
import { exportData } from './flows/lifecycle/export-data.js'
import { mailFlows } from './flows/mail/mail-flows.js'
import { MailService } from './flows/mail/mail-service.js'
import { notifyOfAccountChange } from './flows/mail/notices.js'
import { members } from './flows/members.js'
import { NewPlaces } from './flows/new-places.js'
import { passkeyContext, passkeys } from './flows/passkeys/passkeys.js'
import { providers } from './flows/providers/providers.js'
import { registrationFlow } from './flows/register.js'
import { FactorChallenges } from './flows/second-factor/challenges.js'
import { factorContext, secondFactors } from './flows/second-factor/second-factor.js'
import { DeviceRegistry, trustedDevices } from './flows/second-factor/trusted-devices.js'
import { sessionFlows } from './flows/session-flows.js'
import { signInFlows } from './flows/sign-in.js'
import { SignInMethods } from './flows/sign-in-methods.js'
import { optionalTables } from './optional-tables.js'
import { resolveThrottle } from './throttle/throttle.js'
import { AccessTokens } from './tokens/access-tokens.js'
import { apiKeys } from './tokens/api-keys.js'
import { authenticate } from './tokens/authenticate.js'
import { CallerCache } from './tokens/caller-cache.js'
import { deriveKeys } from './tokens/derived-keys.js'
import { type KeySet, parseKeys, publicJwks } from './tokens/key-set.js'
import { LegacyTokens } from './tokens/legacy-tokens.js'
import { callerLoader } from './tokens/load-caller.js'
import { RememberedCallers } from './tokens/remembered-callers.js'
import { SessionLife } from './tokens/session-life.js'
import { Sessions } from './tokens/sessions.js'

export type { AccessClaims, Auth, AuthOptions, FactorName, SecondFactorAsked, SessionProof, SignedIn, SignInResult } from './auth-types.js'

/** Events that make cached callers of the user stale. */
const changesSessions = new Set<AuthEventName>([
  'signOut',
  'tokenReused',
  'impersonationStopped',
  'passwordReset',
  'emailChanged',
  'accessRevoked',
  'sessionConfirmed',
])

/** Lets initPerms drop cached callers when users, roles, domains or tokens change outside this API. */
export interface CallerCacheControl {
  forget(change: CallerChange): void
}

/** The key of the remembered callers. `perms.auth` does not show it. */
export const remembering: unique symbol = Symbol('remembered callers')

/** Lets initPerms register the callers that the HTTP layer may read for without a look-up. */
export interface CallerMemory {
  readonly [remembering]: RememberedCallers | null
}

/** Lets initPerms report changes of accounts that happen outside this API. */
export interface AccountChangeListener {
  noteAccountChange(change: AccountChange): void
}

/**
 * Creates `perms.auth`. initPerms calls it after it has registered the models.
 *
 * @throws ConfigurationError for invalid keys or times
 * @example const auth = createAuth({ knex, jwt: { secret }, hasher: bcryptHasher() })
 */
export function createAuth(options: AuthOptions): Auth & CallerCacheControl & AccountChangeListener & CallerMemory {
  const { loadUser, runtime, trail } = options
  const keys = parseKeys(options.jwt)
  const legacyTokens = options.jwt.legacyTokens && new LegacyTokens(options.knex, options.jwt.legacyTokens, keys)
  const load = callerLoader(options.knex)
  const cache = options.cacheCallers === undefined ? null : new CallerCache(options.cacheCallers, load)
  const core = createCore(options, keys, load, forgettingEmitter(options, cache))
  const { accessTokens, background, sessions } = core
  const factors = factorContext(core, options.secondFactor)
  const passkeyParts = passkeyContext(core, options.passkeys)
  const { authenticate: findApiKey, ...ownKeys } = apiKeys(core)
  const sentCodes = codeContext(core, options.codes)
  const context = { accessTokens, sessions, findApiKey, legacyTokens, cache, loadUser }
  // A user that the application loads has no fingerprint, and a cached caller needs no statement.
  const isRemembering = options.rememberCallers !== false && cache === null && loadUser === undefined

  return {
    ...signInFlows(core),
    ...sessionFlows(core),
    confirm: confirmFlow(factors, sentCodes, passkeyParts),
    register: registrationFlow(core),
    importUsers: importUsers(core),
    authenticate: (token) => authenticate(context, token),
    [remembering]: isRemembering
      ? new RememberedCallers(options.knex, accessTokens, (token, loaders) => authenticate(context, token, loaders))
      : null,
    verifyAccessToken: (token) => accessTokens.verify(token),
    jwks: () => publicJwks(keys),
    deriveKey: (purpose) => deriveKeys(keys, [purpose, runtime?.scope() ?? []].flat().join(' of '))[0],
    forget: (change) => cache?.forget(change),
    noteAccountChange: (change) => notifyOfAccountChange(core, change),
    async settled(seconds) {
      await background.settled(seconds)
      await trail?.settled(seconds)
    },
    apiKeys: ownKeys,
    mail: mailFlows(core),
    codes: codes(sentCodes),
    secondFactors: secondFactors(factors),
    providers: providers(core, options.providers),
    passkeys: passkeys(passkeyParts),
    devices: trustedDevices(core),
    invitations: invitations(core),
    members: members(),
    impersonation: impersonation(core),
    accountDeletion: accountDeletions(core),
    exportData: exportData(core),
  }
}

/** Creates the parts that the flows share. */
function createCore(options: AuthOptions, keys: KeySet, load: ReturnType<typeof callerLoader>, emit: Emit): AuthCore {
  const { knex, hasher, runtime } = options
  const life = new SessionLife(options.jwt, keys.refreshTokenExpires)
  const tables = optionalTables(knex)
  return {
    knex,
    keys,
    hasher,
    emit,
    background: new Background(),
    throttle: resolveThrottle(options.throttle ?? false, { knex, emit }),
    sessions: new Sessions({ knex, keys, life, load, emit }),
    life,
    accessTokens: new AccessTokens({ keys, claims: options.jwt.claims, showsProof: options.jwt.authTimeClaims === true, runtime }),
    challenges: new FactorChallenges(options.knex, { asksForPasskeys: options.passkeys?.secondFactor !== false }),
    devices: new DeviceRegistry(keys, options.secondFactor?.trustedDevices),
    signInMethods: new SignInMethods(tables),
    tables,
    lifecycle: { delay: DEFAULT_DELAY, proof: recent(300), ...options.lifecycle },
    auditModel: options.trail?.model ?? AuditLog,
    newPlaces: options.newPlaces ? new NewPlaces(deriveKeys(keys, 'places of users')[0]) : null,
    mailService: options.mail === undefined ? null : new MailService(options.mail, options.languages),
    assertNoTransaction: (name) => assertNoTransaction(knex, name),
  }
}

/** Returns an emitter that also drops cached callers whose sessions an event ended or raised. */
function forgettingEmitter({ onEvent }: AuthOptions, cache: CallerCache | null): Emit {
  const emitToListeners = emitter(onEvent)
  return (name, payload) => {
    if (changesSessions.has(name)) cache?.forget({ userId: (payload as { userId: string }).userId })
    emitToListeners(name, payload)
  }
}

// Single-use tokens and counters must survive a rollback of the application's transaction. Writing them on a second connection
// would block when the pool has only one.
function assertNoTransaction(knex: Knex, name: string): void {
  if (!inTransaction(knex)) return
  throw new ConfigurationError(
    `auth.${name}() writes counters and single-use tokens, which must not be rolled back: call it outside transaction().`,
  )
}
