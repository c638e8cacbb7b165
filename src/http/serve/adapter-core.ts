import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { assertKnownOptions } from '../../core/known-options.js'
import { type Actor, currentActor, enterAsActor, enterRefused } from '../../policy/context.js'
import { assertSession, assertStepUpRule } from '../../policy/fresh-session.js'
import {
  assertAbility,
  assertRole,
  authenticatorOf,
  type CallerOptions,
  callerOptionNames,
  isInContextOf,
  type RequestAuthenticator,
  type RoleOptions,
  roleOptionNames,
} from '../caller/request-authenticator.js'
import type { PermsPort } from '../core/ports.js'
import { languageOf, type OnError, problemResponse } from '../core/problems.js'
import { entryOf, type HttpRequest } from '../core/request.js'
import type { HttpResponse } from '../core/response.js'
import { type Api, MountedApi } from './api.js'
import { Reporter } from './reporter.js'
import { SocketAuthenticator, type SocketConnection, type UpgradeOptions } from './socket.js'

export interface AdapterOptions {
  /** Receives server errors (500 and 503). Default: console.error. */
  onError?: OnError | undefined
}

/**
 * Checks the caller before a handler runs. A check that throws an error of the library rejects the request with it.
 *
 * @example const isEmployee: CallerCheck = (actor) => { if (actor === null) throw new UnauthorizedError() }
 */
export type CallerCheck = (actor: Actor | null) => void

/** How a framework continues a request. `T` is what its handlers return, for example void or a promise. */
export interface Continuation<T> {
  /** Calls the next handler. The adapter calls it in the caller's context, so call the handler synchronously. */
  next(): T
  /** Sends an error response of the library instead of calling the handler. */
  refuse(response: HttpResponse): T
  /** Passes an error that does not belong to the library to the framework. */
  fail(error: unknown): T
  /**
   * Calls `next`. When a response is about to be sent, sends the result of `refusal` instead, unless it is null. The adapter uses it
   * for requests with invalid credentials that may still reach a route that ignores credentials, such as sign-in.
   */
  unlessRefused(next: () => T, refusal: () => HttpResponse | null): T
}

/** An Api that serves one application. */
export interface ServedApi {
  /** The paths of all endpoints, with parameters as `:name`. For frameworks that need to know the routes in advance. */
  readonly paths: readonly string[]
  /** Returns the response to a request, or null if no endpoint has its path. The promise never rejects. */
  handle(request: HttpRequest): Promise<HttpResponse> | null
  /**
   * Returns whether handle() should identify the caller of this request itself, because the statement that reads for the caller can also
   * prove that nothing about the caller has changed.
   */
  provesCallerOf(request: HttpRequest): boolean
}

/** The framework-independent part of an adapter. */
export interface Adapter {
  /** Prepares an API for serving. */
  mount(api: Api): ServedApi
  /**
   * Identifies the caller and continues in the caller's context. An invalid or expired token gives 401.
   *
   * @param upcoming the Api that gets the request next, if no code of the application runs before it. Reads then need no look-up of the
   * caller: `upcoming` proves the caller, and the response must be sent inside inCallerContext().
   */
  authenticate<T>(request: HttpRequest, continuation: Continuation<T>, upcoming?: ServedApi): T | Promise<T>
  /** Calls fn in the context of the caller whom authenticate() left to `upcoming`; otherwise in the current context. */
  inCallerContext<T>(request: HttpRequest, fn: () => T): T
  /** Like authenticate(). Gives 401 without a caller or a session that `stepUp` requires, and 403 for an API key without `*` or one of `abilities`. */
  requireUser<T>(request: HttpRequest, continuation: Continuation<T>, options?: CallerOptions): T | Promise<T>
  /** Like requireUser(). Gives 403 for a caller without the role. */
  requireRole<T>(request: HttpRequest, role: string, continuation: Continuation<T>, options?: RoleOptions): T | Promise<T>
  /** Like authenticate(). Continues only if the check does not throw. */
  requireCaller<T>(request: HttpRequest, check: CallerCheck, continuation: Continuation<T>): T | Promise<T>
  /** Returns the response for an error of the library, or null for an error that the framework should handle. */
  answerError(error: unknown, request: HttpRequest): HttpResponse | null
  /** Returns the response to a request that no route of the application matches: 404 as problem details. */
  notFound(request: HttpRequest): HttpResponse
  /**
   * Authenticates a request that opens a socket, such as a WebSocket. Accepts a Bearer token in the Authorization header or after the
   * subprotocol `objection-perms`, and the access cookie together with the Origin of an allowed page. See docs/sockets.md.
   *
   * @throws UnauthorizedError, InvalidTokenError, ForeignOriginError, AmbiguousCredentialsError; answer with answerError()
   * @example
   * const connection = await adapter.upgrade(nodeRequest(req))
   * connection.onEnd(() => socket.close(4401, 'The session has ended.'))
   * socket.on('message', (data) => connection.run(() => handle(data)).catch(report))
   * socket.on('close', () => connection.close())
   */
  upgrade(request: HttpRequest, options?: UpgradeOptions): Promise<SocketConnection>
}

/**
 * Creates the framework-independent part of an adapter. Use it to write an adapter for a framework that the library does not know.
 * The suite of `objection-perms/testing/conformance` proves the result. See docs/adapters.md.
 *
 * @param perms the result of initPerms
 * @returns functions that take a request as HttpRequest, and the ways in which the framework continues it
 * @throws ConfigurationError when initPerms() got no `jwt`
 * @example
 * const adapter = createAdapter(perms)
 * const mounted = adapter.mount(api)
 * createServer((req, res) => {
 *   const request = nodeRequest(req)
 *   const send = (response: HttpResponse) => sendNode(response, res)
 *   void adapter.authenticate<unknown>(request, {
 *     next: () => mounted.handle(request)?.then(send),
 *     refuse: send,
 *     fail: (error) => res.destroy(error as Error),
 *     unlessRefused: (next, refusal) => {
 *       interceptResponse(res, refusal)
 *       return next()
 *     },
 *   })
 * })
 */
export function createAdapter(perms: PermsPort, options: AdapterOptions = {}): Adapter {
  assertKnownOptions(options, { onError: true }, 'createAdapter(perms, ...)')
  return new AdapterCore(perms, options)
}

class AdapterCore implements Adapter {
  readonly #perms: PermsPort
  readonly #authenticator: RequestAuthenticator
  readonly #options: AdapterOptions
  readonly #reporter: Reporter
  readonly #sockets: SocketAuthenticator

  constructor(perms: PermsPort, options: AdapterOptions = {}) {
    perms.noteAdapter()
    this.#perms = perms
    this.#authenticator = authenticatorOf(perms)
    this.#options = options
    this.#reporter = new Reporter(perms, options.onError)
    this.#sockets = new SocketAuthenticator(perms)
  }

  mount(api: Api): ServedApi {
    return new MountedApi(api, this.#perms, this.#options)
  }

  authenticate<T>(request: HttpRequest, continuation: Continuation<T>, upcoming?: ServedApi): T | Promise<T> {
    if (!upcoming?.provesCallerOf(request)) return this.#run(request, continuation, undefined)
    return this.#perms.enter(() => this.#authenticator.leaveToApi(request, () => continuation.next()))
  }

  inCallerContext<T>(request: HttpRequest, fn: () => T): T {
    return this.#authenticator.inCallerContext(request, fn)
  }

  requireUser<T>(request: HttpRequest, continuation: Continuation<T>, options?: CallerOptions): T | Promise<T> {
    return this.#run(request, continuation, requireCaller(options))
  }

  requireRole<T>(request: HttpRequest, role: string, continuation: Continuation<T>, options?: RoleOptions): T | Promise<T> {
    return this.#run(request, continuation, requireCallerRole(role, options))
  }

  requireCaller<T>(request: HttpRequest, check: CallerCheck, continuation: Continuation<T>): T | Promise<T> {
    return this.#run(request, continuation, check)
  }

  upgrade(request: HttpRequest, options?: UpgradeOptions): Promise<SocketConnection> {
    return this.#sockets.upgrade(request, options)
  }

  answerError(error: unknown, request: HttpRequest): HttpResponse | null {
    return this.#reporter.answerLibraryError(error, request)
  }

  notFound(request: HttpRequest): HttpResponse {
    return problemResponse(new NotFoundError(), languageOf(request, this.#perms))
  }

  #run<T>(request: HttpRequest, continuation: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    return this.#perms.enter(() => this.#enterRequest(request, continuation, check))
  }

  #enterRequest<T>(request: HttpRequest, continuation: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    const entry = entryOf(request)
    const stop = (error: unknown): T => {
      const response = this.#reporter.answerLibraryError(error, request)
      return response === null ? continuation.fail(error) : continuation.refuse(response)
    }
    const enter = (actor: Actor | null): T => {
      try {
        check?.(actor)
      } catch (error) {
        return stop(error)
      }
      return enterAsActor(actor, () => continuation.next(), entry)
    }
    const known = this.#authenticator.known(request)
    if (known !== undefined && isInContextOf(request)) {
      try {
        check?.(currentActor())
      } catch (error) {
        return stop(error)
      }
      return continuation.next()
    }
    // Sign-in routes ignore credentials. Invalid ones are refused after the routers have matched the request.
    const refuse = (error: unknown): T => {
      const refusal = check === undefined ? this.#authenticator.postpone(request, error) : null
      if (refusal === null) return stop(error)
      return continuation.unlessRefused(
        () => enterRefused(refusal, () => continuation.next(), entry),
        () => (refusal.isLifted ? null : this.#reporter.answer(error, request)),
      )
    }
    const postponed = check === undefined ? this.#authenticator.postponed(request) : undefined
    if (postponed) return enterRefused(postponed, () => continuation.next(), entry)
    let actor: Actor | null | Promise<Actor | null>
    try {
      actor = this.#authenticator.identify(request)
    } catch (error) {
      return refuse(error)
    }
    return actor instanceof Promise ? actor.then(enter, refuse) : enter(actor)
  }
}

/** Returns a check that accepts signed-in users, and API keys with one of the abilities. */
export function requireCaller(options: CallerOptions = {}): CallerCheck {
  assertKnownOptions(options, callerOptionNames, 'requireUser')
  const { abilities, stepUp } = options
  if (stepUp) assertStepUpRule(stepUp, 'stepUp')
  return (actor) => {
    if (actor === null) throw new UnauthorizedError()
    if (actor.abilities) assertAbility(actor.abilities, abilities)
    if (stepUp) assertSession(actor, stepUp)
  }
}

/** Returns a check that also requires a role. Only callers with the role are asked for a fresh session. */
export function requireCallerRole(role: string, given: RoleOptions = {}): CallerCheck {
  assertKnownOptions(given, roleOptionNames, `requireRole('${role}', ...)`)
  const { stepUp, ...options } = given
  const isKnown = requireCaller({ abilities: options.abilities })
  const isFresh = requireCaller({ abilities: [], stepUp })
  return (actor) => {
    isKnown(actor)
    assertRole(actor, role, { ...options, isOption: true })
    isFresh(actor)
  }
}
