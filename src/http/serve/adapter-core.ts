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
  /** Told of what went wrong on our side (500 and 503); console.error when not said. */
  onError?: OnError | undefined
}

/** Looks at the caller before a handler runs. @throws what becomes the answer */
export type CallerCheck = (actor: Actor | null) => void

/** How a framework goes on, in its own manner. */
export interface Continuation<T> {
  /** To the next handler; called inside the caller's context. */
  next(): T
  /** With an answer of ours. */
  refuse(response: HttpResponse): T
  /** With an error that is not ours. */
  fail(error: unknown): T
  /** Calls `next`; when an answer is about to be sent, what `refusal` returns is sent in its place, unless it is null. */
  unlessRefused(next: () => T, refusal: () => HttpResponse | null): T
}

/** What every adapter is made of: all that there is to decide, without a framework. */
export class AdapterCore {
  readonly #perms: PermsPort
  readonly #gate: RequestAuthenticator
  readonly #options: AdapterOptions
  readonly #reporter: Reporter

  constructor(perms: PermsPort, options: AdapterOptions = {}) {
    perms.noteAdapter()
    this.#perms = perms
    this.#gate = authenticatorOf(perms)
    this.#options = options
    this.#reporter = new Reporter(perms, options.onError)
  }

  mount(api: Api): MountedApi {
    return new MountedApi(api, this.#perms, this.#options)
  }

  /** authenticate(): what comes after runs as the caller; a bad Bearer is turned away here. */
  authenticate<T>(request: HttpRequest, ways: Continuation<T>): T | Promise<T> {
    return this.#pass(request, ways, undefined)
  }

  /** requireUser() and requireRole(): the same, and the caller must pass the check. */
  demand<T>(request: HttpRequest, check: CallerCheck, ways: Continuation<T>): T | Promise<T> {
    return this.#pass(request, ways, check)
  }

  /** errorHandler(): the answer to an error of the library's, or null for any other. */
  answerError(error: unknown, request: HttpRequest): HttpResponse | null {
    return this.#reporter.answerOwn(error, request)
  }

  #pass<T>(request: HttpRequest, ways: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    return this.#perms.enter(() => this.#passHere(request, ways, check))
  }

  #passHere<T>(request: HttpRequest, ways: Continuation<T>, check: CallerCheck | undefined): T | Promise<T> {
    const entry = { address: request.address, origin: request.raw }
    const stop = (error: unknown): T => {
      const response = this.#reporter.answerOwn(error, request)
      return response === null ? ways.fail(error) : ways.refuse(response)
    }
    const enter = (actor: Actor | null): T => {
      try {
        check?.(actor)
      } catch (error) {
        return stop(error)
      }
      return enterAsActor(actor, () => ways.next(), entry)
    }
    const known = this.#gate.known(request)
    if (known !== undefined && isInContextOf(request)) {
      try {
        check?.(currentActor())
      } catch (error) {
        return stop(error)
      }
      return ways.next()
    }
    // Sign-in and its like do not look at credentials: bad ones are refused everywhere else, once it is clear where the request goes.
    const refuse = (error: unknown): T => {
      const refusal = check === undefined ? this.#gate.postpone(request, error) : null
      if (refusal === null) return stop(error)
      return ways.unlessRefused(
        () => enterRefused(refusal, () => ways.next(), entry),
        () => (refusal.isLifted ? null : this.#reporter.answer(error, request)),
      )
    }
    const postponed = check === undefined ? this.#gate.postponed(request) : undefined
    if (postponed) return enterRefused(postponed, () => ways.next(), entry)
    let actor: Actor | null | Promise<Actor | null>
    try {
      actor = this.#gate.identify(request)
    } catch (error) {
      return refuse(error)
    }
    return actor instanceof Promise ? actor.then(enter, refuse) : enter(actor)
  }
}

/** A check for a caller: anybody who has signed in, and an API key with an ability that is asked for. */
export function requireCaller({ abilities }: CallerOptions = {}): CallerCheck {
  return (actor) => {
    if (actor === null) throw new UnauthorizedError()
    if (actor.abilities) assertAbility(actor.abilities, abilities)
  }
}

/** The same, and the caller must have the role. */
export function requireCallerRole(role: string, options?: RoleOptions): CallerCheck {
  const isKnown = requireCaller(options)
  return (actor) => {
    isKnown(actor)
    assertRole(actor, role, { ...options, isOption: true })
  }
}
