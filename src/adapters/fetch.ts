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
  type ServedApi,
} from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import type { RoleName } from '../policy/registered-types.js'
import { FetchHttpRequest, toResponse } from './fetch-http.js'

export { fetchRequest, toResponse } from './fetch-http.js'

/** A function from Request to Response. Further arguments of the runtime are passed on. */
export type FetchHandler<Rest extends unknown[] = unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>

export interface FetchAdapterOptions extends AdapterOptions {
  /** Returns the client's address, which a Request does not contain. Without it, limits count accounts only. */
  address?: ((request: Request, ...rest: unknown[]) => string | undefined) | undefined
}

export interface FetchAdapter {
  /** Wraps a handler so that it runs as the caller. An invalid or expired Bearer token gives 401. */
  authenticate(handler: FetchHandler): FetchHandler
  /** Returns a handler that serves an API. Requests for other paths go to `otherwise`. Default: 404. */
  router(api: Api, otherwise?: FetchHandler): FetchHandler
  /** Wraps a handler that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of `abilities`. */
  requireUser(handler: FetchHandler, options?: CallerOptions): FetchHandler
  /** Wraps a handler that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, handler: FetchHandler, options?: RoleOptions): FetchHandler
  /** Wraps a handler: answers the library's errors with problem details and rethrows other errors. */
  errorHandler(handler: FetchHandler): FetchHandler
}

/**
 * Creates the adapter for frameworks and runtimes with Fetch handlers, such as Next.js, SvelteKit, Bun and Deno.
 *
 * @param perms the result of initPerms
 * @returns wrappers of handlers
 * @example
 * const { authenticate, router } = fetchAdapter(perms)
 * export const GET = authenticate(router(api))
 */
export function fetchAdapter(perms: PermsPort, options: FetchAdapterOptions = {}): FetchAdapter {
  assertKnownOptions(options, { onError: true, address: true }, 'fetchAdapter(perms, ...)')
  const core = createAdapter(perms, { onError: options.onError })
  /** The Apis of the handlers of router(). */
  const apis = new WeakMap<FetchHandler, ServedApi>()
  const toRequest = (request: Request, rest: unknown[]) => new FetchHttpRequest(request, { address: options.address?.(request, ...rest) })
  const continuation = (handler: FetchHandler, request: Request, rest: unknown[]): Continuation<Response | Promise<Response>> => ({
    next: () => handler(request, ...rest),
    refuse: toResponse,
    fail: (error) => Promise.reject(error),
    unlessRefused: async (go, refusal) => {
      const answer = await go()
      const refused = refusal()
      return refused === null ? answer : toResponse(refused)
    },
  })
  const demand =
    (check: CallerCheck, handler: FetchHandler): FetchHandler =>
    async (request, ...rest) =>
      await core.requireCaller(toRequest(request, rest), check, continuation(handler, request, rest))
  return {
    authenticate:
      (handler) =>
      async (request, ...rest) =>
        await core.authenticate(toRequest(request, rest), continuation(handler, request, rest), apis.get(handler)),
    router: (api, otherwise) => {
      const mounted = core.mount(api)
      const handler: FetchHandler = async (request, ...rest) => {
        const answer = mounted.handle(toRequest(request, rest))
        if (answer !== null) return toResponse(await answer)
        return otherwise ? await otherwise(request, ...rest) : toResponse(core.notFound(toRequest(request, rest)))
      }
      apis.set(handler, mounted)
      return handler
    },
    requireUser: (handler, callerOptions) => demand(requireCaller(callerOptions), handler),
    requireRole: (role, handler, roleOptions) => demand(requireCallerRole(role, roleOptions), handler),
    errorHandler:
      (handler) =>
      async (request, ...rest) => {
        try {
          return await handler(request, ...rest)
        } catch (error) {
          const response = core.answerError(error, toRequest(request, rest))
          if (response === null) throw error
          return toResponse(response)
        }
      },
  }
}
