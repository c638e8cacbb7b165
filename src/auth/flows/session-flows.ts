import { ConfigurationError, InvalidTokenError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { transaction } from '../../database/transaction.js'
import { currentActor, currentAddress } from '../../policy/context.js'
import { assertRegisteredUser } from '../../policy/registered-models.js'
import { invalidField, requireText } from '../../schema/text-input.js'
import { requireRankOver } from '../../users/caller/account-rank.js'
import { userIdOf } from '../../users/caller/actor.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { endTrustedDevices } from '../../users/trusted-device.js'
import type { User } from '../../users/user.js'
import type { Auth, SessionProof, SignedIn } from '../auth-types.js'
import type { AuthCore } from '../core.js'
import { withAttempt } from '../throttle/attempts.js'
import type { ShownSession } from '../tokens/access-tokens.js'
import type { SessionState } from '../tokens/load-caller.js'
import { forActiveCaller } from './active-caller.js'
import { signedIn } from './start-session.js'

const MAX_REFRESH_TOKEN = 4096

type CreatesTokens = 'createAccessToken' | 'createRefreshToken' | 'refresh'
type EndsSessions = 'signOut' | 'signOutEverywhere' | 'sessions' | 'endSession'

/** Returns the functions of `perms.auth` that start, refresh, list and end sessions. */
export function sessionFlows(core: AuthCore): Pick<Auth, CreatesTokens | EndsSessions> {
  return { ...tokenFlows(core), ...signOutFlows(core) }
}

function tokenFlows(core: AuthCore): Pick<Auth, CreatesTokens> {
  const { accessTokens, knex, sessions } = core
  return {
    async createAccessToken(user: User, { refreshToken, ...proof } = {}) {
      forbidApiKey(message('subject.tokens'))
      assertRegisteredUser(user)
      if (refreshToken !== undefined) return accessTokens.create(user, await sessionOf(core, user, refreshToken))
      const { sessionId } = await forActiveCaller(knex, user.id, () => sessions.start(user, 'access', proof))
      return accessTokens.create(user, { id: sessionId, ...shown(proof) })
    },

    async createRefreshToken(user: User, { device, ...proof } = {}) {
      forbidApiKey(message('subject.tokens'))
      assertRegisteredUser(user)
      return (await forActiveCaller(knex, user.id, () => sessions.start(user, 'refresh', { device, ...proof }))).refreshToken
    },

    async refresh(refreshToken) {
      core.assertNoTransaction('refresh')
      if (requireText(refreshToken, 'refresh_token').length > MAX_REFRESH_TOKEN)
        throw invalidField('refresh_token', message('field.tooLong'))
      return await refresh(core, refreshToken)
    },
  }
}

function signOutFlows(core: AuthCore): Pick<Auth, EndsSessions> {
  const { emit, sessions } = core
  return {
    async signOut() {
      core.assertNoTransaction('signOut')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      if (!actor.sessionId) {
        throw new ConfigurationError('signOut() ends the session of an access token, and runAs() has none: use signOutEverywhere(user).')
      }
      await sessions.end({ userId: actor.id, id: actor.sessionId })
      emit('signOut', { userId: actor.id, sessionIds: [actor.sessionId] })
    },

    async signOutEverywhere(user, { except } = {}) {
      core.assertNoTransaction('signOutEverywhere')
      forbidApiKey(message('subject.sessions'))
      const userId = userIdOf(user)
      await requireRankOver(userId)
      await transaction(() => endTrustedDevices(userId), { knex: core.knex })
      const count = await sessions.end({ userId, except })
      emit('signOut', { userId, sessionIds: 'all' })
      return count
    },

    sessions: (user) => sessions.list(userIdOf(user)),

    async endSession(user, sessionId) {
      core.assertNoTransaction('endSession')
      forbidApiKey(message('subject.sessions'))
      const userId = userIdOf(user)
      await requireRankOver(userId)
      if ((await sessions.end({ userId, id: sessionId })) === 0) return false
      emit('signOut', { userId, sessionIds: [sessionId] })
      return true
    },
  }
}

function shown({ amr, authTime }: SessionProof): Partial<ShownSession> {
  return amr || authTime ? { authTime: authTime === undefined ? new Date() : authTime, amr: amr ?? null } : {}
}

// Returns the user's active session with a refresh token.
async function sessionOf({ sessions }: AuthCore, user: User, refreshToken: string): Promise<SessionState> {
  const { session } = await sessions.findActive(sessions.sessionIdOf(refreshToken) ?? '')
  if (session.userId !== user.id) throw new InvalidTokenError()
  return session
}

async function refresh(core: AuthCore, refreshToken: string): Promise<SignedIn> {
  const attempt = await core.throttle.begin('refresh', { address: currentAddress() })
  const isFailure = (error: unknown) => error instanceof InvalidTokenError
  const { caller, refreshToken: next } = await withAttempt(attempt, isFailure, () => core.sessions.rotate(refreshToken))
  return signedIn(core, caller.user, caller.session, next)
}
