import type { ServerResponse } from 'node:http'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import type { HttpResponse } from '../http/core/response.js'
import { AdapterCore, type AdapterOptions, type CallerCheck, requireCaller, requireCallerRole } from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import { keepContext, NodeHttpRequest, type NodeRequest, refuseAnswer, sendNode } from './node-http.js'

type Next = (error?: unknown) => void

/** A middleware of Express 4 and 5. */
export type ExpressMiddleware = (req: NodeRequest, res: ServerResponse, next: Next) => void
export type ExpressErrorMiddleware = (error: unknown, req: NodeRequest, res: ServerResponse, next: Next) => void

export interface ExpressAdapter {
  /** Every handler after it runs as the caller: put it before them. A bad or expired Bearer token is 401. */
  authenticate(): ExpressMiddleware
  /** Serves an API; what is none of its paths goes on to the next handler. */
  router(api: Api): ExpressMiddleware
  /** 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(options?: CallerOptions): ExpressMiddleware
  /** The same, and 403 for a caller without the role. */
  requireRole(role: string, options?: RoleOptions): ExpressMiddleware
  /** Turns the library's errors into problem details and passes on all others: put it after the handlers. */
  errorHandler(): ExpressErrorMiddleware
}

/**
 * Connects the library to Express 4 or 5. The client's address is `req.ip`, so Express's 'trust proxy' says which
 * X-Forwarded-For counts.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router, errorHandler } = expressAdapter(perms)
 * app.use(authenticate())
 * app.use(router(api))
 * app.use(errorHandler())
 */
export function expressAdapter(perms: PermsPort, options: AdapterOptions = {}): ExpressAdapter {
  const door = new AdapterCore(perms, options)
  const neutral = (req: NodeRequest) => new NodeHttpRequest(req, () => req.ip)
  const ways = (res: ServerResponse, next: Next) => ({
    next,
    refuse: (response: Parameters<typeof sendNode>[0]) => sendNode(response, res),
    fail: next,
    unlessRefused: (go: () => void, refusal: () => HttpResponse | null) => {
      refuseAnswer(res, refusal)
      go()
    },
  })
  const demand =
    (check: CallerCheck): ExpressMiddleware =>
    (req, res, next) => {
      keepContext(req)
      void door.demand(neutral(req), check, ways(res, next))
    }
  return {
    authenticate: () => (req, res, next) => {
      keepContext(req)
      void door.authenticate(neutral(req), ways(res, next))
    },
    router: (api) => {
      const mounted = door.mount(api)
      return (req, res, next) => {
        const answer = mounted.handle(neutral(req))
        if (answer === null) next()
        else answer.then((response) => sendNode(response, res)).catch(next)
      }
    },
    requireUser: (callerOptions) => demand(requireCaller(callerOptions)),
    requireRole: (role, roleOptions) => demand(requireCallerRole(role, roleOptions)),
    // Express knows an error handler by its four parameters.
    errorHandler: () => (error, req, res, next) => {
      const response = res.headersSent ? null : door.answerError(error, neutral(req))
      if (response === null) next(error)
      else sendNode(response, res)
    },
  }
}
