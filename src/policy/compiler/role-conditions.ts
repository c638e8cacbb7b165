/** Compiles rules about the roles of the actor and the ranks of other users. */
import { structureOf } from '../../schema/definition/definition.js'
import { hasConsented } from '../context.js'
import { rolesGrantedBy } from '../declared-roles.js'
import { policyFrameOf } from '../policy.js'
import { registeredModel } from '../registered-models.js'
import type { ColleagueRule, MemberRule, RoleRule } from '../rules.js'
import { ADMIN, SUPERADMIN, userTables } from '../user-tables.js'
import { callerOf } from './caller.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import { grantColumn, onlyVisible } from './grants.js'
import { columnSql, isSameId, type Scope } from './scope.js'

/** Returns whether the caller holds one of the roles globally. In a write, the statement checks it again. */
export function globalRole(scope: Scope, roles: readonly string[]): Condition {
  return callerOf(scope).holdsGlobally(scope, roles)
}

/** Compiles role(). */
export function roleCondition(rule: RoleRule, scope: Scope): Condition {
  const caller = callerOf(scope)
  const conditions: Condition[] = [globalRole(scope, rule.roles)]
  if (rule.domain !== undefined) conditions.push(...caller.holdsInNamed(scope, rule.roles, rule.domain))
  else if (scope.policy.domainField) conditions.push(caller.holdsInDomain(scope, scope.policy.domainField, rule.roles))
  const condition = any(...conditions)
  // Admins may not change other admins, even if the rule also names another role.
  return scope.writes && rule.roles.includes(ADMIN) ? all(condition, excludesAdmins(scope)) : condition
}

/** Compiles the rule that the caller holds a grant in the domain of the row. */
export function memberCondition({ field, roles }: MemberRule, scope: Scope): Condition {
  return callerOf(scope).holdsInDomain(scope, field, roles ?? null)
}

/** Compiles the rule that the user of the row holds a grant in a domain in which the caller holds one. */
export function colleagueCondition({ roles }: ColleagueRule, scope: Scope): Condition {
  return callerOf(scope).sharesDomain(scope, roles ?? null)
}

/**
 * Returns the condition that a user holds the role of an admin.
 *
 * @param column the column with the user's id
 * @param alias the name of the table of grants in the statement
 * @param place a further condition on the grant, which begins with `and`
 */
export function holdsAdminRole(scope: Scope, column: Sql, alias: string, place: Sql): Sql {
  const visible = onlyVisible(scope, alias)
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ${column.sql} and ?? in (?, ?)${place.sql}${visible.sql})`,
    bindings: [
      ...[userTables().userRole.table, alias, grantColumn(alias, 'userId')],
      ...column.bindings,
      ...[grantColumn(alias, 'role'), ADMIN, SUPERADMIN],
      ...place.bindings,
      ...visible.bindings,
    ],
  }
}

/**
 * Returns the condition that the row is not an admin and does not belong to another admin. Always true for superadmins.
 *
 * @param field the column with the user's id. Default: `id` for user models, else the owner's column.
 */
export function excludesAdmins(scope: Scope, field = scope.policy.isUserModel ? 'id' : scope.policy.ownerField): Condition {
  const caller = callerOf(scope)
  if (!caller.isPresent(scope)) return false
  if (!field) return true
  const superadmin = globalRole(scope, [SUPERADMIN])
  if (superadmin === true) return true
  const column = columnSql(scope, field)
  if (scope.row && (scope.row[field] === undefined || scope.row[field] === null)) return true
  // An assumed grant is not in the database.
  if (scope.assumesGrants && field === 'id' && scope.actor && isSameId(scope.row?.['id'], scope.actor.id))
    return !globalRole(scope, [ADMIN])
  const alias = `perms_a${scope.depth}`
  const holds = holdsAdminRole(scope, column, alias, { sql: ' and ?? is null', bindings: [grantColumn(alias, 'domainId')] })
  const isOther: Sql = { sql: `not ${holds.sql}`, bindings: holds.bindings }
  // Admins may change their own rows. Their user row needs the rule self().
  return any(superadmin, field === 'id' ? false : caller.idIs(scope, field), isOther)
}

// -- grants

/** Compiles the rule that the actor may make or change a grant, by rank. */
export function rankCondition(scope: Scope, joins: boolean): Condition {
  const caller = callerOf(scope)
  if (!caller.isPresent(scope)) return false
  const role = columnSql(scope, 'role')
  const domain = columnSql(scope, 'domainId')
  const isRole = (...names: string[]): Condition =>
    scope.row
      ? names.includes(String(scope.row.role))
      : sql(`${role.sql} in (${names.map(() => '?').join(', ')})`, ...role.bindings, ...names)
  const isGlobal: Condition = scope.row ? (scope.row.domainId ?? null) === null : sql(`${domain.sql} is null`, ...domain.bindings)
  const others = excludesAdmins(scope)
  const below = negate(any(isRole(SUPERADMIN), all(isRole(ADMIN), isGlobal)))
  const asAdmin = all(globalRole(scope, [ADMIN]), below, others)
  const asDomainAdmin = all(
    caller.holdsInDomain(scope, 'domainId', [ADMIN]),
    negate(isRole(ADMIN, SUPERADMIN)),
    others,
    joins || belongsToDomain(scope),
  )
  return any(globalRole(scope, [SUPERADMIN]), asAdmin, asDomainAdmin, all(grantorCondition(scope, joins), others))
}

/**
 * Returns the condition that one of the actor's declared roles may grant the role of the row, where the actor holds it.
 *
 * @param joins whether the grant may be the user's first one in the domain
 */
export function grantorCondition(scope: Scope, joins: boolean): Condition {
  const caller = callerOf(scope)
  const conditions: Condition[] = []
  for (const held of caller.grantingRoles(scope)) {
    const granted = rolesGrantedBy(held)
    if (granted.length === 0) continue
    const column = columnSql(scope, 'role')
    const isGranted: Condition = scope.row
      ? granted.includes(String(scope.row.role))
      : sql(`${column.sql} in (${granted.map(() => '?').join(', ')})`, ...column.bindings, ...granted)
    const isThere = all(caller.holdsInDomain(scope, 'domainId', [held]), joins || belongsToDomain(scope))
    conditions.push(all(isGranted, any(globalRole(scope, [held]), isThere)))
  }
  return any(...conditions)
}

// The user of a grant is a member of its domain, has a row that belongs to it, or just accepted an invitation.
function belongsToDomain(scope: Scope): Condition {
  if (scope.row && hasConsented(scope.row.userId, scope.row.domainId)) return true
  const user = columnSql(scope, 'userId')
  const domain = columnSql(scope, 'domainId')
  const isIn = (table: string, alias: string, column: string, domainColumn: string, more = sql('')): Sql =>
    sql(
      `exists (select 1 from ?? as ?? where ?? = ${user.sql} and ?? = ${domain.sql}${more.sql})`,
      table,
      alias,
      `${alias}.${column}`,
      ...user.bindings,
      `${alias}.${domainColumn}`,
      ...domain.bindings,
      ...more.bindings,
    )
  const member = `perms_m${scope.depth}`
  const tables = userTables()
  const User = registeredModel('user')
  const { domainField } = policyFrameOf(User)
  const domainColumn = domainField && structureOf(User).columnOf.get(domainField)
  return any(
    isIn(tables.userRole.table, member, tables.userRole.column('userId'), tables.userRole.column('domainId'), onlyVisible(scope, member)),
    domainColumn ? isIn(tables.user.table, `perms_b${scope.depth}`, tables.user.column('id'), domainColumn) : false,
  )
}

/** Returns the condition that the actor is an admin of the row's domain. */
export function domainAdmin(scope: Scope): Condition {
  const field = scope.policy.domainField
  return field !== undefined && callerOf(scope).holdsInDomain(scope, field, [ADMIN])
}
