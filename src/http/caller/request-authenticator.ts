import { type RememberedCaller, rememberedCallers } from '../../auth/tokens/remembered-callers.js'
import { ConfigurationError, ForbiddenError, InsufficientAbilityError, InvalidTokenError, UnauthorizedError } from '../../core/errors.js'
import type { OptionNames } from '../../core/known-options.js'
import { message } from '../../core/messages/message.js'
import { isAble } from '../../policy/abilities.js'
import {
  type Actor,
  authorityFor,
  currentActor,
  currentOrigin,
  currentRefusal,
  enterAsActor,
  enterRefused,
  type Grant,
  type Refusal,
} from '../../policy/context.js'
import { isGrantIn } from '../../policy/domain-ref.js'
import type { StepUpRule } from '../../policy/fresh-session.js'
import type { DomainName } from '../../policy/registered-types.js'
import { rolesSatisfying } from '../../policy/user-tables.js'
import type { PermsPort } from '../core/ports.js'
import { entryOf, type HttpRequest } from '../core/request.js'
import { segmentsOf } from '../core/routes.js'
import { type TokenReader, tokenReader } from './authorization.js'
import { accessCookie, assertSingleCredential, usesCookies } from './cookies.js'
import { assertOwnOrigin } from './origin.js'

/** The requirements of a route on its callers. */
export interface CallerOptions {
  /**
   * The abilities of API keys; callers who signed in need none. The accepted abilities, such as `['reports:read']`; a key needs one of them. `[]` accepts every key, `'none'` no key.
   *
   * @defaultValue only keys with `*`
   */
  abilities?: readonly string[] | 'none' | undefined
  /**
   * A rule that the caller's session must satisfy, such as `recent(300)`. Otherwise the response is 401 `insufficient_user_authentication`.
   *
   * @defaultValue any active session
   */
  stepUp?: StepUpRule | undefined
}

/** The domain in which a role is required. */
export interface RoleOptions extends CallerOptions {
  /** The name of a domain, its id or `{ id }`, or 'any' for any domain. Default: the role must be global. */
  domain?: DomainName | undefined
}

/** The names of the options of requireUser(). */
export const callerOptionNames: OptionNames<CallerOptions> = { abilities: true, stepUp: 'unchecked' }

/** The names of the options of requireRole(). */
export const roleOptionNames: OptionNames<RoleOptions> = { ...callerOptionNames, domain: 'unchecked' }

/** Returns whether the actor has the role globally or in the given domain. A superadmin counts as an admin. */
export function holdsRole(actor: Actor, role: string, { domain }: RoleOptions = {}): boolean {
  const roles = rolesSatisfying([role])
  return actor.grants.some((grant) => roles.includes(grant.role) && (grant.domainId === null || isIn(grant, domain)))
}

function isIn(grant: Grant, domain: RoleOptions['domain']): boolean {
  if (domain === undefined || domain === 'any') return domain === 'any'
  return isGrantIn(grant, domain)
}

/**
 * Checks that the actor has a role.
 *
 * @throws UnauthorizedError for an anonymous caller, ForbiddenError for a caller without the role
 */
export function assertRole(actor: Actor | null, role: string, options: RoleOptions & { isOption?: boolean } = {}): void {
  if (actor === null) throw new UnauthorizedError()
  if (holdsRole(actor, role, options)) return
  // The message reveals only the caller's own roles.
  const isElsewhere = options.domain === undefined && holdsRole(actor, role, { domain: 'any' })
  if (!isElsewhere) throw new ForbiddenError(message('role.needed', { role }))
  throw new ForbiddenError(options.isOption ? message('role.neededEverywhereOption', { role }) : message('role.neededEverywhere', { role }))
}

/** Checks that an API key has one of the wanted abilities. @throws InsufficientAbilityError with the wanted abilities */
export function assertAbility(held: readonly string[], wanted: CallerOptions['abilities'] = ['*']): void {
  if (wanted === 'none') throw new InsufficientAbilityError([])
  if (wanted.length > 0 && !wanted.some((one) => isAble(held, one))) throw new InsufficientAbilityError(wanted)
}

/** A postponed refusal, with the routers that may still have a lenient route for the request. */
interface Waiting {
  readonly refusal: Refusal
  readonly routers: Set<object>
}

/** Identifies the caller once per request. All adapters of an application share one instance. */
export class RequestAuthenticator {
  readonly #perms: PermsPort
  readonly #tokenOf: TokenReader
  readonly #known = new WeakMap<object, Actor | null>()
  readonly #waiting = new WeakMap<object, Waiting>()
  readonly #recalled = new WeakMap<object, RememberedCaller | null>()
  readonly #leftToApi = new WeakSet<object>()
  readonly #remembering = new WeakSet<object>()
  /** Routes that ignore credentials, such as `POST /api/users/login`, or ignore expired cookies. */
  readonly #lenient: LenientRoute[] = []

  constructor(perms: PermsPort) {
    this.#perms = perms
    this.#tokenOf = tokenReader(perms.options.schemes)
  }

  /** Registers a route of a router that ignores credentials or expired cookies. */
  addLenientRoute(router: object, method: string, path: string): void {
    const segments = segmentsOf(path)
    const isKnown = this.#lenient.some(
      (one) => one.router === router && one.method === method && one.segments.join('/') === segments.join('/'),
    )
    if (!isKnown) this.#lenient.push({ router, method, segments })
  }

  /**
   * Postpones the refusal of a request that may still reach a lenient route, or returns null if it cannot. The mount path of a
   * router is not known before the request arrives there, so only the end of the path is compared.
   */
  postpone(request: HttpRequest, error: unknown): Refusal | null {
    const routers = new Set(this.#lenient.filter((route) => endsLike(route, request)).map(({ router }) => router))
    if (routers.size === 0) return null
    const refusal: Refusal = { error, isLifted: false }
    this.#waiting.set(request.raw, { refusal, routers })
    return refusal
  }

  /** Returns the postponed refusal of the request, if there is one. */
  postponed(request: HttpRequest): Refusal | undefined {
    return this.#waiting.get(request.raw)?.refusal
  }

  /** Lifts the postponed refusal when the request reaches a lenient route. */
  lift(request: HttpRequest): void {
    // A framework may pass on another request object than the refused one.
    for (const refusal of [currentRefusal(), this.postponed(request)]) if (refusal) refusal.isLifted = true
  }

  /** Returns the error of a refused request after the last router with a lenient route did not match it; otherwise undefined. */
  unclaimedRefusal(request: HttpRequest, router: object): { readonly error: unknown } | undefined {
    const waiting = this.#waiting.get(request.raw)
    if (!waiting || waiting.refusal.isLifted) return undefined
    waiting.routers.delete(router)
    return waiting.routers.size === 0 ? waiting.refusal : undefined
  }

  /** Returns the caller, if `identify` has already run for this request; otherwise undefined. */
  known(request: HttpRequest): Actor | null | undefined {
    return this.#known.get(request.raw)
  }

  /**
   * Identifies the caller by the Authorization header, or by a cookie if cookies are on. Returns null for an anonymous caller, and
   * for authentication schemes other than Bearer and those of `jwt.schemes`.
   *
   * @param options `forgivesCookies`: treats an expired cookie as no cookie
   * @throws InvalidTokenError, AmbiguousCredentialsError, ForeignOriginError (synchronously or as a rejection)
   */
  identify(request: HttpRequest, options: { forgivesCookies?: boolean | undefined } = {}): Actor | null | Promise<Actor | null> {
    const known = this.#known.get(request.raw)
    if (known !== undefined) return known
    const given = this.#tokenOf(request)
    if (this.#perms.options.cookies !== undefined) return this.#identifyWithCookies(request, given, options.forgivesCookies === true)
    return given === null ? this.keep(request, null) : this.#verify(request, given)
  }

  /**
   * Returns the caller of the request as last seen; null if identify() must load it, or answers for wrong credentials. The caller
   * counts only after its proof: then pass it to keep().
   */
  recall(request: HttpRequest): RememberedCaller | null {
    if (this.#known.has(request.raw)) return null
    let found = this.#recalled.get(request.raw)
    if (found === undefined) {
      found = this.#find(request)
      this.#recalled.set(request.raw, found)
    }
    return found
  }

  /** Calls fn, which hands the request to an Api that calls recall(). Until then, no other code may read the caller. */
  leaveToApi<T>(request: HttpRequest, fn: () => T): T {
    this.#leftToApi.add(request.raw)
    return enterRefused(new RegisteredTwice(), fn, entryOf(request))
  }

  /** Calls fn as the caller of a request that was left to an Api; other requests are in their caller's context already. */
  inCallerContext<T>(request: HttpRequest, fn: () => T): T {
    return this.#leftToApi.has(request.raw) ? enterAsActor(this.#known.get(request.raw) ?? null, fn, entryOf(request)) : fn()
  }

  #find(request: HttpRequest): RememberedCaller | null {
    const callers = rememberedCallers()
    if (callers === null) return null
    try {
      const token = this.#credential(request)
      return token ? callers.find(token) : null
    } catch {
      return null
    }
  }

  #credential(request: HttpRequest): string | null {
    const given = this.#tokenOf(request)
    if (this.#perms.options.cookies === undefined) return given
    if (given !== null) {
      assertSingleCredential(request)
      return given
    }
    this.assertOwnOrigin(request)
    return accessCookie(request)
  }

  #identifyWithCookies(request: HttpRequest, given: string | null, forgivesCookies: boolean): Actor | null | Promise<Actor | null> {
    if (given !== null) {
      assertSingleCredential(request)
      return this.#verify(request, given)
    }
    this.assertOwnOrigin(request)
    const forgive = (error: unknown): null => {
      if (!(error instanceof InvalidTokenError && forgivesCookies)) throw error
      this.lift(request)
      return this.keep(request, null)
    }
    try {
      const token = accessCookie(request)
      return token === null ? this.keep(request, null) : this.#verify(request, token).catch(forgive)
    } catch (error) {
      return forgive(error)
    }
  }

  /** Checks the origin of a request that uses cookies, if cookies are on. @throws ForeignOriginError */
  assertOwnOrigin(request: HttpRequest): void {
    const { cookies } = this.#perms.options
    if (cookies !== undefined && usesCookies(request)) assertOwnOrigin(request, cookies)
  }

  #verify(request: HttpRequest, token: string): Promise<Actor> {
    if (token === '') throw new InvalidTokenError()
    const callers = this.#remembering.has(request.raw) ? rememberedCallers() : null
    return (callers ?? this.#perms).authenticate(token).then((actor) => this.keep(request, actor))
  }

  /** Lets identify() remember the caller of a request, for later reads. */
  remember(request: HttpRequest): void {
    this.#remembering.add(request.raw)
  }

  /** Records the caller of a request, so that no other router loads it. */
  keep<A extends Actor | null>(request: HttpRequest, actor: A): A {
    this.#known.set(request.raw, actor)
    return actor
  }
}

/** The refusal of code that runs between authenticate() and the router. Its error is made on demand: the stack costs each request time. */
class RegisteredTwice implements Refusal {
  isLifted = false

  get error(): ConfigurationError {
    return new ConfigurationError(
      'This middleware of authenticate() is registered in several routers. Call authenticate() once for each router that needs it.',
    )
  }
}

interface LenientRoute {
  readonly router: object
  readonly method: string
  readonly segments: readonly string[]
}

/** Returns whether the path of a request ends like the route's path. The mount path before it is not known yet. */
function endsLike({ method, segments }: LenientRoute, request: HttpRequest): boolean {
  if (method !== (request.method === 'HEAD' ? 'GET' : request.method)) return false
  const { url } = request
  const given = (url.endsWith('/') ? url.slice(0, -1) : url).split('/')
  const from = given.length - segments.length
  return from >= 0 && segments.every((segment, i) => segment.startsWith(':') || segment === given[from + i])
}

const authenticators = new WeakMap<PermsPort, RequestAuthenticator>()

/** Returns the authenticator of an application. Adapters share it, so that a caller is loaded once. */
export function authenticatorOf(perms: PermsPort): RequestAuthenticator {
  let authenticator = authenticators.get(perms)
  if (!authenticator) {
    authenticator = new RequestAuthenticator(perms)
    authenticators.set(perms, authenticator)
  }
  return authenticator
}

/**
 * Returns whether the code runs in the async context of this request: that of authenticate(), or one that the application added
 * inside it with inDomain() or runAs(). A body parser or a pool may have lost it, or switched to another request's context.
 */
export function isInContextOf(request: HttpRequest): boolean {
  if (currentOrigin() !== request.raw || currentRefusal()) return false
  if (currentActor() !== null) return true
  try {
    return authorityFor(null) === null
  } catch {
    return false
  }
}
