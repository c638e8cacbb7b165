import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import {
  type AdapterOptions,
  type CallerCheck,
  type Continuation,
  createAdapter,
  requireCaller,
  requireCallerRole,
} from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import type { RoleName } from '../policy/registered-types.js'
import { FetchHttpRequest, toResponse } from './fetch-http.js'

/** The properties of a Hono 4 context that the adapter uses. */
export interface HonoContext {
  readonly req: { readonly raw: Request; arrayBuffer(): Promise<ArrayBuffer> }
  readonly env: unknown
  get res(): Response
  set res(response: Response | undefined)
}

type Next = () => Promise<void>

/** A middleware for Hono 4. */
export type HonoMiddleware = (c: HonoContext, next: Next) => Promise<Response | undefined>

export interface HonoAdapterOptions extends AdapterOptions {
  /**
   * Returns the client's address. On other runtimes than @hono/node-server, read it with getConnInfo.
   *
   * @defaultValue the address of the socket, with @hono/node-server
   */
  address?: ((c: HonoContext) => string | undefined) | undefined
}

export interface HonoAdapter {
  /**
   * Returns a middleware that identifies the caller. All handlers after it run as the caller. An invalid or expired Bearer token
   * gives 401.
   */
  authenticate(): HonoMiddleware
  /** Returns a middleware that serves an API. `base` is the path of `app.route(base, ...)`, if the API is mounted below one. */
  router(api: Api, options?: { base?: string | undefined }): HonoMiddleware
  /**
   * Returns a middleware that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of
   * `abilities`.
   */
  requireUser(options?: CallerOptions): HonoMiddleware
  /** Returns a middleware that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, options?: RoleOptions): HonoMiddleware
  /**
   * Returns a handler for `app.onError` that answers the library's errors with problem details. Other errors go to `otherwise`,
   * or to Hono.
   */
  errorHandler(
    otherwise?: (error: Error, c: HonoContext) => Response | Promise<Response>,
  ): (error: Error, c: HonoContext) => Response | Promise<Response>
}

/**
 * Creates the adapter for Hono 4.
 *
 * @param perms the result of initPerms
 * @returns factories of middleware
 * @example
 * const app = new Hono()
 * const { authenticate, router, errorHandler } = honoAdapter(perms)
 * app.use(authenticate())
 * app.use(router(api))
 * app.onError(errorHandler())
 */
export function honoAdapter(perms: PermsPort, options: HonoAdapterOptions = {}): HonoAdapter {
  assertKnownOptions(options, { onError: true, address: true }, 'honoAdapter(perms, ...)')
  const core = createAdapter(perms, { onError: options.onError })
  const address = options.address ?? socketAddress
  const toRequest = (c: HonoContext, base?: string) =>
    new FetchHttpRequest(c.req.raw, { base, address: address(c), cached: () => c.req.arrayBuffer() })
  const continuation = (c: HonoContext, next: Next): Continuation<Promise<Response | undefined>> => ({
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
      await core.requireCaller(toRequest(c), check, continuation(c, next))
  return {
    authenticate: () => async (c, next) => await core.authenticate(toRequest(c), continuation(c, next)),
    router: (api, options = {}) => {
      assertKnownOptions(options, { base: true }, 'router(api, ...)')
      const { base } = options
      const mounted = core.mount(api)
      return async (c, next) => {
        const answer = mounted.handle(toRequest(c, base))
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
        const response = core.answerError(error, toRequest(c))
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
