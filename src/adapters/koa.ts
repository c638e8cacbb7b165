import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import { type BodyStream, isBodyStream } from '../http/core/body-stream.js'
import type { PermsPort } from '../http/core/ports.js'
import { type BodySource, type HttpRequest, splitTarget } from '../http/core/request.js'
import { type HttpResponse, headerValue } from '../http/core/response.js'
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
import { interceptResponse, keepContext, nodeBody, nodeHeader, readableOf } from './node-http.js'

/** The properties of a Koa 2 or 3 context that the adapter uses. */
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

/** A middleware for Koa 2 and 3. */
export type KoaMiddleware = (ctx: KoaContext, next: Next) => Promise<unknown>

export interface KoaAdapter {
  /**
   * Returns a middleware that identifies the caller. All middleware after it run as the caller. An invalid or expired Bearer
   * token gives 401.
   */
  authenticate(): KoaMiddleware
  /** Returns a middleware that serves an API. Requests for other paths go to the next middleware. */
  router(api: Api): KoaMiddleware
  /**
   * Returns a middleware that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of
   * `abilities`.
   */
  requireUser(options?: CallerOptions): KoaMiddleware
  /** Returns a middleware that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, options?: RoleOptions): KoaMiddleware
  /** Returns a middleware that answers the library's errors with problem details and rethrows other errors. Register it first. */
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
  const { body } = response
  if (body !== null) ctx.body = typeof body === 'string' ? body : isBodyStream(body) ? streamFor(ctx, body) : Buffer.from(body)
  else if (ctx.method !== 'HEAD' && response.status !== 204 && response.status !== 304) {
    // Without a body, Koa would send the name of the status.
    ctx.body = ''
    ctx.remove('content-type')
  }
  for (const [name, value] of Object.entries(response.headers)) ctx.set(name, headerValue(name, value, ctx.res.getHeader(name)))
  if (response.cookies.length > 0) ctx.append('set-cookie', [...response.cookies])
}

// Koa leaves the connection open when a stream fails after the headers were sent: the client would wait for the rest.
function streamFor({ res }: KoaContext, body: BodyStream): Readable {
  const stream = readableOf(body)
  stream.once('error', () => res.destroy())
  return stream
}

/**
 * Creates the adapter for Koa 2 and 3. The client's address is `ctx.ip`: `app.proxy` decides whether X-Forwarded-For is used.
 *
 * @param perms the result of initPerms
 * @returns factories of middleware
 * @example
 * const app = new Koa()
 * const { authenticate, router, errorHandler } = koaAdapter(perms)
 * app.use(errorHandler())
 * app.use(authenticate())
 * app.use(router(api))
 */
export function koaAdapter(perms: PermsPort, options: AdapterOptions = {}): KoaAdapter {
  assertKnownOptions(options, { onError: true }, 'koaAdapter(perms, ...)')
  const core = createAdapter(perms, options)
  const continuation = (ctx: KoaContext, next: Next): Continuation<Promise<unknown>> => ({
    next,
    refuse: async (response) => send(response, ctx),
    fail: (error) => Promise.reject(error),
    unlessRefused: (go, refusal) => {
      interceptResponse(ctx.res, refusal)
      return go()
    },
  })
  const demand =
    (check: CallerCheck): KoaMiddleware =>
    async (ctx, next) => {
      keepContext(ctx.req)
      await core.requireCaller(new KoaHttpRequest(ctx), check, continuation(ctx, next))
    }
  return {
    authenticate: () => async (ctx, next) => {
      keepContext(ctx.req)
      await core.authenticate(new KoaHttpRequest(ctx), continuation(ctx, next))
    },
    router: (api) => {
      const mounted = core.mount(api)
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
        const response = core.answerError(error, new KoaHttpRequest(ctx))
        if (response === null) throw error
        send(response, ctx)
      }
    },
  }
}
