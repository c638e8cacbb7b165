import { message } from '../core/messages/message.js'
import type { ActionName } from './actions.js'
import { all, any, type Condition, negate, type Sql, sql } from './compiler/condition.js'
import { globalRole, grantColumn, holdsAdminRole } from './compiler/role-conditions.js'
import { columnSql, equals, type Scope } from './compiler/scope.js'
import type { Actor } from './context.js'
import { permitted } from './effective.js'
import { ADMIN, holdsUsers, SUPERADMIN, userTables } from './user-tables.js'

/** The requirement of outranks(), for error messages. */
export const OUTRANKS = message('limit.outranks')

/**
 * Returns the condition that a row belongs to the actor, or to a user whose admin roles all rank below the actor's. If the right to
 * this action comes from a domain, the user may hold no role outside it.
 */
export function outranks(scope: Scope, action: ActionName): Condition {
  const { actor } = scope
  const field = ownerOf(scope)
  if (!actor || !field) return false
  const right = actor.grants.some(({ domainId }) => domainId !== null) ? rightWithinDomains(scope, action, actor) : true
  return any(isActor(scope, field, actor), all(isHigher(scope, field), right))
}

/** Returns the same condition for code that decides itself who may act, such as a custom route: the policy does not apply. */
export function outranksUser(scope: Scope): Condition {
  const { actor } = scope
  if (!actor) return false
  const domains = domainsOf(actor)
  const right = any(
    domains.length === 0 || permitted('update', withGrants(scope, actor, null), { withDeleted: true }),
    ...domains.map((id) => holdsNothingOutside(scope, 'id', id)),
  )
  return any(isActor(scope, 'id', actor), all(isHigher(scope, 'id'), right))
}

function ownerOf({ policy }: Scope): string | undefined {
  return policy.isUserModel ? 'id' : policy.ownerField
}

function isActor(scope: Scope, field: string, actor: Actor): Condition {
  if (scope.policy.isUserModel && field === 'id' && !holdsUsers(scope.cls)) return false
  return equals(scope, field, actor.id)
}

// The ranks are superadmin, global admin, admin of a domain, and all other users.
function isHigher(scope: Scope, field: string): Condition {
  const column = columnSql(scope, field)
  const isAdminEverywhere = holdsAdminRole(column, aliasOf(scope), sql(' and ?? is null', grantColumn(aliasOf(scope), 'domainId')))
  return any(
    globalRole(scope, [SUPERADMIN]),
    all(globalRole(scope, [ADMIN]), negate(isAdminEverywhere)),
    negate(holdsAdminRole(column, aliasOf(scope), sql(''))),
  )
}

const aliasOf = (scope: Scope) => `perms_k${scope.depth}`

function holdsNothingOutside(scope: Scope, field: string, domainId: string): Sql {
  const column = columnSql(scope, field)
  const alias = aliasOf(scope)
  return sql(
    `not exists (select 1 from ?? as ?? where ?? = ${column.sql} and (?? is null or ?? <> ?))`,
    userTables().userRole.table,
    alias,
    grantColumn(alias, 'userId'),
    ...column.bindings,
    grantColumn(alias, 'domainId'),
    grantColumn(alias, 'domainId'),
    domainId,
  )
}

// A right from global grants covers every domain. A right that needs grants of a domain ends with it.
function rightWithinDomains(scope: Scope, action: ActionName, actor: Actor): Condition {
  const field = ownerOf(scope) as string
  const withDeleted = true
  return any(
    // It is unknown which grant check() relies on, so it counts as a right of the domain.
    permitted(action, withGrants(scope, actor, null), { withDeleted, withoutChecks: true }),
    ...domainsOf(actor).map((id) =>
      all(permitted(action, withGrants(scope, actor, id), { withDeleted }), holdsNothingOutside(scope, field, id)),
    ),
  )
}

function domainsOf({ grants }: Actor): string[] {
  return [...new Set(grants.flatMap(({ domainId }) => (domainId === null ? [] : [domainId])))]
}

/** Returns the scope with only the global grants of the actor and those of one domain. */
function withGrants(scope: Scope, actor: Actor, domain: string | null): Scope {
  const grants = actor.grants.filter(({ domainId }) => domainId === null || domainId === domain)
  return { ...scope, actor: { ...actor, grants } }
}
