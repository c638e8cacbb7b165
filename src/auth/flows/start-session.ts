import { AccountDisabledError } from '../../core/errors.js'
import { currentAddress } from '../../policy/context.js'
import { isActive } from '../../users/caller/actor.js'
import type { User } from '../../users/user.js'
import type { SecondFactorAsked, SignedIn, SignInResult } from '../auth-types.js'
import type { AuthCore } from '../core.js'
import type { ShownSession } from '../tokens/access-tokens.js'
import type { NewSession } from '../tokens/sessions.js'
import { withLockedUser } from './credentials.js'

export interface StartOptions extends Pick<NewSession, 'device' | 'life' | 'authTime'> {
  /** How the user proved to be present: names of RFC 8176, and 'mail' and 'recovery'. */
  readonly amr: readonly string[]
  /** Replaces the stored hash in the same transaction. */
  readonly rehashed?: string | null | undefined
  /** Runs before the session starts, in the transaction that has locked the user's row. An error refuses the sign-in. */
  readonly whileLocked?: (() => Promise<void>) | undefined
  /** The token of a trusted device, which replaces the second factor. Give it after the user's password was verified. */
  readonly deviceToken?: string | undefined
  /** Whether to make the device trusted. Set it after the user's second factor was verified. */
  readonly trustDevice?: boolean | undefined
}

/**
 * Completes a sign-in after the first factor: starts a session, or returns a challenge when the user has a second factor.
 *
 * @returns null when the user's row changed since it was read
 * @throws AccountDisabledError
 */
export async function completeSignIn(core: AuthCore, user: User, options: StartOptions): Promise<SignInResult | null> {
  if (!isActive(user)) throw new AccountDisabledError()
  await core.challenges.prepare()
  const { deviceToken, rehashed = null } = options
  const isTrusted =
    core.devices.mayBeToken(deviceToken) && (await core.tables()).trustedDevices
      ? () => core.devices.recognise(user, deviceToken, rehashed)
      : async () => false
  return await start(core, user, options, async () => ((await isTrusted()) ? null : await core.challenges.create(user, options)))
}

/**
 * Starts a session after all factors.
 *
 * @returns null when the user's row changed since it was read
 * @throws AccountDisabledError
 */
export async function startSession(core: AuthCore, user: User, options: StartOptions): Promise<SignInResult | null> {
  if (!isActive(user)) throw new AccountDisabledError()
  return await start(core, user, options, async () => null)
}

/** Returns the result of a sign-in or a refresh, with a new access token. */
export function signedIn({ accessTokens }: AuthCore, user: User, session: ShownSession, refreshToken: string): SignedIn {
  const accessToken = accessTokens.create(user, session)
  return { status: 'signedIn', accessToken, refreshToken, expiresIn: accessTokens.lifetime, user }
}

async function start(
  core: AuthCore,
  user: User,
  { rehashed = null, trustDevice, deviceToken: _, whileLocked, ...session }: StartOptions,
  challenge: () => Promise<SecondFactorAsked | null>,
): Promise<SignInResult | null> {
  const { knex, sessions, emit } = core
  const started = await withLockedUser(knex, user, rehashed, async () => {
    await whileLocked?.()
    const asked = await challenge()
    if (asked) return asked
    const trust = trustDevice ? await core.devices.trust(user, session.device) : null
    return { ...(await sessions.start(user, 'refresh', session)), trust }
  })
  if (!started || 'status' in started) return started
  const { user: loaded, session: stored } = await sessions.findActive(started.sessionId)
  emit('signIn', { userId: user.id, sessionId: started.sessionId, address: currentAddress() })
  core.newPlaces?.note(core, loaded, started.sessionId)
  if (started.trust) emit('deviceTrusted', { userId: user.id, address: currentAddress() })
  return { ...signedIn(core, loaded, stored, started.refreshToken), ...started.trust }
}
