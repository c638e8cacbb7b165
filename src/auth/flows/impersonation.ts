import { ForbiddenError, InvalidTokenError, NotFoundError, UnauthorizedError, ValidationError } from '../../core/errors.js'
import { transaction } from '../../database/transaction.js'
import { type Actor, asSystem, currentActor, currentAddress } from '../../policy/context.js'
import { registeredModel } from '../../policy/registered-models.js'
import { isActive } from '../../users/actor.js'
import { forbidApiKey } from '../../users/caller-restrictions.js'
import { Role } from '../../users/roles.js'
import { hashToken, randomToken, type Token } from '../../users/token.js'
import type { User } from '../../users/user.js'
import type { AuthCore } from '../core.js'
import type { SessionState } from '../tokens/load-caller.js'
import type { Sessions } from '../tokens/sessions.js'
import { userClass } from './credentials.js'

const usualLife = 900
const longestLife = 3600

/**
 * Acting in a user's place: `perms.auth.impersonation`. For superadmins, for a while, and with their name on all that happens. It
 * ends when its time is over, when the superadmin signs out, is demoted or disabled, and when the user is or becomes a superadmin.
 */
export interface Impersonation {
  /**
   * Gives the current user, a superadmin in person, an access token of another user's. With it no password, address, role, key,
   * factor, token, session or invitation can be changed, and no account or domain removed; every event says who acts. It cannot
   * be refreshed.
   *
   * @param options `expiresIn`: seconds, 900 when not said and 3600 at most
   * @throws ForbiddenError for anybody but a superadmin, and towards a superadmin; NotFoundError for a user who is not there or disabled
   * @example const { accessToken } = await perms.auth.impersonation.start(user, { reason: 'ticket 4711', expiresIn: 600 })
   */
  start(
    user: User | string,
    options?: { reason?: string | undefined; expiresIn?: number | undefined },
  ): Promise<{ accessToken: string; expiresIn: number; user: User }>
  /** Ends the impersonation that the code runs in. @throws ForbiddenError outside of one */
  stop(): Promise<void>
}

export function impersonation(core: AuthCore): Impersonation {
  return {
    async start(target, { reason, expiresIn = usualLife } = {}) {
      core.refuseTransaction('impersonation.start')
      const actor = currentActor()
      if (!actor) throw new UnauthorizedError()
      forbidApiKey('Impersonations')
      if (!isSuperadmin(actor) || actor.sessionId === null)
        throw new ForbiddenError("Only a superadmin who has signed in may act in a user's place.")
      if (!Number.isInteger(expiresIn) || expiresIn < 1 || expiresIn > longestLife)
        throw new ValidationError(`expiresIn must be 1 to ${longestLife} seconds.`, [
          { field: 'expiresIn', message: `must be 1 to ${longestLife}` },
        ])
      const id = typeof target === 'string' ? target : target?.id
      const user = typeof id === 'string' ? await asSystem(() => userClass().get(id)) : null
      if (!user || !isActive(user)) throw new NotFoundError()
      if (user.id === actor.id || user.isSuperadmin) throw new ForbiddenError("Nobody acts in a superadmin's place.")
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
      const { id: sessionId } = await transaction(() => asSystem(() => tokens().create(values as never)), { knex: core.knex })
      core.emit('impersonationStarted', { userId: user.id, by: actor.id, sessionId, reason: reason ?? null })
      return { accessToken: core.accessToken(user, sessionId, expiresIn), expiresIn, user }
    },

    async stop() {
      core.refuseTransaction('impersonation.stop')
      const actor = currentActor()
      if (!actor?.impersonatorId || !actor.sessionId) throw new ForbiddenError("Nobody acts in another's place here.")
      await core.sessions.end({ userId: actor.id, id: actor.sessionId })
      core.emit('impersonationStopped', { userId: actor.id, by: actor.impersonatorId, sessionId: actor.sessionId })
    },
  }
}

/**
 * Whoever acts in a user's place must still be signed in where it began, and a superadmin; the user must be none.
 *
 * @throws InvalidTokenError
 */
export async function assertImpersonator(sessions: Sessions, { impersonatorId, boundTo }: SessionState, user: User): Promise<void> {
  const { user: superadmin } = await sessions.findActive(boundTo ?? '')
  if (superadmin.id !== impersonatorId || !superadmin.isSuperadmin || user.isSuperadmin) throw new InvalidTokenError()
}

function isSuperadmin({ grants }: Actor): boolean {
  return grants.some(({ role, domainId }) => role === Role.SUPERADMIN && domainId === null)
}

const tokens = () => registeredModel('token') as unknown as typeof Token
