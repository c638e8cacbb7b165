import type { ServerResponse } from 'node:http'
import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import type { HttpResponse } from '../http/core/response.js'
import { type AdapterOptions, type CallerCheck, createAdapter, requireCaller, requireCallerRole } from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import type { RoleName } from '../policy/registered-types.js'
import { interceptResponse, keepContext, NodeHttpRequest, type NodeRequest, sendNode } from './node-http.js'

type Next = (error?: unknown) => void

/** A middleware for Express 4 and 5. */
export type ExpressMiddleware = (req: NodeRequest, res: ServerResponse, next: Next) => void
export type ExpressErrorMiddleware = (error: unknown, req: NodeRequest, res: ServerResponse, next: Next) => void

export interface ExpressAdapter {
  /**
   * Returns a middleware that identifies the caller. All handlers after it run as the caller. An invalid or expired Bearer token
   * gives 401.
   */
  authenticate(): ExpressMiddleware
  /** Returns a middleware that serves an API. Requests for other paths go to the next handler. */
  router(api: Api): ExpressMiddleware
  /**
   * Returns a middleware that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of
   * `abilities`.
   */
  requireUser(options?: CallerOptions): ExpressMiddleware
  /** Returns a middleware that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, options?: RoleOptions): ExpressMiddleware
  /**
   * Returns an error middleware that answers the library's errors with problem details and passes other errors on. Register it
   * last.
   */
  errorHandler(): ExpressErrorMiddleware
}

/**
 * Creates the adapter for Express 4 and 5. The client's address is `req.ip`: Express's setting 'trust proxy' decides whether
 * X-Forwarded-For is used.
 *
 * @param perms the result of initPerms
 * @returns factories of middleware
 * @example
 * const app = express()
 * const { authenticate, router, errorHandler } = expressAdapter(perms)
 * app.use(authenticate())
 * app.use(router(api))
 * app.use(errorHandler())
 */
export function expressAdapter(perms: PermsPort, options: AdapterOptions = {}): ExpressAdapter {
  assertKnownOptions(options, { onError: true }, 'expressAdapter(perms, ...)')
  const core = createAdapter(perms, options)
  const toRequest = (req: NodeRequest) => new NodeHttpRequest(req, () => req.ip)
  const continuation = (res: ServerResponse, next: Next) => ({
    next,
    refuse: (response: Parameters<typeof sendNode>[0]) => sendNode(response, res),
    fail: next,
    unlessRefused: (go: () => void, refusal: () => HttpResponse | null) => {
      interceptResponse(res, refusal)
      go()
    },
  })
  const demand =
    (check: CallerCheck): ExpressMiddleware =>
    (req, res, next) => {
      keepContext(req)
      void core.requireCaller(toRequest(req), check, continuation(res, next))
    }
  return {
    authenticate: () => (req, res, next) => {
      keepContext(req)
      void core.authenticate(toRequest(req), continuation(res, next))
    },
    router: (api) => {
      const mounted = core.mount(api)
      return (req, res, next) => {
        const answer = mounted.handle(toRequest(req))
        if (answer === null) next()
        else answer.then((response) => sendNode(response, res)).catch(next)
      }
    },
    requireUser: (callerOptions) => demand(requireCaller(callerOptions)),
    requireRole: (role, roleOptions) => demand(requireCallerRole(role, roleOptions)),
    // Express recognizes an error handler by its four parameters.
    errorHandler: () => (error, req, res, next) => {
      const response = res.headersSent ? null : core.answerError(error, toRequest(req))
      if (response === null) next(error)
      else sendNode(response, res)
    },
  }
}
