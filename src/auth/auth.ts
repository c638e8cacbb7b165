import type { Knex } from 'knex'
import {
  AccountDisabledError,
  ConfigurationError,
  InvalidCredentialsError,
  InvalidTokenError,
  PermsError,
  UnauthorizedError,
} from '../core/errors.js'
import { inTransaction } from '../database/transaction.js'
import { type Actor, currentActor, currentAddress } from '../policy/context.js'
import { tableOf } from '../schema/class-statics.js'
import { invalidField, requireText } from '../schema/text-input.js'
import { accountName } from '../users/account/identifiers.js'
import { looksLikeApiKey } from '../users/api-key-format.js'
import { requireRankOver } from '../users/caller/account-rank.js'
import { type ActorDetails, isActive, toActor, userIdOf } from '../users/caller/actor.js'
import type { CallerChange } from '../users/caller/caller-changes.js'
import { forbidApiKey } from '../users/caller/caller-restrictions.js'
import type { User } from '../users/user.js'
import type { AccessClaims, Auth, AuthOptions, SecondFactorAsked, SignedIn, SignInResult } from './auth-types.js'
import { Background } from './background.js'
import type { AuthCore } from './core.js'
import { type AuthEventName, type Emit, emitter } from './events.js'
import { forActiveCaller } from './flows/active-caller.js'
import {
  type Credentials,
  freshHash,
  readCredentials,
  signInIdentifiers,
  userClass,
  type Verdict,
  verifyCredentials,
  withLockedUser,
} from './flows/credentials.js'
import { assertImpersonator, impersonation } from './flows/impersonation.js'
import { importUsers } from './flows/import/import-users.js'
import { invitations } from './flows/invitations/invitations.js'
import { mailFlows } from './flows/mail/mail-flows.js'
import { MailService } from './flows/mail/mail-service.js'
import { members } from './flows/members.js'
import { registerUser } from './flows/register.js'
import { createSecondFactors } from './flows/second-factor/second-factor.js'
import { type Attempt, resolveThrottle } from './throttle/throttle.js'
import { apiKeys } from './tokens/api-keys.js'
import { CallerCache } from './tokens/caller-cache.js'
import { deriveKeys } from './tokens/derived-keys.js'
import { ACCESS_TOKEN_TYPE, signJwt, verifyJwt } from './tokens/jwt.js'
import { parseKeys, publicJwks } from './tokens/key-set.js'
import { LegacyTokens } from './tokens/legacy-tokens.js'
import { callerLoader, type SessionState } from './tokens/load-caller.js'
import { assertOwnUser, Sessions } from './tokens/sessions.js'

export type { AccessClaims, Auth, AuthOptions, SecondFactorAsked, SignedIn, SignInResult } from './auth-types.js'

const DEFAULT_ABSOLUTE_LIFETIME = 7_776_000
const MAX_REFRESH_TOKEN = 4096

/** Events that make cached callers of the user stale. */
const endsSessions = new Set<AuthEventName>([
  'signOut',
  'tokenReused',
  'impersonationStopped',
  'passwordReset',
  'emailChanged',
  'accessRevoked',
])

/** Lets initPerms drop cached callers when users, roles, domains or tokens change outside this API. */
export interface CallerCacheControl {
  forget(change: CallerChange): void
}

/**
 * Creates `perms.auth`. initPerms calls it after it has registered the models.
 *
 * @throws ConfigurationError for invalid keys or times
 * @example const auth = createAuth({ knex, jwt: { secret }, hasher: bcryptHasher() })
 */
export function createAuth(options: AuthOptions): Auth & CallerCacheControl {
  const { knex, hasher, loadUser, runtime } = options
  const keys = parseKeys(options.jwt)
  const legacyTokens = options.jwt.legacyTokens && new LegacyTokens(knex, options.jwt.legacyTokens, keys)
  const load = callerLoader(knex)
  const cache = options.cacheCallers === undefined ? null : new CallerCache(options.cacheCallers, load)
  const emitToListeners = emitter(options.onEvent)
  const emit: Emit = (name, payload) => {
    if (endsSessions.has(name)) cache?.forget({ userId: (payload as { userId: string }).userId })
    emitToListeners(name, payload)
  }
  const throttle = resolveThrottle(options.throttle ?? false, { knex, emit })
  const sessions = new Sessions({ knex, keys, absoluteLife: absoluteLifeOf(options.jwt, keys.refreshTokenExpires), load, emit })

  function accessToken(user: User, sessionId: string, expiresIn = keys.accessTokenExpires): string {
    const claims = options.jwt.claims?.(user)
    const own = { sub: String(user.id), sid: String(sessionId), usr: tableOfUsers(), ...(runtime && { app: runtime.name }) }
    return signJwt(keys, { ...claims, ...own }, { expiresIn, typ: ACCESS_TOKEN_TYPE })
  }

  function verifyAccessToken(token: string): AccessClaims {
    const claims = verifyJwt(keys, token, { typ: ACCESS_TOKEN_TYPE })
    if (typeof claims.sid !== 'string' || claims.usr !== tableOfUsers()) throw new InvalidTokenError()
    const scope = runtime?.scope() ?? null
    if (scope !== null && claims.app !== scope) throw new InvalidTokenError()
    return claims as AccessClaims
  }

  const answer = (user: User, sessionId: string, refreshToken: string): SignedIn => ({
    status: 'signedIn',
    accessToken: accessToken(user, sessionId),
    refreshToken,
    expiresIn: keys.accessTokenExpires,
    user,
  })

  /** Verifies credentials under the throttle. If the password is correct, the caller must end `attempt`. */
  async function verify(credentials: Credentials): Promise<Verdict & { attempt: Attempt }> {
    const attempt = await throttle.begin('signIn', {
      account: accountName(credentials.identifier, credentials.value),
      address: currentAddress(),
    })
    try {
      return { ...(await verifyCredentials(hasher, credentials)), attempt }
    } catch (error) {
      await attempt.withdrawn()
      throw error
    }
  }

  function noteFailure({ identifier, value }: Credentials, user: User | null, reason: 'credentials' | 'disabled'): void {
    const named = { email: identifier === 'email' ? value : '', account: accountName(identifier, value) }
    emit('signInFailed', { userId: user?.id ?? null, ...named, reason, address: currentAddress() })
  }

  const background = new Background()
  const core: AuthCore = {
    background,
    accessToken,
    mailService: options.mail === undefined ? null : new MailService(options.mail),
    knex,
    keys,
    hasher,
    throttle,
    sessions,
    emit,
    load,
    async completeSignIn(user, { device, rehashed = null } = {}) {
      if (!isActive(user)) throw new AccountDisabledError()
      await factors.prepare()
      return await startSession(user, rehashed, device, () => factors.createChallenge(user))
    },
    async startSession(user, { device, rehashed = null } = {}) {
      if (!isActive(user)) throw new AccountDisabledError()
      return await startSession(user, rehashed, device, async () => null)
    },
    assertNoTransaction: (name) => assertNoTransaction(knex, name),
  }
  const factors = createSecondFactors(core, options.secondFactor)
  const { authenticate: apiKeyDoor, ...ownKeys } = apiKeys(core)

  async function startSession(
    user: User,
    rehashed: string | null,
    device: string | undefined,
    ask: () => Promise<SecondFactorAsked | null>,
  ) {
    const entered = await withLockedUser(knex, user, rehashed, async () => (await ask()) ?? (await sessions.start(user, 'refresh', device)))
    if (!entered || 'status' in entered) return entered
    const signedIn = (await sessions.findActive(entered.sessionId)).user
    emit('signIn', { userId: user.id, sessionId: entered.sessionId, address: currentAddress() })
    return answer(signedIn, entered.sessionId, entered.refreshToken)
  }

  async function authenticateKey(plain: string): Promise<Actor> {
    const { user, session } = await apiKeyDoor(plain)
    const details = { sessionId: session.id, abilities: session.abilities ?? [], keyMadeAt: session.createdAt ?? null }
    if (!loadUser) return toActor(user, details)
    return toActor(await loadApplicationUser({ sub: String(user.id), usr: tableOfUsers(), key: session.id }), details)
  }

  async function authenticateLegacy(legacy: LegacyTokens, token: string): Promise<Actor> {
    const { user, session } = await legacy.findActive(token)
    if (!loadUser) return toActor(user, detailsOf(session))
    const claims = { sub: String(user.id), usr: tableOfUsers(), legacy: session.id }
    return toActor(await loadApplicationUser(claims), detailsOf(session))
  }

  // Calls loadUser() of the application. The session or API key has been checked already.
  async function loadApplicationUser(claims: Record<string, unknown>): Promise<User> {
    const user = await loadUser?.(claims)
    if (!user || !isActive(user)) throw new InvalidTokenError()
    assertOwnUser(user)
    if (!Array.isArray(user.roles)) await user.loadRoles()
    return user
  }

  async function signInWith(credentials: Credentials, device: string | undefined): Promise<SignInResult> {
    for (let tries = 0; tries < 3; tries += 1) {
      const { user, isRight, attempt } = await verify(credentials)
      if (!user || !isRight) {
        noteFailure(credentials, user, 'credentials')
        throw new InvalidCredentialsError()
      }
      if (!isActive(user)) {
        await attempt.succeeded()
        noteFailure(credentials, user, 'disabled')
        throw new AccountDisabledError()
      }
      const rehashed = await freshHash(hasher, user.passwordHash as string, credentials.password)
      const result = await core.completeSignIn(user, { device, rehashed }).catch(async (error: unknown) => {
        // The password was correct but the database failed: do not count the attempt.
        await attempt.withdrawn()
        throw error
      })
      // With a second factor to come, the attempt still counts: a correct password must not reset the limit on wrong codes.
      if (result?.status === 'secondFactor') await attempt.withdrawn()
      else await attempt.succeeded()
      // The row changed while the password was verified: a concurrent sign-in rehashed it, or the password was changed. Try again.
      if (result) return result
    }
    throw new InvalidCredentialsError()
  }

  return {
    async signIn(given) {
      assertNoTransaction(knex, 'signIn')
      const credentials = readCredentials(given)
      return await signInWith(credentials, typeof given.device === 'string' ? given.device : undefined)
    },

    async register(values, { role } = {}) {
      assertNoTransaction(knex, 'register')
      const attempt = await throttle.begin('registration', { address: currentAddress() })
      try {
        const user = await registerUser(knex, values, role)
        emit('registered', { userId: user.id })
        return user
      } catch (error) {
        if (!(error instanceof PermsError) || error.status >= 500) await attempt.withdrawn()
        throw error
      }
    },

    importUsers: importUsers(core),

    async checkPassword(email, password) {
      assertNoTransaction(knex, 'checkPassword')
      const [first = 'email'] = signInIdentifiers()
      const credentials = readCredentials({ [first]: email, password })
      const { user, isRight, attempt } = await verify(credentials)
      if (!user || !isRight) {
        noteFailure(credentials, user, 'credentials')
        return null
      }
      await attempt.succeeded()
      if (!isActive(user)) return null
      return await user.loadRoles()
    },

    async createAccessToken(user, { refreshToken } = {}) {
      forbidApiKey('Tokens and sessions')
      assertOwnUser(user)
      if (refreshToken === undefined)
        return accessToken(user, (await forActiveCaller(knex, user.id, () => sessions.start(user, 'access'))).sessionId)
      const sessionId = sessions.sessionIdOf(refreshToken)
      const { session } = await sessions.findActive(sessionId ?? '')
      if (session.userId !== user.id) throw new InvalidTokenError()
      return accessToken(user, session.id)
    },

    async createRefreshToken(user, { device } = {}) {
      forbidApiKey('Tokens and sessions')
      assertOwnUser(user)
      return (await forActiveCaller(knex, user.id, () => sessions.start(user, 'refresh', device))).refreshToken
    },

    verifyAccessToken,

    async refresh(refreshToken) {
      assertNoTransaction(knex, 'refresh')
      readRefreshToken(refreshToken)
      const attempt = await throttle.begin('refresh', { address: currentAddress() })
      try {
        const { caller, refreshToken: next } = await sessions.rotate(refreshToken)
        await attempt.succeeded()
        return answer(caller.user, caller.session.id, next)
      } catch (error) {
        if (!(error instanceof InvalidTokenError)) await attempt.withdrawn()
        throw error
      }
    },

    async signOut() {
      assertNoTransaction(knex, 'signOut')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      if (!actor.sessionId) {
        throw new ConfigurationError('signOut() ends the session of an access token, and runAs() has none: use signOutEverywhere(user).')
      }
      await sessions.end({ userId: actor.id, id: actor.sessionId })
      emit('signOut', { userId: actor.id, sessionIds: [actor.sessionId] })
    },

    async signOutEverywhere(user, { except } = {}) {
      assertNoTransaction(knex, 'signOutEverywhere')
      forbidApiKey('Sessions')
      const userId = userIdOf(user)
      await requireRankOver(userId)
      const count = await sessions.end({ userId, except })
      emit('signOut', { userId, sessionIds: 'all' })
      return count
    },

    sessions: (user) => sessions.list(userIdOf(user)),

    async endSession(user, sessionId) {
      assertNoTransaction(knex, 'endSession')
      forbidApiKey('Sessions')
      const userId = userIdOf(user)
      await requireRankOver(userId)
      if ((await sessions.end({ userId, id: sessionId })) === 0) return false
      emit('signOut', { userId, sessionIds: [sessionId] })
      return true
    },

    async authenticate(token) {
      if (looksLikeApiKey(token)) return await authenticateKey(token)
      let claims: AccessClaims
      try {
        claims = verifyAccessToken(token)
      } catch (error) {
        if (!legacyTokens || !(error instanceof InvalidTokenError)) throw error
        return await authenticateLegacy(legacyTokens, token)
      }
      const { user: loaded, session } = await sessions.findActive(claims.sid, cache?.load)
      // Text equality: each id has one spelling.
      if (claims.sub !== String(loaded.id)) throw new InvalidTokenError()
      if (session.impersonatorId) await assertImpersonator(sessions, session, loaded)
      if (!loadUser) return toActor(loaded, detailsOf(session))
      return toActor(await loadApplicationUser(claims), detailsOf(session))
    },

    jwks: () => publicJwks(keys),

    deriveKey: (purpose) => deriveKeys(keys, [purpose, runtime?.scope() ?? []].flat().join(' of '))[0],

    forget: (change) => cache?.forget(change),

    apiKeys: ownKeys,
    async settled(seconds) {
      await background.settled(seconds)
      await options.trail?.settled(seconds)
    },
    mail: mailFlows(core),
    secondFactors: factors.secondFactors,
    invitations: invitations(core),
    members: members(),
    impersonation: impersonation(core),
  }
}

function detailsOf({ id, impersonatorId }: SessionState): ActorDetails {
  return { sessionId: id, impersonatorId }
}

function tableOfUsers(): string {
  return tableOf(userClass())
}

function readRefreshToken(given: unknown): void {
  if (requireText(given, 'refresh_token').length > MAX_REFRESH_TOKEN) throw invalidField('refresh_token', 'is too long')
}

// Single-use tokens and counters must survive a rollback of the application's transaction. Writing them on a second connection
// would block when the pool has only one.
function assertNoTransaction(knex: Knex, name: string): void {
  if (!inTransaction(knex)) return
  throw new ConfigurationError(
    `auth.${name}() writes counters and single-use tokens, which must not be rolled back: call it outside transaction().`,
  )
}

function absoluteLifeOf({ sessionExpires }: AuthOptions['jwt'], refreshTokenExpires: number): number {
  if (sessionExpires === undefined) return Math.max(DEFAULT_ABSOLUTE_LIFETIME, refreshTokenExpires)
  if (Number.isInteger(sessionExpires) && sessionExpires > 0) return sessionExpires
  throw new ConfigurationError(`jwt.sessionExpires: ${sessionExpires}: must be a whole number of seconds, 1 or more.`)
}
