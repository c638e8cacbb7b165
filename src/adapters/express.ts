import type { ServerResponse } from 'node:http'
import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import type { HttpResponse } from '../http/core/response.js'
import {
  type AdapterOptions,
  type CallerCheck,
  createAdapter,
  requireCaller,
  requireCallerRole,
  type ServedApi,
} from '../http/serve/adapter-core.js'
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
  /** The Apis of the middleware of router(). */
  const apis = new WeakMap<object, ServedApi>()
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
    authenticate: () => {
      const middleware: ExpressMiddleware = (req, res, next) => {
        keepContext(req)
        const following = followingMiddleware(req, middleware)
        void core.authenticate(toRequest(req), continuation(res, next), following && apis.get(following))
      }
      return middleware
    },
    router: (api) => {
      const mounted = core.mount(api)
      const middleware: ExpressMiddleware = (req, res, next) => {
        const request = toRequest(req)
        const answer = mounted.handle(request)
        if (answer === null) next()
        else answer.then((response) => core.inCallerContext(request, () => sendNode(response, res))).catch(next)
      }
      apis.set(middleware, mounted)
      return middleware
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

/** A middleware in the list of an Express application. */
interface Layer {
  readonly handle: unknown
  /** Whether it gets requests for all paths. */
  readonly slash?: boolean
}

interface ExpressRequest {
  readonly app?: { readonly lazyrouter?: unknown; readonly router?: { readonly stack?: readonly Layer[] } } | undefined
}

/**
 * Returns the middleware that Express 5 calls directly after a given one, for every path.
 *
 * @returns undefined for another order, a router of its own, Express 4, and frameworks like Express
 */
function followingMiddleware(req: NodeRequest, middleware: ExpressMiddleware): object | undefined {
  const { app } = req as ExpressRequest
  // In Express 4, reading app.router throws an error.
  if (!app || app.lazyrouter !== undefined || req.url !== req.originalUrl) return undefined
  const stack = app.router?.stack ?? []
  const at = stack.findIndex(({ handle }) => handle === middleware)
  const [own, next] = [stack[at], stack[at + 1]]
  return own?.slash && next?.slash && typeof next.handle === 'function' ? next.handle : undefined
}
