import type { IncomingMessage, ServerResponse } from 'node:http'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import { type BodySource, type HttpRequest, splitTarget } from '../http/core/request.js'
import type { HttpResponse } from '../http/core/response.js'
import {
  AdapterCore,
  type AdapterOptions,
  type CallerCheck,
  type Continuation,
  requireCaller,
  requireCallerRole,
} from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import { keepContext, nodeBody, nodeHeader, refuseAnswer } from './node-http.js'

/** What is used of a context of Koa 2 and 3. */
export interface KoaContext {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly request: object
  readonly method: string
  readonly path: string
  readonly querystring: string
  readonly originalUrl: string
  readonly ip: string
  status: number
  body: unknown
  set(name: string, value: string): void
  append(name: string, values: string[]): void
  remove(name: string): void
}

type Next = () => Promise<unknown>

/** A middleware of Koa 2 and 3. */
export type KoaMiddleware = (ctx: KoaContext, next: Next) => Promise<unknown>

export interface KoaAdapter {
  /** Every middleware after it runs as the caller: put it before them. A bad or expired Bearer token is 401. */
  authenticate(): KoaMiddleware
  /** Serves an API; what is none of its paths goes on to the next middleware. */
  router(api: Api): KoaMiddleware
  /** 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(options?: CallerOptions): KoaMiddleware
  /** The same, and 403 for a caller without the role. */
  requireRole(role: string, options?: RoleOptions): KoaMiddleware
  /** Turns the library's errors into problem details and throws on all others: put it before the middleware it is for. */
  errorHandler(): KoaMiddleware
}

class KoaHttpRequest implements HttpRequest {
  readonly #ctx: KoaContext

  constructor(ctx: KoaContext) {
    this.#ctx = ctx
  }

  get method(): string {
    return this.#ctx.method
  }

  get path(): string {
    return this.#ctx.path
  }

  get url(): string {
    return splitTarget(this.#ctx.originalUrl).path
  }

  get search(): string {
    return this.#ctx.querystring
  }

  get address(): string | undefined {
    return this.#ctx.ip
  }

  get raw(): object {
    return this.#ctx.req
  }

  header(name: string): string | undefined {
    return nodeHeader(this.#ctx.req, name)
  }

  body(): BodySource {
    return nodeBody(this.#ctx.req, (this.#ctx.request as { body?: unknown }).body)
  }
}

function send(response: HttpResponse, ctx: KoaContext): void {
  ctx.status = response.status
  if (response.body !== null) ctx.body = typeof response.body === 'string' ? response.body : Buffer.from(response.body)
  else if (ctx.method !== 'HEAD' && response.status !== 204 && response.status !== 304) {
    // Without a body Koa would write the status's name.
    ctx.body = ''
    ctx.remove('content-type')
  }
  for (const [name, value] of Object.entries(response.headers)) ctx.set(name, value)
  if (response.cookies.length > 0) ctx.append('set-cookie', [...response.cookies])
}

/**
 * Connects the library to Koa 2 or 3. The client's address is `ctx.ip`, so `app.proxy` says whether X-Forwarded-For counts.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router, errorHandler } = koaAdapter(perms)
 * app.use(errorHandler())
 * app.use(authenticate())
 * app.use(router(api))
 */
export function koaAdapter(perms: PermsPort, options: AdapterOptions = {}): KoaAdapter {
  const door = new AdapterCore(perms, options)
  const ways = (ctx: KoaContext, next: Next): Continuation<Promise<unknown>> => ({
    next,
    refuse: async (response) => send(response, ctx),
    fail: (error) => Promise.reject(error),
    unlessRefused: (go, refusal) => {
      refuseAnswer(ctx.res, refusal)
      return go()
    },
  })
  const demand =
    (check: CallerCheck): KoaMiddleware =>
    async (ctx, next) => {
      keepContext(ctx.req)
      await door.demand(new KoaHttpRequest(ctx), check, ways(ctx, next))
    }
  return {
    authenticate: () => async (ctx, next) => {
      keepContext(ctx.req)
      await door.authenticate(new KoaHttpRequest(ctx), ways(ctx, next))
    },
    router: (api) => {
      const mounted = door.mount(api)
      return async (ctx, next) => {
        const answer = mounted.handle(new KoaHttpRequest(ctx))
        if (answer === null) await next()
        else send(await answer, ctx)
      }
    },
    requireUser: (callerOptions) => demand(requireCaller(callerOptions)),
    requireRole: (role, roleOptions) => demand(requireCallerRole(role, roleOptions)),
    errorHandler: () => async (ctx, next) => {
      try {
        await next()
      } catch (error) {
        const response = door.answerError(error, new KoaHttpRequest(ctx))
        if (response === null) throw error
        send(response, ctx)
      }
    },
  }
}
