import type { ServerResponse } from 'node:http'
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
import { keepContext, NodeHttpRequest, type NodeRequest, refuseAnswer, sendNode } from './node-http.js'

/** A handler of http.createServer. */
export type NodeHandler = (req: NodeRequest, res: ServerResponse) => unknown

export interface NodeAdapterOptions extends AdapterOptions {
  /** The client's address; the socket's when not said. Behind a proxy that you trust, read its header here. */
  address?: ((req: NodeRequest) => string | undefined) | undefined
}

export interface NodeAdapter {
  /** The handler runs as the caller. A bad or expired Bearer token is 401. */
  authenticate(handler: NodeHandler): NodeHandler
  /** Serves an API; what is none of its paths goes to `otherwise`, or is 404. */
  router(api: Api, otherwise?: NodeHandler): NodeHandler
  /** 401 where nobody is signed in, 403 for an API key unless it has `*` or one of `abilities`. */
  requireUser(handler: NodeHandler, options?: CallerOptions): NodeHandler
  /** The same, and 403 for a caller without the role. */
  requireRole(role: string, handler: NodeHandler, options?: RoleOptions): NodeHandler
  /** Turns the library's errors in the handler into problem details, and all others into a bare 500. */
  errorHandler(handler: NodeHandler): NodeHandler
}

/**
 * Connects the library to http.createServer.
 *
 * @param perms what initPerms returned
 * @example
 * const { authenticate, router, errorHandler } = nodeAdapter(perms)
 * createServer(errorHandler(authenticate(router(api)))).listen(3000)
 */
export function nodeAdapter(perms: PermsPort, options: NodeAdapterOptions = {}): NodeAdapter {
  const door = new AdapterCore(perms, options)
  const { address } = options
  const neutral = (req: NodeRequest) => new NodeHttpRequest(req, address ? () => address(req) : undefined)
  const answerError = (error: unknown, req: NodeRequest, res: ServerResponse): void => {
    const response = door.answerError(error, neutral(req))
    if (response === null) (options.onError ?? toConsole)(error, { method: req.method ?? 'GET', url: req.url ?? '/', requestId: undefined })
    sendNode(response ?? problemResponse(error), res)
  }
  const ways = (handler: NodeHandler, req: NodeRequest, res: ServerResponse): Continuation<unknown> => ({
    next: () => handler(req, res),
    refuse: (response) => sendNode(response, res),
    fail: (error) => Promise.reject(error),
    unlessRefused: (go, refusal) => {
      refuseAnswer(res, refusal)
      return go()
    },
  })
  // A server of node:http has nobody who would catch: without errorHandler() a rejection ends the process.
  const guarded =
    (handler: NodeHandler): NodeHandler =>
    async (req, res) => {
      try {
        await handler(req, res)
      } catch (error) {
        answerError(error, req, res)
      }
    }
  const demand = (check: CallerCheck, handler: NodeHandler): NodeHandler =>
    guarded((req, res) => {
      keepContext(req)
      return door.demand(neutral(req), check, ways(handler, req, res))
    })
  return {
    authenticate: (handler) =>
      guarded((req, res) => {
        keepContext(req)
        return door.authenticate(neutral(req), ways(handler, req, res))
      }),
    router: (api, otherwise = notFound) => {
      const mounted = door.mount(api)
      return guarded(async (req, res) => {
        const answer = mounted.handle(neutral(req))
        if (answer === null) await otherwise(req, res)
        else sendNode(await answer, res)
      })
    },
    requireUser: (handler, callerOptions) => demand(requireCaller(callerOptions), handler),
    requireRole: (role, handler, roleOptions) => demand(requireCallerRole(role, roleOptions), handler),
    errorHandler: guarded,
  }
}

const notFound: NodeHandler = (_req, res) => sendNode(problemResponse(new NotFoundError()), res)

const toConsole: NonNullable<AdapterOptions['onError']> = (error, { method, url }) => console.error(`${method} ${url}:`, error)
