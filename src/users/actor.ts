import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { type Actor, asSystem, currentActor, runAsActor } from '../policy/context.js'
import { registeredModel } from '../policy/registered-models.js'
import { rolesSatisfying } from '../policy/user-tables.js'
import { counts } from './has-roles-mixin.js'
import { Role } from './roles.js'
import type { User } from './user.js'
import type { UserRole } from './user-role.js'

/** Returns whether a user may act at all: enabled, and not soft-deleted. A row without `isEnabled` is of an unknown state: it may not. */
export function isActive(user: User): boolean {
  return user.isEnabled === true && (user as unknown as { deletedAt?: Date | null }).deletedAt == null
}

/** What an actor has beside the user: of a session or an API key. */
export type ActorDetails = Partial<Pick<Actor, 'sessionId' | 'abilities' | 'keyMadeAt' | 'impersonatorId'>>

/**
 * Returns the user as an API key may act for: without admin roles that were granted, or changed, after the key was made. A promotion
 * does not widen a key that was handed out before it.
 */
function asKeyMay(user: User, madeAt: Date | null): User {
  const isLater = ({ role, updatedAt }: UserRole) =>
    rolesSatisfying([Role.ADMIN]).includes(role) &&
    !(madeAt !== null && updatedAt instanceof Date && updatedAt.getTime() <= madeAt.getTime())
  if (!user.roles?.some(isLater)) return user
  // A copy: the application may keep the user that it gave in loadUser().
  const limited = user.getClone()
  limited.roles = user.roles.filter((grant) => !isLater(grant))
  return limited
}

/** A user with loaded roles as the engine sees it. @throws RolesNotLoadedError */
export function toActor(given: User, more: ActorDetails = {}): Actor {
  if (!Array.isArray(given.roles)) given.hasRole()
  const { sessionId = null, abilities = null, keyMadeAt, impersonatorId = null } = more
  const user = keyMadeAt === undefined ? given : asKeyMay(given, keyMadeAt)
  const grants = (user.roles ?? []).filter(counts).map((grant) => ({
    id: grant.id,
    role: grant.role,
    domainId: grant.domainId ?? null,
    domainName: grant.domain?.name ?? null,
  }))
  return { id: user.id, user, grants, sessionId, abilities, impersonatorId, ...(keyMadeAt === undefined ? {} : { keyMadeAt }) }
}

/** The user with all roles, by id, as an actor; null where there is none, or one who is disabled or deleted. */
export async function loadActor(id: string, more: ActorDetails = {}): Promise<Actor | null> {
  const user = await asSystem(() => (registeredModel('user') as unknown as typeof User).get(id))
  return user && isActive(user) ? toActor(user, more) : null
}

/**
 * The user on whose behalf the code runs, with roles, or null. Synchronous: authenticate() and runAs() loaded it.
 *
 * @example const me = currentUser<Employee>()
 */
export function currentUser<U extends User = User>(): U | null {
  return (currentActor()?.user as U | undefined) ?? null
}

/**
 * Runs fn as this user, loaded anew with all roles: rights are those of now. A user who is disabled, deleted or not there is
 * anonymous. An outer bypass does not reach in.
 *
 * @param user a user, an id, or what `perms.authenticate(token)` gave: then what narrows an API key, and who acts in the user's
 * place, hold inside too
 * @returns what fn resolves to; a query builder that fn returns runs inside
 * @example const mine = await runAs(user, () => UserDocument.query())
 */
export async function runAs<T>(user: User | Actor | string, fn: () => T): Promise<Awaited<T>> {
  const id = typeof user === 'string' ? user : user?.id
  if (typeof id !== 'string' || id === '')
    throw new ConfigurationError('runAs(user, fn): give a saved user or an id; for nobody there is asAnonymous(fn).')
  return await runAsActor(await loadActor(id, isActor(user) ? user : {}), fn)
}

function isActor(user: User | Actor | string): user is Actor {
  return typeof user === 'object' && Array.isArray((user as Partial<Actor>).grants)
}

/** A class of users, whichever of the models over the user table. */
export type UserClass = typeof Model & { new (): User }
