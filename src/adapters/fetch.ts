import { NotFoundError } from '../core/errors.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import { problemResponse } from '../http/core/problems.js'
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

/** Request → Response; what a runtime gives beside the request is passed on. */
export type FetchHandler<Rest extends unknown[] = unknown[]> = (request: Request, ...rest: Rest) => Response | Promise<Response>

export interface FetchAdapterOptions extends AdapterOptions {
  /** The client's address, which a Request does not say: without it throttling knows accounts only. */
  address?: ((request: Request, ...rest: unknown[]) => string | undefined) | undefined
}

export interface FetchAdapter {
  /** The handler runs as the caller. A bad or expired Bearer token is 401. */
  authenticate(handler: FetchHandler): FetchHandler
  /** Serves an API; what is none of its paths goes to `otherwise`, or is 404. */
  router(api: Api, otherwise?: FetchHandler): FetchHandler
  /** 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(handler: FetchHandler, options?: CallerOptions): FetchHandler
  /** The same, and 403 for a caller without the role. */
  requireRole(role: string, handler: FetchHandler, options?: RoleOptions): FetchHandler
  /** Turns the library's errors in the handler into problem details; all others are thrown on. */
  errorHandler(handler: FetchHandler): FetchHandler
}

/**
 * Connects the library to whatever speaks Request and Response: Next.js, SvelteKit, Bun, Deno.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router } = fetchAdapter(perms)
 * export const GET = authenticate(router(api))
 */
export function fetchAdapter(perms: PermsPort, options: FetchAdapterOptions = {}): FetchAdapter {
  const door = new AdapterCore(perms, options)
  const neutral = (request: Request, rest: unknown[]) => new FetchHttpRequest(request, { address: options.address?.(request, ...rest) })
  const ways = (handler: FetchHandler, request: Request, rest: unknown[]): Continuation<Response | Promise<Response>> => ({
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
      await door.demand(neutral(request, rest), check, ways(handler, request, rest))
  return {
    authenticate:
      (handler) =>
      async (request, ...rest) =>
        await door.authenticate(neutral(request, rest), ways(handler, request, rest)),
    router: (api, otherwise = notFound) => {
      const mounted = door.mount(api)
      return async (request, ...rest) => {
        const answer = mounted.handle(neutral(request, rest))
        return answer === null ? await otherwise(request, ...rest) : toResponse(await answer)
      }
    },
    requireUser: (handler, callerOptions) => demand(requireCaller(callerOptions), handler),
    requireRole: (role, handler, roleOptions) => demand(requireCallerRole(role, roleOptions), handler),
    errorHandler:
      (handler) =>
      async (request, ...rest) => {
        try {
          return await handler(request, ...rest)
        } catch (error) {
          const response = door.answerError(error, neutral(request, rest))
          if (response === null) throw error
          return toResponse(response)
        }
      },
  }
}

const notFound: FetchHandler = () => toResponse(problemResponse(new NotFoundError()))
