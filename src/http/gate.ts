import { ForbiddenError, InvalidTokenError, UnauthorizedError } from '../model/errors.js'
import { type Actor, authorityFor, currentActor } from '../perms/context.js'
import { rolesThatAre } from '../perms/tables.js'
import type { PermsPort } from './ports.js'
import type { HttpRequest } from './request.js'

/** Where a role must be held: everywhere when not said. */
export interface RoleOptions {
  /** The id or the name of a domain, or 'any' for a role held anywhere. */
  domain?: string | undefined
}

/** Whether the actor holds the role globally or in the domain named; a superadmin is an admin too. */
export function holdsRole(actor: Actor, role: string, { domain }: RoleOptions = {}): boolean {
  const roles = rolesThatAre([role])
  return actor.grants.some(
    (grant) =>
      roles.includes(grant.role) &&
      (grant.domainId === null || domain === 'any' || (domain !== undefined && (grant.domainId === domain || grant.domainName === domain))),
  )
}

/** @throws UnauthorizedError for nobody, ForbiddenError for a caller without the role */
export function demandRole(actor: Actor | null, role: string, options: RoleOptions = {}): void {
  if (actor === null) throw new UnauthorizedError()
  if (!holdsRole(actor, role, options)) throw new ForbiddenError(`This needs the role '${role}'.`)
}

const bearer = /^bearer(?: +(.*))?$/is

/** Finds out once for each request who is calling. One for each Perms, whatever the number of adapters. */
export class Gate {
  readonly #perms: PermsPort
  readonly #known = new WeakMap<object, Actor | null>()
  /** `POST /api/users/login` and the like: they do not look at credentials. */
  readonly #exempt: { readonly method: string; readonly suffix: string }[] = []

  constructor(perms: PermsPort) {
    this.#perms = perms
  }

  /** Requests of this method whose path ends so are not turned away for a bad token. */
  exempt(method: string, path: string): void {
    if (!this.#exempt.some((one) => one.method === method && one.suffix === path)) this.#exempt.push({ method, suffix: path })
  }

  isExempt(request: HttpRequest): boolean {
    const { method, url } = request
    for (const one of this.#exempt) {
      if (one.method === method && (url.endsWith(one.suffix) || url.endsWith(`${one.suffix}/`))) return true
    }
    return false
  }

  /** Who is calling, if `identify` found it out for this request before. */
  known(request: HttpRequest): Actor | null | undefined {
    return this.#known.get(request.raw)
  }

  /**
   * Who is calling, by the Authorization header alone; null for nobody, and for schemes that are not ours.
   *
   * @throws InvalidTokenError (also as a rejection)
   */
  identify(request: HttpRequest): Actor | null | Promise<Actor> {
    const known = this.#known.get(request.raw)
    if (known !== undefined) return known
    const match = bearer.exec(request.header('authorization') ?? '')
    if (!match) {
      this.#known.set(request.raw, null)
      return null
    }
    const token = match[1]?.trim() ?? ''
    if (token === '') throw new InvalidTokenError()
    return this.#perms.authenticate(token).then((actor) => {
      this.#known.set(request.raw, actor)
      return actor
    })
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
