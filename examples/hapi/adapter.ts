/**
 * An adapter for Hapi 21, written with createAdapter(). It shows how to support a framework that the library does not know;
 * conformance.ts proves it.
 */
import { createServer, type Server as HttpServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Lifecycle, Plugin, Request, ResponseToolkit, Server } from '@hapi/hapi'
import {
  type Adapter,
  type Api,
  type CallerOptions,
  type Continuation,
  createAdapter,
  type HttpResponse,
  type Perms,
} from 'objection-perms'
import { interceptResponse, keepContext, nodeRequest, sendNode } from 'objection-perms/node'

export interface HapiAdapter {
  /**
   * The server to pass to `Hapi.server({ listener })`. It identifies the caller before Hapi sees the request, because Hapi has no
   * extension point that encloses a handler. All handlers run as the caller.
   */
  readonly listener: HttpServer
  /** A plugin that serves an API. Requests for other paths go to the routes of the server. */
  router(api: Api): Plugin<void>
  /** Requires a signed-in caller: `options: { ext: { onPreAuth: { method: requireUser() } } }`. */
  requireUser(options?: CallerOptions): Lifecycle.Method
  /** Also requires a role. */
  requireRole(role: string, options?: CallerOptions): Lifecycle.Method
  /** A plugin that answers the library's errors with problem details. Hapi answers other errors. */
  readonly errorHandler: Plugin<void>
}

/** Creates the adapter. @param perms the result of initPerms */
export function hapiAdapter(perms: Perms): HapiAdapter {
  const adapter = createAdapter(perms, { onError: (error) => console.error(error) })
  const requestOf = ({ raw, info }: Request) => nodeRequest(raw.req, { address: info.remoteAddress })
  const check = (enter: (request: Request, continuation: Continuation<Lifecycle.ReturnValue>) => unknown): Lifecycle.Method =>
    ((request: Request, h: ResponseToolkit) => enter(request, continuationOf(request, h))) as Lifecycle.Method
  return {
    listener: listenerOf(adapter),
    router: (api) => ({
      name: `api ${api.prefix}`,
      register: (server: Server) => {
        const mounted = adapter.mount(api)
        // Before Hapi parses the body: the library parses it, so that all frameworks give the same responses.
        server.ext('onRequest', async (request, h) => {
          const answer = mounted.handle(requestOf(request))
          return answer === null ? h.continue : sendRaw(await answer, request, h)
        })
      },
    }),
    requireUser: (options) => check((request, continuation) => adapter.requireUser(requestOf(request), continuation, options)),
    requireRole: (role, options) => check((request, continuation) => adapter.requireRole(requestOf(request), role, continuation, options)),
    errorHandler: {
      name: 'objection-perms errors',
      register: (server: Server) => {
        server.ext('onPreResponse', (request, h) => {
          if (!(request.response instanceof Error)) return h.continue
          const answer = adapter.answerError(request.response, requestOf(request))
          return answer === null ? h.continue : sendRaw(answer, request, h)
        })
      },
    },
  }
}

/** Sends a response without Hapi, which would add headers. */
function sendRaw(response: HttpResponse, request: Request, h: ResponseToolkit): symbol {
  sendNode(response, request.raw.res)
  return h.abandon
}

function continuationOf(request: Request, h: ResponseToolkit): Continuation<Lifecycle.ReturnValue> {
  return {
    // The listener has already entered the caller's context.
    next: () => h.continue,
    refuse: (response) => sendRaw(response, request, h),
    fail: (error) => Promise.reject(error),
    unlessRefused: (next) => next(),
  }
}

/** Returns a server that emits each request in the context of its caller. */
function listenerOf(adapter: Adapter): HttpServer {
  const server = createServer()
  const emit = server.emit.bind(server) as (event: string, ...values: unknown[]) => boolean
  server.emit = (event: string, ...values: unknown[]): boolean => {
    // Node emits 'checkContinue' instead of 'request' for `Expect: 100-continue`.
    if (event !== 'request' && event !== 'checkContinue') return emit(event, ...values)
    const [req, res] = values as [IncomingMessage, ServerResponse]
    keepContext(req)
    void adapter.authenticate<void>(nodeRequest(req), {
      next: () => void emit(event, req, res),
      refuse: (response) => sendNode(response, res),
      fail: () => void res.destroy(),
      unlessRefused: (next, refusal) => {
        interceptResponse(res, refusal)
        next()
      },
    })
    return true
  }
  return server
}
