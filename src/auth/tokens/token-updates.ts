import { registeredModel } from '../../policy/registered-models.js'
import { skipCallerChange } from '../../users/caller/caller-changes.js'
import type { Token } from '../../users/token.js'

/** Returns the registered token model. */
export const tokens = () => registeredModel('token') as typeof Token

/**
 * Returns a query that changes the tokens that match `where` and are not revoked, and resolves to their number. It compares and sets
 * in one UPDATE: of several concurrent calls one changes the row. Callers emit an event when it ends a session.
 *
 * @example const count = await updateActiveTokens({ id: stored.id, token: stored.token }, { token: newHash })
 */
export function updateActiveTokens(where: Partial<Token>, changes: Partial<Token>) {
  return skipCallerChange(tokens().query())
    .patch(changes)
    .where({ ...where, revoked: false })
}

/** Returns a query that revokes the matching tokens. @param changes further columns, such as lastUsedAt */
export function revokeTokens(where: Partial<Token>, changes: Partial<Token> = {}) {
  return updateActiveTokens(where, { revoked: true, revokedAt: new Date(), ...changes })
}
