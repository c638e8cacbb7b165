import { ForbiddenError, InvalidTokenError, NotFoundError, UnauthorizedError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { transaction } from '../../database/transaction.js'
import { asSystem, currentActor, currentAddress } from '../../policy/context.js'
import type { UserId } from '../../policy/registered-types.js'
import { decodeId } from '../../schema/ids.js'
import { isActive, type RegisteredUser, type UserRow } from '../../users/caller/actor.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { isSuperadmin, Role } from '../../users/roles/roles.js'
import { hashToken, randomToken } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import type { SessionState } from '../tokens/load-caller.js'
import type { Sessions } from '../tokens/sessions.js'
import { tokens } from '../tokens/token-updates.js'
import { userClass } from './credentials.js'

const DEFAULT_LIFETIME = 900
const MAX_LIFETIME = 3600

/**
 * Lets superadmins act as another user for a limited time: `perms.auth.impersonation`. Every event names the superadmin. An
 * impersonation ends when its time is over, when the superadmin signs out, is demoted or disabled, and when the user becomes a
 * superadmin.
 */
export interface Impersonation {
  /**
   * Returns an access token for another user. The caller must be a signed-in superadmin. The token cannot change
   * passwords, addresses, roles, keys, factors, tokens, sessions or invitations, nor delete accounts or domains. It cannot be
   * refreshed.
   *
   * @param options `expiresIn` in seconds, at most 3600. Default: 900.
   * @throws ForbiddenError when the caller is not a superadmin or the user is one; NotFoundError for a missing or disabled user
   * @example const { accessToken } = await perms.auth.impersonation.start(user, { reason: 'ticket 4711', expiresIn: 600 })
   */
  start(
    user: UserRow | UserId,
    options?: { reason?: string | undefined; expiresIn?: number | undefined },
  ): Promise<{ accessToken: string; expiresIn: number; user: RegisteredUser }>
  /** Ends the current impersonation. @throws ForbiddenError when there is none */
  stop(): Promise<void>
}

export function impersonation(core: AuthCore): Impersonation {
  return {
    async start(target, { reason, expiresIn = DEFAULT_LIFETIME } = {}) {
      core.assertNoTransaction('impersonation.start')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      forbidApiKey(message('subject.impersonations'))
      if (!isSuperadmin(actor) || actor.sessionId === null) throw new ForbiddenError(message('impersonation.onlySuperadmin'))
      if (!Number.isInteger(expiresIn) || expiresIn < 1 || expiresIn > MAX_LIFETIME)
        throw new ValidationError(
          message('input.fieldSentence', { field: 'expiresIn', problem: message('field.oneToSeconds', { max: MAX_LIFETIME }) }),
          [{ field: 'expiresIn', message: message('field.oneTo', { max: MAX_LIFETIME }) }],
        )
      const id = decodeId(userClass(), typeof target === 'object' ? target?.id : target)
      const user = id === undefined ? null : await asSystem(() => userClass().get(id as string))
      if (!user || !isActive(user)) throw new NotFoundError()
      if (user.id === actor.id || user.hasRole(Role.SUPERADMIN)) throw new ForbiddenError(message('impersonation.ofSuperadmin'))
      const now = Date.now()
      const end = new Date(now + expiresIn * 1000)
      const values = {
        userId: user.id,
        kind: 'access',
        token: hashToken(randomToken()),
        description: `Impersonation${reason === undefined ? '' : `: ${reason}`}`.slice(0, 255),
        address: currentAddress()?.slice(0, 64) ?? null,
        expiresAt: end,
        endsAt: end,
        lastUsedAt: new Date(now),
        impersonatorId: actor.id,
        boundTo: actor.sessionId,
      }
      const { id: sessionId } = await transaction(() => asSystem(() => tokens().create(values)), { knex: core.knex })
      core.emit('impersonationStarted', { userId: user.id, by: actor.id, sessionId, reason: reason ?? null })
      return { accessToken: core.accessTokens.create(user, { id: sessionId }, expiresIn), expiresIn, user }
    },

    async stop() {
      core.assertNoTransaction('impersonation.stop')
      const actor = currentActor()
      if (!actor?.impersonatorId || !actor.sessionId) throw new ForbiddenError(message('impersonation.none'))
      await core.sessions.end({ userId: actor.id, id: actor.sessionId })
      core.emit('impersonationStopped', { userId: actor.id, by: actor.impersonatorId, sessionId: actor.sessionId })
    },
  }
}

/**
 * Throws unless the impersonator's own session is active and still belongs to a superadmin, and the user is not a superadmin.
 *
 * @throws InvalidTokenError
 */
export async function assertImpersonator(sessions: Sessions, { impersonatorId, boundTo }: SessionState, user: User): Promise<void> {
  const { user: superadmin } = await sessions.findActiveOfAnyKind(boundTo ?? '')
  if (superadmin.id !== impersonatorId || !superadmin.hasRole(Role.SUPERADMIN) || user.hasRole(Role.SUPERADMIN))
    throw new InvalidTokenError()
}
