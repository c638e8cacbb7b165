import { message } from '../core/messages/message.js'
import type { ActionName } from './actions.js'
import { callerOf } from './compiler/caller.js'
import { all, any, type Condition, negate, type Sql, sql } from './compiler/condition.js'
import { grantColumn, onlyVisible } from './compiler/grants.js'
import { globalRole, holdsAdminRole } from './compiler/role-conditions.js'
import { columnSql, type Scope } from './compiler/scope.js'
import { permitted } from './effective.js'
import { ADMIN, holdsUsers, SUPERADMIN, userTables } from './user-tables.js'

/** The requirement of outranks(), for error messages. */
export const OUTRANKS = message('limit.outranks')

/**
 * Returns the condition that a row belongs to the actor, or to a user whose admin roles all rank below the actor's. If the right to
 * this action comes from a domain, the user may hold no role outside it.
 */
export function outranks(scope: Scope, action: ActionName): Condition {
  const caller = callerOf(scope)
  const field = ownerOf(scope)
  if (!caller.isPresent(scope) || !field) return false
  const right = caller.hasDomainGrants(scope) ? rightWithinDomains(scope, field, action) : true
  return any(isCaller(scope, field), all(isHigher(scope, field), right))
}

/** Returns the same condition for code that decides itself who may act, such as a custom route: the policy does not apply. */
export function outranksUser(scope: Scope): Condition {
  const caller = callerOf(scope)
  if (!caller.isPresent(scope)) return false
  const right = any(
    !caller.hasDomainGrants(scope) || permitted('update', caller.withGlobalGrants(scope), { withDeleted: true }),
    ...caller.inOneDomain(scope, (_inner, id) => holdsNothingOutside(scope, 'id', id)),
  )
  return any(isCaller(scope, 'id'), all(isHigher(scope, 'id'), right))
}

function ownerOf({ policy }: Scope): string | undefined {
  return policy.isUserModel ? 'id' : policy.ownerField
}

function isCaller(scope: Scope, field: string): Condition {
  if (scope.policy.isUserModel && field === 'id' && !holdsUsers(scope.cls)) return false
  return callerOf(scope).idIs(scope, field)
}

// The ranks are superadmin, global admin, admin of a domain, and all other users.
function isHigher(scope: Scope, field: string): Condition {
  const column = columnSql(scope, field)
  const isAdminEverywhere = holdsAdminRole(scope, column, aliasOf(scope), sql(' and ?? is null', grantColumn(aliasOf(scope), 'domainId')))
  return any(
    globalRole(scope, [SUPERADMIN]),
    all(globalRole(scope, [ADMIN]), negate(isAdminEverywhere)),
    negate(holdsAdminRole(scope, column, aliasOf(scope), sql(''))),
  )
}

const aliasOf = (scope: Scope) => `perms_k${scope.depth}`

function holdsNothingOutside(scope: Scope, field: string, domain: Sql): Sql {
  const column = columnSql(scope, field)
  const alias = aliasOf(scope)
  const visible = onlyVisible(scope, alias)
  return sql(
    `not exists (select 1 from ?? as ?? where ?? = ${column.sql} and (?? is null or ?? <> ${domain.sql})${visible.sql})`,
    userTables().userRole.table,
    alias,
    grantColumn(alias, 'userId'),
    ...column.bindings,
    grantColumn(alias, 'domainId'),
    grantColumn(alias, 'domainId'),
    ...domain.bindings,
    ...visible.bindings,
  )
}

// A right from global grants covers every domain. A right that needs grants of a domain ends with it.
function rightWithinDomains(scope: Scope, field: string, action: ActionName): Condition {
  const caller = callerOf(scope)
  const withDeleted = true
  return any(
    // It is unknown which grant check() relies on, so it counts as a right of the domain.
    permitted(action, caller.withGlobalGrants(scope), { withDeleted, withoutChecks: true }),
    ...caller.inOneDomain(scope, (inner, id) => all(permitted(action, inner, { withDeleted }), holdsNothingOutside(scope, field, id))),
  )
}
