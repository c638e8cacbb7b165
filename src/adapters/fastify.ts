import type { IncomingMessage, ServerResponse } from 'node:http'
import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import { isBodyStream } from '../http/core/body-stream.js'
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
  type ServedApi,
} from '../http/serve/adapter-core.js'
import type { Api } from '../http/serve/api.js'
import type { RoleName } from '../policy/registered-types.js'
import { interceptResponse, keepContext, nodeBody, nodeHeader, readableOf } from './node-http.js'

/** The properties of a Fastify 5 request that the adapter uses. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly method: string
  readonly url: string
  readonly ip: string
  readonly body?: unknown
}

/** The properties of a Fastify 5 reply that the adapter uses. */
export interface FastifyReplyLike {
  readonly sent: boolean
  readonly raw: ServerResponse
  code(status: number): unknown
  header(name: string, value: string): unknown
  getHeader(name: string): unknown
  send(payload?: unknown): unknown
  callNotFound(): unknown
}

type Done = (error?: Error) => void

/** A callback hook for Fastify 5: `onRequest: requireUser()`. */
export type FastifyHook = (request: FastifyRequestLike, reply: FastifyReplyLike, done: Done) => void

/** The properties of a Fastify 5 instance that the adapter uses. */
export interface FastifyInstanceLike {
  readonly prefix: string
  readonly supportedMethods: readonly string[]
  readonly initialConfig: {
    readonly ignoreTrailingSlash?: boolean | undefined
    readonly routerOptions?: { readonly ignoreTrailingSlash?: boolean | undefined } | undefined
  }
  addHook(name: 'onRequest' | 'preValidation', hook: FastifyHook): unknown
  removeAllContentTypeParsers(): unknown
  addContentTypeParser(
    type: string,
    parser: (request: unknown, payload: unknown, done: (error: Error | null, body?: unknown) => void) => void,
  ): unknown
  route(options: {
    method: string[]
    url: string
    exposeHeadRoute: boolean
    handler: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>
  }): unknown
}

/** A plugin for Fastify 5: `app.register(...)`. */
export type FastifyPlugin = (instance: FastifyInstanceLike, options: object, done: Done) => void

export interface FastifyAdapter {
  /**
   * Returns a plugin that identifies the caller for every route of the application. An invalid or expired Bearer token gives
   * 401.
   */
  authenticate(): FastifyPlugin
  /** Returns a plugin that serves an API. `app.register` may set a `prefix`. Add all resources to the API first. */
  router(api: Api): FastifyPlugin
  /**
   * Returns an `onRequest` hook that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of
   * `abilities`.
   */
  requireUser(options?: CallerOptions): FastifyHook
  /** Returns an `onRequest` hook that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, options?: RoleOptions): FastifyHook
  /**
   * Returns a handler for `app.setErrorHandler` that answers the library's errors with problem details. Fastify answers other
   * errors.
   */
  errorHandler(): (error: unknown, request: FastifyRequestLike, reply: FastifyReplyLike) => void
}

class FastifyHttpRequest implements HttpRequest {
  readonly #request: FastifyRequestLike
  readonly url: string
  readonly search: string
  readonly path: string

  constructor(request: FastifyRequestLike, prefix = '') {
    this.#request = request
    const { path, search } = splitTarget(request.url)
    this.url = path
    this.search = search
    this.path = path.startsWith(`${prefix}/`) ? path.slice(prefix.length) : path
  }

  get method(): string {
    return this.#request.method
  }

  get address(): string | undefined {
    return this.#request.ip
  }

  get raw(): object {
    return this.#request.raw
  }

  header(name: string): string | undefined {
    return nodeHeader(this.#request.raw, name)
  }

  body(): BodySource {
    return nodeBody(this.#request.raw, this.#request.body)
  }
}

function send(response: HttpResponse, reply: FastifyReplyLike): void {
  if (reply.sent) return
  reply.code(response.status)
  for (const [name, value] of Object.entries(response.headers)) reply.header(name, headerValue(name, value, reply.getHeader(name)))
  // Fastify appends repeated set-cookie headers.
  for (const line of response.cookies) reply.header('set-cookie', line)
  const { body } = response
  if (body === null) reply.send()
  else if (isBodyStream(body)) reply.send(readableOf(body))
  else reply.send(typeof body === 'string' ? body : Buffer.from(body))
}

/**
 * Creates the adapter for Fastify 5. The client's address is `request.ip`: Fastify's trustProxy decides whether
 * X-Forwarded-For is used.
 *
 * @param perms the result of initPerms
 * @returns factories of plugins and hooks
 * @example
 * const app = Fastify()
 * const { authenticate, router, requireRole, errorHandler } = fastifyAdapter(perms)
 * app.register(authenticate())
 * app.register(router(api))
 * app.setErrorHandler(errorHandler())
 * app.get('/reports', { onRequest: requireRole(Role.ADMIN) }, async () => await UserDocument.query())
 */
export function fastifyAdapter(perms: PermsPort, options: AdapterOptions = {}): FastifyAdapter {
  assertKnownOptions(options, { onError: true }, 'fastifyAdapter(perms, ...)')
  const core = createAdapter(perms, options)
  const continuation = (reply: FastifyReplyLike, done: Done): Continuation<void> => ({
    next: () => done(),
    refuse: (response) => send(response, reply),
    fail: (error) => done(error as Error),
    unlessRefused: (go, refusal) => {
      interceptResponse(reply.raw, refusal)
      go()
    },
  })
  const enter: FastifyHook = (request, reply, done) => {
    keepContext(request.raw)
    void core.authenticate(new FastifyHttpRequest(request), continuation(reply, done))
  }
  const demand =
    (check: CallerCheck): FastifyHook =>
    (request, reply, done) => {
      keepContext(request.raw)
      void core.requireCaller(new FastifyHttpRequest(request), check, continuation(reply, done))
    }
  return {
    authenticate: () =>
      forWholeApplication((instance, _options, done) => {
        instance.addHook('onRequest', enter)
        // Reading the body loses the async context: enter it again. The caller is not loaded twice.
        instance.addHook('preValidation', enter)
        done()
      }),
    router: (api) => (instance, _options, done) => {
      const mounted = core.mount(api)
      // The library parses bodies itself, so that responses are equal in all frameworks. Other plugins keep their parsers.
      instance.removeAllContentTypeParsers()
      instance.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null, undefined))
      // Register all methods, so that unsupported ones give 405.
      const method = [...instance.supportedMethods]
      const { ignoreTrailingSlash, routerOptions } = instance.initialConfig
      const endings = ignoreTrailingSlash || routerOptions?.ignoreTrailingSlash ? [''] : ['', '/']
      for (const path of new Set(mounted.paths)) {
        for (const ending of endings) {
          instance.route({ method, url: path + ending, exposeHeadRoute: false, handler: handlerOf(mounted, instance.prefix) })
        }
      }
      done()
    },
    requireUser: (callerOptions) => demand(requireCaller(callerOptions)),
    requireRole: (role, roleOptions) => demand(requireCallerRole(role, roleOptions)),
    errorHandler: () => (error, request, reply) => {
      const response = core.answerError(error, new FastifyHttpRequest(request))
      if (response === null) reply.send(error)
      else send(response, reply)
    },
  }
}

function handlerOf(mounted: ServedApi, prefix: string) {
  return async (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown> => {
    const answer = mounted.handle(new FastifyHttpRequest(request, prefix))
    if (answer === null) reply.callNotFound()
    else send(await answer, reply)
    return reply
  }
}

// Without this symbol, the hooks of a plugin apply to its own routes only.
function forWholeApplication(plugin: FastifyPlugin): FastifyPlugin {
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}
