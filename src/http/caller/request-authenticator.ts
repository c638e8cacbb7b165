import { ForbiddenError, InsufficientAbilityError, InvalidTokenError, UnauthorizedError } from '../../core/errors.js'
import { isAble } from '../../policy/abilities.js'
import { type Actor, authorityFor, currentActor, currentOrigin, currentRefusal, type Grant, type Refusal } from '../../policy/context.js'
import { rolesSatisfying } from '../../policy/user-tables.js'
import { isUuid } from '../../schema/values.js'
import type { PermsPort } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import { segmentsOf } from '../core/routes.js'
import { accessCookie, refuseTwoCredentials, speaksCookies } from './cookies.js'
import { assertOwnOrigin } from './origin.js'

/** What an API key needs to be let in; whoever has signed in needs none of it. */
export interface CallerOptions {
  /** One of these: `['reports:read']`. `[]` lets every key in, `'none'` none; when not said, only a key with `*` gets in. */
  abilities?: readonly string[] | 'none' | undefined
}

/** Where a role must be held: everywhere when not said. */
export interface RoleOptions extends CallerOptions {
  /** The id or the name of a domain, or 'any' for a role held anywhere. */
  domain?: string | undefined
}

/** Whether the actor holds the role globally or in the domain named; a superadmin is an admin too. */
export function holdsRole(actor: Actor, role: string, { domain }: RoleOptions = {}): boolean {
  const roles = rolesSatisfying([role])
  return actor.grants.some((grant) => roles.includes(grant.role) && (grant.domainId === null || isIn(grant, domain)))
}

// An id is no name: the admin of a domain may call it by another's id.
function isIn({ domainId, domainName }: Grant, domain: string | undefined): boolean {
  if (domain === undefined || domain === 'any') return domain === 'any'
  return isUuid(domain) ? domainId === domain.toLowerCase() : domainName === domain
}

/** @throws UnauthorizedError for nobody, ForbiddenError for a caller without the role */
export function assertRole(actor: Actor | null, role: string, options: RoleOptions & { isOption?: boolean } = {}): void {
  if (actor === null) throw new UnauthorizedError()
  if (holdsRole(actor, role, options)) return
  // The caller knows their own roles: the message tells them nothing new.
  const isElsewhere = options.domain === undefined && holdsRole(actor, role, { domain: 'any' })
  const why = isElsewhere ? ' everywhere. You hold it in a domain only' : ''
  const fix = isElsewhere && options.isOption ? `: requireRole('${role}', { domain: 'any' }) accepts that` : ''
  throw new ForbiddenError(`This needs the role '${role}'${why}${fix}.`)
}

/** Whether a key with these abilities is let in, and what it needs is said. @throws InsufficientAbilityError */
export function assertAbility(held: readonly string[], wanted: CallerOptions['abilities'] = ['*']): void {
  if (wanted === 'none') throw new InsufficientAbilityError([])
  if (wanted.length > 0 && !wanted.some((one) => isAble(held, one))) throw new InsufficientAbilityError(wanted)
}

// What begins so is a Bearer of ours, however malformed it goes on, and never nobody.
const bearer = /^bearer(?![\w!#$%&'*+.^`|~-])(?: +(.*))?/is

/** Who waits for a refused request: the routers that have a route of its method and ending. */
interface Waiting {
  readonly refusal: Refusal
  readonly routers: Set<object>
}

/** Finds out once for each request who is calling. One for each Perms, whatever the number of adapters. */
export class RequestAuthenticator {
  readonly #perms: PermsPort
  readonly #known = new WeakMap<object, Actor | null>()
  readonly #waiting = new WeakMap<object, Waiting>()
  /** Routes that do not look at credentials, such as `POST /api/users/login`, or not at a cookie that has expired. */
  readonly #lenient: LenientRoute[] = []

  constructor(perms: PermsPort) {
    this.#perms = perms
  }

  /** Notes a route of a router that does not look at credentials, or not at expired cookies. */
  addLenient(router: object, method: string, path: string): void {
    const segments = segmentsOf(path)
    const isKnown = this.#lenient.some(
      (one) => one.router === router && one.method === method && one.segments.join('/') === segments.join('/'),
    )
    if (!isKnown) this.#lenient.push({ router, method, segments })
  }

  /**
   * Returns a refusal that is lifted where the request reaches a lenient route, or null where it can reach none. Where a router is
   * mounted shows only when the request arrives there: before that, only the end of the path can be compared.
   */
  postpone(request: HttpRequest, error: unknown): Refusal | null {
    const routers = new Set(this.#lenient.filter((route) => mayMean(route, request)).map(({ router }) => router))
    if (routers.size === 0) return null
    const refusal: Refusal = { error, isLifted: false }
    this.#waiting.set(request.raw, { refusal, routers })
    return refusal
  }

  /** Returns the refusal that was postponed for this request before. */
  postponed(request: HttpRequest): Refusal | undefined {
    return this.#waiting.get(request.raw)?.refusal
  }

  /** Lifts the refusal of a request that has reached a lenient route. */
  lift(request: HttpRequest): void {
    // A framework may hand on another request object than the one that was refused.
    for (const refusal of [currentRefusal(), this.postponed(request)]) if (refusal) refusal.isLifted = true
  }

  /** Returns the error of a refused request that the last router with such a route does not know either; undefined for any other. */
  leftOver(request: HttpRequest, router: object): { readonly error: unknown } | undefined {
    const waiting = this.#waiting.get(request.raw)
    if (!waiting || waiting.refusal.isLifted) return undefined
    waiting.routers.delete(router)
    return waiting.routers.size === 0 ? waiting.refusal : undefined
  }

  /** Who is calling, if `identify` found it out for this request before. */
  known(request: HttpRequest): Actor | null | undefined {
    return this.#known.get(request.raw)
  }

  /**
   * Who is calling, by the Authorization header, or by a cookie where cookies are on; null for nobody, and for schemes that are
   * not ours.
   *
   * @param options `forgivesCookies`: a cookie that has expired counts as none
   * @throws InvalidTokenError, AmbiguousCredentialsError, ForeignOriginError (also as a rejection)
   */
  identify(request: HttpRequest, options: { forgivesCookies?: boolean | undefined } = {}): Actor | null | Promise<Actor | null> {
    const known = this.#known.get(request.raw)
    if (known !== undefined) return known
    const match = bearer.exec(request.header('authorization') ?? '')
    const given = match ? (match[1]?.trim() ?? '') : null
    if (this.#perms.options.cookies !== undefined) return this.#identifyWithCookies(request, given, options.forgivesCookies === true)
    return given === null ? this.#keep(request, null) : this.#verify(request, given)
  }

  #identifyWithCookies(request: HttpRequest, given: string | null, forgivesCookies: boolean): Actor | null | Promise<Actor | null> {
    if (given !== null) {
      refuseTwoCredentials(request)
      return this.#verify(request, given)
    }
    this.assertOwnOrigin(request)
    const forgive = (error: unknown): null => {
      if (!(error instanceof InvalidTokenError && forgivesCookies)) throw error
      this.lift(request)
      return this.#keep(request, null)
    }
    try {
      const token = accessCookie(request)
      return token === null ? this.#keep(request, null) : this.#verify(request, token).catch(forgive)
    } catch (error) {
      return forgive(error)
    }
  }

  /** Where cookies are on and play a part. @throws ForeignOriginError */
  assertOwnOrigin(request: HttpRequest): void {
    const { cookies } = this.#perms.options
    if (cookies !== undefined && speaksCookies(request)) assertOwnOrigin(request, cookies)
  }

  #verify(request: HttpRequest, token: string): Promise<Actor> {
    if (token === '') throw new InvalidTokenError()
    return this.#perms.authenticate(token).then((actor) => this.#keep(request, actor))
  }

  #keep<A extends Actor | null>(request: HttpRequest, actor: A): A {
    this.#known.set(request.raw, actor)
    return actor
  }
}

interface LenientRoute {
  readonly router: object
  readonly method: string
  readonly segments: readonly string[]
}

/** Whether the path of a request ends as this route's does: all that shows before the router is reached. */
function mayMean({ method, segments }: LenientRoute, request: HttpRequest): boolean {
  if (method !== (request.method === 'HEAD' ? 'GET' : request.method)) return false
  const { url } = request
  const given = (url.endsWith('/') ? url.slice(0, -1) : url).split('/')
  const from = given.length - segments.length
  return from >= 0 && segments.every((segment, i) => segment.startsWith(':') || segment === given[from + i])
}

const gates = new WeakMap<PermsPort, RequestAuthenticator>()

/** The gate of a Perms: what one adapter found out, another does not ask again. */
export function authenticatorOf(perms: PermsPort): RequestAuthenticator {
  let gate = gates.get(perms)
  if (!gate) {
    gate = new RequestAuthenticator(perms)
    gates.set(perms, gate)
  }
  return gate
}

/**
 * Returns whether the code runs in the context of this request: authenticate()'s, or one that the application put around it, such
 * as inDomain() or runAs(), which then holds. A body parser or a pool may have lost it, or have exchanged it for another request's.
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
