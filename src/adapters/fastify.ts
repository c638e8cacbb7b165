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
import type { Api, MountedApi } from '../http/serve/api.js'
import { keepContext, nodeBody, nodeHeader, refuseAnswer } from './node-http.js'

/** What is used of a request of Fastify 5. */
export interface FastifyRequestLike {
  readonly raw: IncomingMessage
  readonly method: string
  readonly url: string
  readonly ip: string
  readonly body?: unknown
}

/** What is used of a reply of Fastify 5. */
export interface FastifyReplyLike {
  readonly sent: boolean
  readonly raw: ServerResponse
  code(status: number): unknown
  header(name: string, value: string): unknown
  send(payload?: unknown): unknown
  callNotFound(): unknown
}

type Done = (error?: Error) => void

/** A hook of Fastify 5, in callback style: `onRequest: requireUser()`. */
export type FastifyHook = (request: FastifyRequestLike, reply: FastifyReplyLike, done: Done) => void

/** What is used of an instance of Fastify 5. */
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

/** A plugin of Fastify 5: `app.register(...)`. */
export type FastifyPlugin = (instance: FastifyInstanceLike, options: object, done: Done) => void

export interface FastifyAdapter {
  /** `app.register(authenticate())`: every route of the application runs as the caller. A bad or expired Bearer token is 401. */
  authenticate(): FastifyPlugin
  /** `app.register(router(api))`, with a `prefix` too; resources are added to the API before. */
  router(api: Api): FastifyPlugin
  /** As a route's `onRequest`: 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(options?: CallerOptions): FastifyHook
  /** As a route's `onRequest`: the same, and 403 for a caller without the role. */
  requireRole(role: string, options?: RoleOptions): FastifyHook
  /** `app.setErrorHandler(errorHandler())`: the library's errors become problem details, Fastify answers all others. */
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
  for (const [name, value] of Object.entries(response.headers)) reply.header(name, value)
  // Fastify keeps each.
  for (const line of response.cookies) reply.header('set-cookie', line)
  if (response.body === null) reply.send()
  else reply.send(typeof response.body === 'string' ? response.body : Buffer.from(response.body))
}

/**
 * Connects the library to Fastify 5. The client's address is `request.ip`, so Fastify's trustProxy says which
 * X-Forwarded-For counts.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router, requireRole, errorHandler } = fastifyAdapter(perms)
 * app.register(authenticate())
 * app.register(router(api))
 * app.setErrorHandler(errorHandler())
 * app.get('/reports', { onRequest: requireRole(Role.ADMIN) }, async () => await UserDocument.query())
 */
export function fastifyAdapter(perms: PermsPort, options: AdapterOptions = {}): FastifyAdapter {
  const door = new AdapterCore(perms, options)
  const ways = (reply: FastifyReplyLike, done: Done): Continuation<void> => ({
    next: () => done(),
    refuse: (response) => send(response, reply),
    fail: (error) => done(error as Error),
    unlessRefused: (go, refusal) => {
      refuseAnswer(reply.raw, refusal)
      go()
    },
  })
  const enter: FastifyHook = (request, reply, done) => {
    keepContext(request.raw)
    void door.authenticate(new FastifyHttpRequest(request), ways(reply, done))
  }
  const demand =
    (check: CallerCheck): FastifyHook =>
    (request, reply, done) => {
      keepContext(request.raw)
      void door.demand(new FastifyHttpRequest(request), check, ways(reply, done))
    }
  return {
    authenticate: () =>
      forWholeApplication((instance, _options, done) => {
        instance.addHook('onRequest', enter)
        // Reading the body loses the context: what was found out about this request is entered again.
        instance.addHook('preValidation', enter)
        done()
      }),
    router: (api) => (instance, _options, done) => {
      const mounted = door.mount(api)
      // The library reads bodies itself, so that it answers alike everywhere; other plugins keep their parsers.
      instance.removeAllContentTypeParsers()
      instance.addContentTypeParser('*', (_request, _payload, parsed) => parsed(null, undefined))
      // Also those that it takes nowhere: they are 405 then.
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
      const response = door.answerError(error, new FastifyHttpRequest(request))
      if (response === null) reply.send(error)
      else send(response, reply)
    },
  }
}

function handlerOf(mounted: MountedApi, prefix: string) {
  return async (request: FastifyRequestLike, reply: FastifyReplyLike): Promise<unknown> => {
    const answer = mounted.handle(new FastifyHttpRequest(request, prefix))
    if (answer === null) reply.callNotFound()
    else send(await answer, reply)
    return reply
  }
}

// Without this mark a plugin's hooks hold for its own routes only.
function forWholeApplication(plugin: FastifyPlugin): FastifyPlugin {
  return Object.assign(plugin, { [Symbol.for('skip-override')]: true })
}
