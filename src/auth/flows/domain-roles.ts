import { ForbiddenError, NotFoundError, UnauthorizedError, ValidationError } from '../../core/errors.js'
import { type Actor, asSystem, currentActor, type Grant } from '../../policy/context.js'
import { policyOf } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import { ADMIN, rolesSatisfying, SUPERADMIN } from '../../policy/user-tables.js'
import { isStorableText, isUuid } from '../../schema/values.js'
import { forbidApiKey } from '../../users/caller-restrictions.js'
import type { Domain } from '../../users/domain.js'
import type { UserRole } from '../../users/user-role.js'

/** What invitations and memberships share: the caller, domains and the model of grants. */
export const grants = () => registeredModel('userRole') as unknown as typeof UserRole

/** @throws UnauthorizedError */
export function assertActor(): Actor {
  const actor = currentActor()
  if (!actor) throw new UnauthorizedError()
  return actor
}

/** An active domain by its id or name, whoever asks; null where there is none. */
export async function activeDomain(idOrName: string): Promise<Domain | null> {
  if (!isStorableText(idOrName)) return null
  const where = isUuid(idOrName) ? { id: idOrName.toLowerCase() } : { name: idOrName }
  const Class = registeredModel('domain') as unknown as typeof Domain
  return ((await asSystem(() => Class.query().findOne({ ...where, active: true } as never))) as Domain | undefined) ?? null
}

/** The domain, for one who administers it, in person. @throws NotFoundError for anybody else, and where there is none */
export async function administered(idOrName: unknown): Promise<Domain> {
  const actor = assertActor()
  const found = typeof idOrName === 'string' ? await activeDomain(idOrName) : null
  const isAdmin = actor.grants.some((grant) => isOfAdmin(grant) && (grant.domainId === null || grant.domainId === found?.id))
  if (!found || !isAdmin || actor.abilities) throw new NotFoundError()
  return found
}

/**
 * Refuses whoever may invite nobody anywhere, whatever they ask for. Where the application has a policy of its own for grants,
 * only what is asked for can tell.
 *
 * @throws UnauthorizedError, ForbiddenError
 */
export function assertInviter(): void {
  const actor = assertActor()
  forbidApiKey('Invitations')
  if (policyOf(grants() as never).create.kind === 'rank' && !actor.grants.some(isOfAdmin)) throw mayNotGive()
}

/** Whether the rank is enough for a role in any domain: such callers may know which domains there are. */
export function mayGiveAnywhere(actor: Actor, role: string): boolean {
  const global = actor.grants.filter((grant) => grant.domainId === null && isOfAdmin(grant))
  return global.some((grant) => role !== SUPERADMIN || grant.role === SUPERADMIN)
}

export const mayNotGive = () => new ForbiddenError('You may not give this role there.')

function isOfAdmin({ role }: Grant): boolean {
  return rolesSatisfying([ADMIN]).includes(role)
}

/** @throws ValidationError for anything but text, blank text, and what no database stores */
export function textOf(value: unknown, field: string): string {
  if (typeof value !== 'string') throw invalid(field, value === undefined ? 'is required' : 'must be a string')
  if (value.trim() === '') throw invalid(field, 'may not be blank')
  if (!isStorableText(value)) throw invalid(field, 'may not hold NUL characters or broken surrogate pairs')
  return value
}

export function invalid(field: string, message: string): ValidationError {
  return new ValidationError(`${field} ${message}.`, [{ field, message }])
}
