import { ForbiddenError, InsufficientAbilityError, InvalidTokenError, UnauthorizedError } from '../model/errors.js'
import { isUuid } from '../model/values.js'
import { isAble } from '../perms/abilities.js'
import { type Actor, authorityFor, currentActor, type Grant } from '../perms/context.js'
import { rolesThatAre } from '../perms/tables.js'
import { accessCookie, refuseTwoCredentials, speaksCookies } from './cookies.js'
import { demandOwnOrigin } from './origin.js'
import type { PermsPort } from './ports.js'
import type { HttpRequest } from './request.js'

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
  const roles = rolesThatAre([role])
  return actor.grants.some((grant) => roles.includes(grant.role) && (grant.domainId === null || isIn(grant, domain)))
}

// An id is no name: the admin of a domain may call it by another's id.
function isIn({ domainId, domainName }: Grant, domain: string | undefined): boolean {
  if (domain === undefined || domain === 'any') return domain === 'any'
  return isUuid(domain) ? domainId === domain.toLowerCase() : domainName === domain
}

/** @throws UnauthorizedError for nobody, ForbiddenError for a caller without the role */
export function demandRole(actor: Actor | null, role: string, options: RoleOptions = {}): void {
  if (actor === null) throw new UnauthorizedError()
  if (!holdsRole(actor, role, options)) throw new ForbiddenError(`This needs the role '${role}'.`)
}

/** Whether a key with these abilities is let in, and what it needs is said. @throws InsufficientAbilityError */
export function demandAbility(held: readonly string[], wanted: CallerOptions['abilities'] = ['*']): void {
  if (wanted === 'none') throw new InsufficientAbilityError([])
  if (wanted.length > 0 && !wanted.some((one) => isAble(held, one))) throw new InsufficientAbilityError(wanted)
}

// What begins so is a Bearer of ours, however malformed it goes on, and never nobody.
const bearer = /^bearer(?![\w!#$%&'*+.^`|~-])(?: +(.*))?/is

/** Finds out once for each request who is calling. One for each Perms, whatever the number of adapters. */
export class Gate {
  readonly #perms: PermsPort
  readonly #known = new WeakMap<object, Actor | null>()
  /** `POST /api/users/login` and the like: they do not look at credentials. */
  readonly #exempt = new Places()
  readonly #forgiving = new Places()

  constructor(perms: PermsPort) {
    this.#perms = perms
  }

  /** Requests of this method whose path ends so are not turned away for a bad token. */
  exempt(method: string, path: string): void {
    this.#exempt.add(method, path)
  }

  isExempt(request: HttpRequest): boolean {
    return this.#exempt.has(request)
  }

  /** On requests of this method whose path ends so a cookie that has expired counts as none. */
  forgiveCookies(method: string, path: string): void {
    this.#forgiving.add(method, path)
  }

  /** Who is calling, if `identify` found it out for this request before. */
  known(request: HttpRequest): Actor | null | undefined {
    return this.#known.get(request.raw)
  }

  /**
   * Who is calling, by the Authorization header, or by a cookie where cookies are on; null for nobody, and for schemes that are
   * not ours.
   *
   * @throws InvalidTokenError, AmbiguousCredentialsError, ForeignOriginError (also as a rejection)
   */
  identify(request: HttpRequest): Actor | null | Promise<Actor | null> {
    const known = this.#known.get(request.raw)
    if (known !== undefined) return known
    const match = bearer.exec(request.header('authorization') ?? '')
    const given = match ? (match[1]?.trim() ?? '') : null
    if (this.#perms.options.cookies !== undefined) return this.#identifyWithCookies(request, given)
    return given === null ? this.#keep(request, null) : this.#verify(request, given)
  }

  #identifyWithCookies(request: HttpRequest, given: string | null): Actor | null | Promise<Actor | null> {
    if (given !== null) {
      refuseTwoCredentials(request)
      return this.#verify(request, given)
    }
    this.demandOwnOrigin(request)
    const forgive = (error: unknown): null => {
      if (error instanceof InvalidTokenError && this.#forgiving.has(request)) return this.#keep(request, null)
      throw error
    }
    try {
      const token = accessCookie(request)
      return token === null ? this.#keep(request, null) : this.#verify(request, token).catch(forgive)
    } catch (error) {
      return forgive(error)
    }
  }

  /** Where cookies are on and play a part. @throws ForeignOriginError */
  demandOwnOrigin(request: HttpRequest): void {
    const { cookies } = this.#perms.options
    if (cookies !== undefined && speaksCookies(request)) demandOwnOrigin(request, cookies)
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

/** Methods and how the paths of requests end. */
class Places {
  readonly #places: { readonly method: string; readonly suffix: string }[] = []

  add(method: string, suffix: string): void {
    if (!this.#places.some((one) => one.method === method && one.suffix === suffix)) this.#places.push({ method, suffix })
  }

  has(request: HttpRequest): boolean {
    const { url } = request
    const method = request.method === 'HEAD' ? 'GET' : request.method
    for (const one of this.#places) {
      if (one.method === method && (url.endsWith(one.suffix) || url.endsWith(`${one.suffix}/`))) return true
    }
    return false
  }
}

const gates = new WeakMap<PermsPort, Gate>()

/** The gate of a Perms: what one adapter found out, another does not ask again. */
export function gateOf(perms: PermsPort): Gate {
  let gate = gates.get(perms)
  if (!gate) {
    gate = new Gate(perms)
    gates.set(perms, gate)
  }
  return gate
}

/**
 * Whether the code runs in a caller's context: authenticate()'s, or one that the application put around it, such as
 * inDomain() or runAs(), which then holds. Not so where an old body parser lost it.
 */
export function isInCallersFrame(): boolean {
  if (currentActor() !== null) return true
  try {
    return authorityFor(null) === null
  } catch {
    return false
  }
}
