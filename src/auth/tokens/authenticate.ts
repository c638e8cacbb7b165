import { InvalidTokenError } from '../../core/errors.js'
import type { Actor } from '../../policy/context.js'
import { assertRegisteredUser } from '../../policy/registered-models.js'
import { tableOf } from '../../schema/class-statics.js'
import { looksLikeApiKey } from '../../users/api-key-format.js'
import { type ActorDetails, isActive, toActor } from '../../users/caller/actor.js'
import type { User } from '../../users/user.js'
import type { AccessClaims, AuthOptions } from '../auth-types.js'
import { userClass } from '../flows/credentials.js'
import { assertImpersonator } from '../flows/impersonation.js'
import type { AccessTokens } from './access-tokens.js'
import type { ApiKeyAuthenticator } from './api-keys.js'
import type { CallerCache } from './caller-cache.js'
import { detailsOfKey, detailsOfSession } from './caller-details.js'
import type { LegacyTokens } from './legacy-tokens.js'
import type { RememberingLoaders } from './remembered-callers.js'
import type { Sessions } from './sessions.js'

/** The parts that authenticate() uses. */
export interface AuthenticateContext {
  readonly accessTokens: AccessTokens
  readonly sessions: Sessions
  readonly findApiKey: ApiKeyAuthenticator
  /** Undefined when no earlier scheme is accepted. */
  readonly legacyTokens: LegacyTokens | undefined
  /** Null when callers are not cached. */
  readonly cache: CallerCache | null
  /** The application's own query for users. */
  readonly loadUser: AuthOptions['loadUser']
}

/**
 * Returns the caller of an access token, a legacy token or an API key.
 *
 * @param loaders load callers so that they are remembered. Default: the cache, or the usual statement.
 * @throws InvalidTokenError
 */
export async function authenticate(context: AuthenticateContext, token: string, loaders?: RememberingLoaders): Promise<Actor> {
  if (looksLikeApiKey(token)) return await authenticateKey(context, token, loaders)
  let claims: AccessClaims
  try {
    claims = context.accessTokens.sharedClaims(token)
  } catch (error) {
    if (!context.legacyTokens || !(error instanceof InvalidTokenError)) throw error
    return await authenticateLegacy(context, context.legacyTokens, token)
  }
  const { cache, loadUser, sessions } = context
  const { user, session } = await sessions.findActive(claims.sid, loaders?.session ?? cache?.load)
  // Text equality: each id has one spelling.
  if (claims.sub !== String(user.id)) throw new InvalidTokenError()
  if (session.impersonatorId) await assertImpersonator(sessions, session, user)
  return loadUser
    ? await applicationActor(loadUser, structuredClone(claims), detailsOfSession(session))
    : toActor(user, detailsOfSession(session))
}

async function authenticateKey(
  { findApiKey, loadUser }: AuthenticateContext,
  plain: string,
  loaders: RememberingLoaders | undefined,
): Promise<Actor> {
  const { user, session } = await findApiKey(plain, loaders?.apiKey)
  const details = detailsOfKey(session)
  return loadUser ? await applicationActor(loadUser, claimsOf(user, { key: session.id }), details) : toActor(user, details)
}

async function authenticateLegacy({ loadUser }: AuthenticateContext, legacyTokens: LegacyTokens, token: string): Promise<Actor> {
  const { user, session } = await legacyTokens.findActive(token)
  const details = detailsOfSession(session)
  return loadUser ? await applicationActor(loadUser, claimsOf(user, { legacy: session.id }), details) : toActor(user, details)
}

// Calls loadUser() of the application. The session or API key has been checked already.
async function applicationActor(
  loadUser: NonNullable<AuthOptions['loadUser']>,
  claims: Record<string, unknown>,
  details: ActorDetails,
): Promise<Actor> {
  const user = await loadUser(claims)
  if (!user || !isActive(user)) throw new InvalidTokenError()
  assertRegisteredUser(user)
  if (!Array.isArray(user.roles)) await user.loadRoles()
  return toActor(user, details)
}

function claimsOf(user: User, credential: object): Record<string, unknown> {
  return { sub: String(user.id), usr: tableOf(userClass()), ...credential }
}
