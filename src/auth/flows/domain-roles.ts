import { ForbiddenError, NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { type Actor, asSystem, currentActor, type Grant } from '../../policy/context.js'
import { rolesGrantedBy } from '../../policy/declared-roles.js'
import { namedDomain } from '../../policy/domain-ref.js'
import { policyOf } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import type { DomainName } from '../../policy/registered-types.js'
import { ADMIN, rolesSatisfying, SUPERADMIN } from '../../policy/user-tables.js'
import { decodeId } from '../../schema/ids.js'
import { isStorableText } from '../../schema/values.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { Domain } from '../../users/domain.js'
import type { UserRole } from '../../users/user-role.js'

/** Returns the registered model of role grants. */
export const grants = () => registeredModel('userRole') as typeof UserRole

/** Returns the caller. @throws UnauthorizedError for an anonymous caller */
export function assertActor(): Actor {
  const actor = currentActor()
  if (!actor) throw new UnauthorizedError()
  return actor
}

/** Returns the active domain with this id or name, or null. The caller does not need the right to read it. */
export async function activeDomain(given: DomainName): Promise<Domain | null> {
  if (typeof given === 'string' && !isStorableText(given)) return null
  const { id, name } = namedDomain(given)
  if (id === null) return null
  const where = name === undefined ? { id } : { name }
  const Class = registeredModel('domain') as typeof Domain
  return (await asSystem(() => Class.query().findOne({ ...where, active: true }))) ?? null
}

/**
 * Returns a domain that the caller administers.
 *
 * @throws UnauthorizedError for an anonymous caller
 * @throws NotFoundError for other callers, for API keys, and when there is no such active domain
 */
export async function administeredDomain(idOrName: unknown): Promise<Domain> {
  const actor = assertActor()
  const found = isDomainRef(idOrName) ? await activeDomain(idOrName) : null
  const isAdmin = actor.grants.some((grant) => isAdminGrant(grant) && (grant.domainId === null || grant.domainId === found?.id))
  if (!found || !isAdmin || actor.abilities) throw new NotFoundError()
  return found
}

/** Returns whether a value may name a domain: its name, its id, or an object with its id. A number is an id only if ids are integers. */
export const isDomainRef = (given: unknown): given is DomainName =>
  typeof given === 'string' ||
  (typeof given === 'number' && decodeId(registeredModel('domain'), given) !== undefined) ||
  (typeof given === 'object' && given !== null && 'id' in given)

/**
 * Throws when the caller may not grant any role, and so cannot invite any user. With a custom policy for grants this depends on
 * the invitation: then only API keys and anonymous callers are refused here.
 *
 * @throws UnauthorizedError, ForbiddenError
 */
export function assertInviter(): void {
  const actor = assertActor()
  forbidApiKey(message('subject.invitations'))
  const mayGrant = (grant: Grant) => isAdminGrant(grant) || rolesGrantedBy(grant.role).length > 0
  if (policyOf(grants()).create.kind === 'rank' && !actor.grants.some(mayGrant)) throw roleNotGrantable()
}

/** Returns whether the caller may grant the role in every domain. Such callers may learn which domains exist. */
export function canGrantInEveryDomain(actor: Actor, role: string): boolean {
  const global = actor.grants.filter((grant) => grant.domainId === null && isAdminGrant(grant))
  return global.some((grant) => role !== SUPERADMIN || grant.role === SUPERADMIN)
}

export const roleNotGrantable = () => new ForbiddenError(message('role.notGrantable'))

function isAdminGrant({ role }: Grant): boolean {
  return rolesSatisfying([ADMIN]).includes(role)
}
