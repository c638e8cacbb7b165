import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { assertKnownOptions } from '../core/known-options.js'
import type { CallerOptions, RoleOptions } from '../http/caller/request-authenticator.js'
import type { PermsPort } from '../http/core/ports.js'
import { languageOf, problemResponse } from '../http/core/problems.js'
import type { HttpResponse } from '../http/core/response.js'
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
import type { SocketConnection, UpgradeOptions } from '../http/serve/socket.js'
import type { RoleName } from '../policy/registered-types.js'
import { interceptResponse, keepContext, NodeHttpRequest, type NodeRequest, rejectUpgrade, sendNode } from './node-http.js'

export { interceptResponse, keepContext, type NodeRequest, nodeRequest, sendNode } from './node-http.js'

/** A handler for http.createServer. */
export type NodeHandler = (req: NodeRequest, res: ServerResponse) => unknown

export interface NodeAdapterOptions extends AdapterOptions {
  /**
   * Returns the client's address. Behind a trusted proxy, read its header here.
   *
   * @defaultValue the address of the socket
   */
  address?: ((req: NodeRequest) => string | undefined) | undefined
}

export interface NodeAdapter {
  /** Wraps a handler so that it runs as the caller. An invalid or expired Bearer token gives 401. */
  authenticate(handler: NodeHandler): NodeHandler
  /** Returns a handler that serves an API. Requests for other paths go to `otherwise`. Default: 404. */
  router(api: Api, otherwise?: NodeHandler): NodeHandler
  /** Wraps a handler that requires a signed-in caller: 401 without one, 403 for an API key without `*` or one of `abilities`. */
  requireUser(handler: NodeHandler, options?: CallerOptions): NodeHandler
  /** Wraps a handler that also requires a role: 403 for a caller without it. */
  requireRole(role: RoleName, handler: NodeHandler, options?: RoleOptions): NodeHandler
  /** Wraps a handler: answers the library's errors with problem details and other errors with a 500 without details. */
  errorHandler(handler: NodeHandler): NodeHandler
  /**
   * Authenticates a request that opens a WebSocket. Answers and closes the socket if it is rejected. Works beside every other adapter.
   *
   * @returns the connection, or null if the request was rejected
   * @example
   * const { upgrade } = nodeAdapter(perms)
   * server.on('upgrade', async (req, socket, head) => {
   *   const connection = await upgrade(req, socket)
   *   if (connection !== null) sockets.handleUpgrade(req, socket, head, (ws) => serve(ws, connection))
   * })
   */
  upgrade(req: NodeRequest, socket: Duplex, options?: UpgradeOptions): Promise<SocketConnection | null>
}

/**
 * Creates the adapter for http.createServer.
 *
 * @param perms the result of initPerms
 * @returns wrappers of handlers
 * @example
 * const { authenticate, router, errorHandler } = nodeAdapter(perms)
 * createServer(errorHandler(authenticate(router(api)))).listen(3000)
 */
export function nodeAdapter(perms: PermsPort, options: NodeAdapterOptions = {}): NodeAdapter {
  assertKnownOptions(options, { onError: true, address: true }, 'nodeAdapter(perms, ...)')
  const core = createAdapter(perms, { onError: options.onError })
  const { address } = options
  /** The Apis of the handlers of router(). */
  const apis = new WeakMap<NodeHandler, ServedApi>()
  const toRequest = (req: NodeRequest) => new NodeHttpRequest(req, address ? () => address(req) : undefined)
  const responseTo = (error: unknown, req: NodeRequest): HttpResponse => {
    const response = core.answerError(error, toRequest(req))
    if (response === null) (options.onError ?? toConsole)(error, { method: req.method ?? 'GET', url: req.url ?? '/', requestId: undefined })
    return response ?? problemResponse(error, languageOf(toRequest(req), perms))
  }
  const continuation = (handler: NodeHandler, req: NodeRequest, res: ServerResponse): Continuation<unknown> => ({
    next: () => handler(req, res),
    refuse: (response) => sendNode(response, res),
    fail: (error) => Promise.reject(error),
    unlessRefused: (go, refusal) => {
      interceptResponse(res, refusal)
      return go()
    },
  })
  // node:http does not catch rejections: an unhandled one would end the process.
  const inRuntime =
    (handler: NodeHandler): NodeHandler =>
    async (req, res) => {
      try {
        await handler(req, res)
      } catch (error) {
        sendNode(responseTo(error, req), res)
      }
    }
  const demand = (check: CallerCheck, handler: NodeHandler): NodeHandler =>
    inRuntime((req, res) => {
      keepContext(req)
      return core.requireCaller(toRequest(req), check, continuation(handler, req, res))
    })
  return {
    authenticate: (handler) =>
      inRuntime((req, res) => {
        keepContext(req)
        return core.authenticate(toRequest(req), continuation(handler, req, res), apis.get(handler))
      }),
    router: (api, otherwise) => {
      const mounted = core.mount(api)
      const handler = inRuntime(async (req, res) => {
        const request = toRequest(req)
        const answer = mounted.handle(request)
        if (answer !== null) {
          const response = await answer
          core.inCallerContext(request, () => sendNode(response, res))
        } else if (otherwise) await otherwise(req, res)
        else sendNode(core.notFound(request), res)
      })
      apis.set(handler, mounted)
      return handler
    },
    requireUser: (handler, callerOptions) => demand(requireCaller(callerOptions), handler),
    requireRole: (role, handler, roleOptions) => demand(requireCallerRole(role, roleOptions), handler),
    errorHandler: inRuntime,
    async upgrade(req, socket, upgradeOptions) {
      // Without a listener, a client that disconnects during the check would end the process.
      socket.on('error', () => socket.destroy())
      const request = toRequest(req)
      try {
        const connection = await core.upgrade(request, upgradeOptions)
        if (!socket.destroyed) return connection
        connection.close()
      } catch (error) {
        rejectUpgrade(responseTo(error, req), socket)
      }
      return null
    },
  }
}

const toConsole: NonNullable<AdapterOptions['onError']> = (error, { method, url }) => console.error(`${method} ${url}:`, error)
