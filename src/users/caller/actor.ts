import type { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { type Actor, asSystem, currentActor, runAsActor } from '../../policy/context.js'
import { assertRegisteredUser, registeredModel } from '../../policy/registered-models.js'
import type { Register, RoleName, UserId } from '../../policy/registered-types.js'
import { isActiveUser, rolesSatisfying } from '../../policy/user-tables.js'
import { assertHome } from '../../query/home.js'
import type { ActiveRecord } from '../../record/record-types.js'
import { decodeId } from '../../schema/ids.js'
import type { WithPassword } from '../account/password-mixin.js'
import { isEffectiveGrant, type WithRoles } from '../roles/has-roles-mixin.js'
import { Role } from '../roles/roles.js'
import type { User, UserWithoutId } from '../user.js'
import type { UserRole } from '../user-role.js'

/** Returns whether a user may act: enabled and not soft-deleted. */
export function isActive(user: User): boolean {
  return isActiveUser(user)
}

/** The parts of an actor that come from a session or an API key, not from the user. */
export type ActorDetails = Partial<Pick<Actor, 'sessionId' | 'abilities' | 'keyMadeAt' | 'impersonatorId' | 'authTime' | 'amr'>>

/** When and how a user proved to be present. */
export type Presence = Partial<Pick<Actor, 'authTime' | 'amr'>>

/**
 * Returns the user without the admin roles that were granted or changed after the API key was made. A promotion does not widen
 * existing keys.
 */
function withoutLaterAdminRoles(user: User, madeAt: Date | null): User {
  const isLater = ({ role, updatedAt }: UserRole) =>
    rolesSatisfying([Role.ADMIN]).includes(role) &&
    !(madeAt !== null && updatedAt instanceof Date && updatedAt.getTime() <= madeAt.getTime())
  if (!user.roles?.some(isLater)) return user
  // Copies the user: the application may keep the object that loadUser() returned.
  const limited = user.getClone()
  limited.roles = user.roles.filter((grant) => !isLater(grant))
  return limited
}

/** Returns the actor of a user whose roles are loaded. @throws RolesNotLoadedError */
export function toActor(given: User, more: ActorDetails = {}): Actor {
  if (!Array.isArray(given.roles)) given.hasRole()
  const { sessionId = null, abilities = null, keyMadeAt, impersonatorId = null, authTime = null, amr = null } = more
  const user = keyMadeAt === undefined ? given : withoutLaterAdminRoles(given, keyMadeAt)
  const grants = (user.roles ?? []).filter(isEffectiveGrant).map((grant) => ({
    id: grant.id,
    role: grant.role,
    domainId: grant.domainId ?? null,
    domainName: grant.domain?.name ?? null,
  }))
  const proof = { authTime, amr }
  return { id: user.id, user, grants, sessionId, abilities, impersonatorId, ...proof, ...(keyMadeAt === undefined ? {} : { keyMadeAt }) }
}

/** Loads a user with all roles and returns the actor, or null when the user does not exist, is disabled or deleted. */
export async function loadActor(given: unknown, more: ActorDetails = {}): Promise<Actor | null> {
  const id = decodeId(registeredModel('user'), given)
  if (id === undefined) return null
  const user = await asSystem(() => (registeredModel('user') as typeof User).get(id as string))
  return user && isActive(user) ? toActor(user, more) : null
}

/**
 * Returns the user on whose behalf the code runs, with roles, or null for an anonymous caller. It is synchronous: authenticate()
 * and runAs() have loaded the user.
 *
 * @example const me = currentUser<Employee>()
 */
export function currentUser<U extends UserRow = RegisteredUser>(): U | null {
  return (currentActor()?.user as U | undefined) ?? null
}

/**
 * Runs fn on behalf of a user. It loads the user and all roles first, so current permissions apply. A user who is disabled, deleted
 * or missing counts as anonymous. An outer bypassPerms() has no effect inside.
 *
 * @param user a user, an id, or the actor that `perms.authenticate(token)` returned. With an actor, the abilities of its API key
 * and its impersonator apply inside too.
 * @param proof when and how the user proved to be present, for the rules recent() and factor(). Without it, a user or an id is not
 * recent. An actor keeps the proof of its session.
 * @returns the value that fn resolves to. If fn returns a query builder, the query runs inside.
 * @throws ConfigurationError for a user without an id
 * @example const mine = await runAs(user, () => UserDocument.query())
 * @example await runAs(user, () => UserDocument.query(), { authTime: new Date(), amr: ['pwd', 'otp'] })
 */
export async function runAs<T>(user: UserRow | Actor | UserId, fn: () => T, proof: Presence = {}): Promise<Awaited<T>> {
  const id: unknown = typeof user === 'object' ? user?.id : user
  if (id === undefined || id === null || id === '' || typeof id === 'object')
    throw new ConfigurationError('runAs(user, fn): pass a saved user or an id. For an anonymous caller use asAnonymous(fn).')
  const row = isActor(user) ? user.user : user
  assertHome(row)
  assertRegisteredUser(row)
  return await runAsActor(await loadActor(id, { ...(isActor(user) ? user : {}), ...proof }), fn)
}

function isActor(user: UserRow | Actor | UserId): user is Actor {
  return typeof user === 'object' && user !== null && Array.isArray((user as Partial<Actor>).grants)
}

/**
 * Returns the id of a saved user, or an id as the registered user model spells it.
 *
 * @throws ConfigurationError for a user that was never saved, and for a value that is no id of the user model
 */
export function userIdOf(user: UserRow | UserId): UserId {
  assertRegisteredUser(user)
  const id = decodeId(registeredModel('user'), typeof user === 'object' ? user?.id : user)
  if (id !== undefined) return id as UserId
  throw new ConfigurationError('Pass a saved user or its id.')
}

/** A row of a user model, as functions take it: of User, or of a class made with HasRolesMixin, with an id of any type. */
export interface UserRow {
  readonly id: string | number
  hasRole(role?: RoleName): boolean
}

/** The registered user model: `Register.user`, else User. */
export type RegisteredUser = Register extends { user: infer U extends UserRow } ? U : User

/** A row of a user model: of User, or of a class made with HasRolesMixin and PasswordMixin over the application's base class. */
export type AnyUser = Model & ActiveRecord & WithRoles & WithPassword & { id: string | number }

/** The class of a user model. */
export type UserClass = typeof Model & { new (): AnyUser }

/** The class of the registered user model, typed as User. */
export type RegisteredUserClass = typeof Model & { new (): UserWithoutId & { id: string | number } }
