import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import {
  AdapterCore,
  type AdapterOptions,
  type CallerCheck,
  type Continuation,
  requireCaller,
  requireCallerRole,
} from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import { FetchHttpRequest, toResponse } from './fetch-http.js'

/** What is used of a context of Hono 4. */
export interface HonoContext {
  readonly req: { readonly raw: Request; arrayBuffer(): Promise<ArrayBuffer> }
  readonly env: unknown
  get res(): Response
  set res(response: Response | undefined)
}

type Next = () => Promise<void>

/** A middleware of Hono 4. */
export type HonoMiddleware = (c: HonoContext, next: Next) => Promise<Response | undefined>

export interface HonoAdapterOptions extends AdapterOptions {
  /** The client's address; with @hono/node-server the socket's when not said. Elsewhere read it with getConnInfo. */
  address?: ((c: HonoContext) => string | undefined) | undefined
}

export interface HonoAdapter {
  /** Every handler after it runs as the caller: `app.use(authenticate())`. A bad or expired Bearer token is 401. */
  authenticate(): HonoMiddleware
  /** Serves an API: `app.use(router(api))`. `base` is the path of `app.route(base, ...)` where it is mounted below one. */
  router(api: Api, options?: { base?: string | undefined }): HonoMiddleware
  /** 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(options?: CallerOptions): HonoMiddleware
  /** The same, and 403 for a caller without the role. */
  requireRole(role: string, options?: RoleOptions): HonoMiddleware
  /** `app.onError(errorHandler())`: the library's errors become problem details; all others go to `otherwise`, or become what Hono makes of them. */
  errorHandler(
    otherwise?: (error: Error, c: HonoContext) => Response | Promise<Response>,
  ): (error: Error, c: HonoContext) => Response | Promise<Response>
}

/**
 * Connects the library to Hono 4.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router, errorHandler } = honoAdapter(perms)
 * app.use(authenticate())
 * app.use(router(api))
 * app.onError(errorHandler())
 */
export function honoAdapter(perms: PermsPort, options: HonoAdapterOptions = {}): HonoAdapter {
  const door = new AdapterCore(perms, options)
  const address = options.address ?? socketAddress
  const neutral = (c: HonoContext, base?: string) =>
    new FetchHttpRequest(c.req.raw, { base, address: address(c), cached: () => c.req.arrayBuffer() })
  const ways = (c: HonoContext, next: Next): Continuation<Promise<Response | undefined>> => ({
    next: async () => {
      await next()
      return undefined
    },
    refuse: async (response) => toResponse(response),
    fail: (error) => Promise.reject(error),
    unlessRefused: async (go, refusal) => {
      const answer = await go()
      const refused = refusal()
      if (refused === null) return answer
      // Hono adds the headers of the present answer to the next one.
      c.res = undefined
      c.res = toResponse(refused)
      return undefined
    },
  })
  const demand =
    (check: CallerCheck): HonoMiddleware =>
    async (c, next) =>
      await door.demand(neutral(c), check, ways(c, next))
  return {
    authenticate: () => async (c, next) => await door.authenticate(neutral(c), ways(c, next)),
    router: (api, { base } = {}) => {
      const mounted = door.mount(api)
      return async (c, next) => {
        const answer = mounted.handle(neutral(c, base))
        if (answer !== null) return toResponse(await answer)
        await next()
        return undefined
      }
    },
    requireUser: (callerOptions) => demand(requireCaller(callerOptions)),
    requireRole: (role, roleOptions) => demand(requireCallerRole(role, roleOptions)),
    errorHandler:
      (otherwise = asHonoDoes) =>
      (error, c) => {
        const response = door.answerError(error, neutral(c))
        return response === null ? otherwise(error, c) : toResponse(response)
      },
  }
}

function socketAddress(c: HonoContext): string | undefined {
  const env = c.env as { incoming?: { socket?: { remoteAddress?: string } } } | undefined
  return env?.incoming?.socket?.remoteAddress
}

function asHonoDoes(error: Error): Response {
  if ('getResponse' in error) return (error as { getResponse(): Response }).getResponse()
  console.error(error)
  return new Response('Internal Server Error', { status: 500 })
}
