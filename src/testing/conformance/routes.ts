import { ValidationError } from '../../core/errors.js'
import type { CallerOptions } from '../../http/caller/request-authenticator.js'
import { currentUserId } from '../../policy/context.js'
import { factor, recent } from '../../policy/session-rules.js'
import { Role } from '../../users/roles/roles.js'

/** A route of the application beside the API. */
export interface ApplicationRoute {
  readonly path: string
  /** How the route is protected: requireRole(role, options) with a role, requireUser(options) without one. Undefined: not at all. */
  readonly requires?: { readonly role?: string; readonly options?: CallerOptions } | undefined
  /** Returns the value to send as JSON. It may throw an error of the library, which errorHandler() answers. */
  handler(): Promise<object>
}

const caller = async () => {
  // A turn of the event loop, after which the context must still be that of the request.
  await new Promise(setImmediate)
  return { id: currentUserId() }
}
const reports = async () => ({ reports: 'all' })
const readers: CallerOptions = { abilities: ['documents:read'] }

/** The routes that a server under test must have, all for GET. */
export const applicationRoutes: readonly ApplicationRoute[] = [
  { path: '/who', handler: caller },
  { path: '/account', requires: {}, handler: caller },
  { path: '/shelf', requires: { options: readers }, handler: caller },
  { path: '/reports', requires: { role: Role.ADMIN }, handler: reports },
  { path: '/vault', requires: { options: { stepUp: recent(300) } }, handler: caller },
  { path: '/safe', requires: { role: Role.ADMIN, options: { stepUp: factor('any') } }, handler: reports },
  { path: '/archive', requires: { role: Role.ADMIN, options: readers }, handler: reports },
  // Its path ends like a route of the API that accepts requests with expired cookies.
  { path: '/own/openapi.json', handler: reports },
  {
    path: '/invalid',
    handler: async () => {
      throw new ValidationError('No.', [{ field: 'x', message: 'is wrong' }])
    },
  },
]
