import { UnauthorizedError } from '../../core/errors.js'
import { type Actor, currentActor, enterAsActor, enterRefused } from '../../policy/context.js'
import {
  assertAbility,
  assertRole,
  authenticatorOf,
  type CallerOptions,
  isInContextOf,
  type RequestAuthenticator,
  type RoleOptions,
} from '../caller/request-authenticator.js'
import type { PermsPort } from '../core/ports.js'
import type { OnError } from '../core/problems.js'
import type { HttpRequest } from '../core/request.js'
import type { HttpResponse } from '../core/response.js'
import { type Api, MountedApi } from './api.js'
import { Reporter } from './reporter.js'

export interface AdapterOptions {
  /** Receives server errors (500 and 503). Default: console.error. */
  onError?: OnError | undefined
}

/** Checks the caller before a handler runs. @throws an error that becomes the response */
export type CallerCheck = (actor: Actor | null) => void

/** The ways in which a framework can continue a request. */
export interface Continuation<T> {
  /** Calls the next handler. Runs in the caller's context. */
  next(): T
  /** Sends an error response of the library. */
  refuse(response: HttpResponse): T
  /** Passes on an error that does not belong to the library. */
  fail(error: unknown): T
  /** Calls `next`. When a response is about to be sent, sends the result of `refusal` instead, unless it is null. */
  unlessRefused(next: () => T, refusal: () => HttpResponse | null): T
}

/** The framework-independent part of every adapter. */
export class AdapterCore {
  readonly #perms: PermsPort
  readonly #authenticator: RequestAuthenticator
  readonly #options: AdapterOptions
  readonly #reporter: Reporter

  constructor(perms: PermsPort, options: AdapterOptions = {}) {
    perms.noteAdapter()
    this.#perms = perms
    this.#authenticator = authenticatorOf(perms)
    this.#options = options
    this.#reporter = new Reporter(perms, options.onError)
  }

  /** Prepares an API for serving. */
  mount(api: Api): MountedApi {
    return new MountedApi(api, this.#perms, this.#options)
  }

  /** Implements authenticate(): continues as the caller, or refuses an invalid Bearer token. */
  authenticate<T>(request: HttpRequest, continuation: Continuation<T>): T | Promise<T> {
    return this.#run(request, continuation, undefined)
  }

  /** Implements requireUser() and requireRole(): like authenticate(), and the caller must pass the check. */
  requireCaller<T>(request: HttpRequest, check: CallerCheck, continuation: Continuation<T>): T | Promise<T> {
    return this.#run(request, continuation, check)
  }

  /** Implements errorHandler(): returns the response for an error of the library, or null for other errors. */
  answerError(error: unknown, request: HttpRequest): HttpResponse | null {
    return this.#reporter.answerLibraryError(error, request)
  }

  #run<T>(request: HttpRequest, continuation: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    return this.#perms.enter(() => this.#enterRequest(request, continuation, check))
  }

  #enterRequest<T>(request: HttpRequest, continuation: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    const entry = { address: request.address, origin: request.raw }
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
export function requireCaller({ abilities }: CallerOptions = {}): CallerCheck {
  return (actor) => {
    if (actor === null) throw new UnauthorizedError()
    if (actor.abilities) assertAbility(actor.abilities, abilities)
  }
}

/** Returns a check that also requires a role. */
export function requireCallerRole(role: string, options?: RoleOptions): CallerCheck {
  const isKnown = requireCaller(options)
  return (actor) => {
    isKnown(actor)
    assertRole(actor, role, { ...options, isOption: true })
  }
}
