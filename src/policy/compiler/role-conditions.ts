/** Compiles rules about the roles of the actor and the ranks of other users. */
import { structureOf } from '../../schema/definition/definition.js'
import { type Actor, type Grant, hasConsented } from '../context.js'
import { rolesGrantedBy } from '../declared-roles.js'
import { isGrantIn } from '../domain-ref.js'
import { policyFrameOf } from '../policy.js'
import { registeredModel } from '../registered-models.js'
import type { ColleagueRule, MemberRule, RoleRule } from '../rules.js'
import { ADMIN, rolesSatisfying, SUPERADMIN, userTables } from '../user-tables.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import { columnSql, equals, type Scope } from './scope.js'

function grantsOf(actor: Actor | null, roles: readonly string[]): Grant[] {
  const wanted = rolesSatisfying(roles)
  return (actor?.grants ?? []).filter((grant) => wanted.includes(grant.role))
}

/** Returns whether the actor holds one of the roles globally. In a write, the statement checks it again. */
export function globalRole(scope: Scope, roles: readonly string[]): Condition {
  const held = grantsOf(scope.actor, roles).filter((grant) => grant.domainId === null)
  if (held.length === 0) return false
  return scope.live ? storedGrant(scope, rolesSatisfying(roles), sql('?? is null', grantColumn(grantAlias(scope), 'domainId'))) : true
}

const grantAlias = (scope: Scope) => `perms_r${scope.depth}`

/** Returns a column of the table of roles under an alias. */
export const grantColumn = (alias: string, property: string): string => `${alias}.${userTables().userRole.column(property)}`

function storedGrant(scope: Scope, roles: readonly string[] | null, place: Sql): Sql {
  const alias = grantAlias(scope)
  const roleList = roles === null ? sql('1 = 1') : sql(`?? in (${roles.map(() => '?').join(', ')})`, grantColumn(alias, 'role'), ...roles)
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ? and ${roleList.sql} and ${place.sql})`,
    bindings: [userTables().userRole.table, alias, grantColumn(alias, 'userId'), scope.actor?.id, ...roleList.bindings, ...place.bindings],
  }
}

function activeDomain(scope: Scope, domain: Sql): Sql {
  const alias = `perms_d${scope.depth}`
  const { table, column } = userTables().domain
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ${domain.sql} and ?? = ?)`,
    bindings: [
      table,
      alias,
      `${alias}.${column('id')}`,
      ...domain.bindings,
      `${alias}.${column('active')}`,
      scope.dialect === 'sqlite' ? 1 : true,
    ],
  }
}

// The row's domain is one in which the actor holds one of the grants.
function inDomains(scope: Scope, field: string, grants: readonly Grant[], roles: readonly string[] | null): Condition {
  const ids = [...new Set(grants.flatMap((grant) => (grant.domainId === null ? [] : [grant.domainId])))]
  if (ids.length === 0) return false
  const column = columnSql(scope, field)
  const isThere: Condition = scope.row
    ? ids.includes(scope.row[field] as string)
    : sql(`${column.sql} in (${ids.map(() => '?').join(', ')})`, ...column.bindings, ...ids)
  if (!scope.live) return isThere
  const live = storedGrant(scope, roles, sql(`?? = ${column.sql}`, grantColumn(grantAlias(scope), 'domainId'), ...column.bindings))
  return all(isThere, live, activeDomain(scope, column))
}

/** Compiles role(). */
export function roleCondition(rule: RoleRule, scope: Scope): Condition {
  const conditions: Condition[] = [globalRole(scope, rule.roles)]
  const held = grantsOf(scope.actor, rule.roles).filter((grant) => grant.domainId !== null)
  if (rule.domain !== undefined) {
    const { domain } = rule
    const there = held.filter((grant) => domain === 'any' || isGrantIn(grant, domain))
    for (const grant of there) {
      conditions.push(
        scope.live
          ? all(
              storedGrant(scope, rolesSatisfying(rule.roles), sql('?? = ?', grantColumn(grantAlias(scope), 'domainId'), grant.domainId)),
              activeDomain(scope, sql('?', grant.domainId)),
            )
          : true,
      )
    }
  } else if (scope.policy.domainField) {
    conditions.push(inDomains(scope, scope.policy.domainField, held, rolesSatisfying(rule.roles)))
  }
  const condition = any(...conditions)
  // Admins may not change other admins, even if the rule also names another role.
  return scope.writes && rule.roles.includes(ADMIN) ? all(condition, excludesAdmins(scope)) : condition
}

/** Compiles the rule that the actor holds a grant in the domain of the row. */
export function memberCondition({ field, roles }: MemberRule, scope: Scope): Condition {
  return roles
    ? inDomains(scope, field, grantsOf(scope.actor, roles), rolesSatisfying(roles))
    : inDomains(scope, field, scope.actor?.grants ?? [], null)
}

/** Compiles the rule that the user of the row holds a grant in a domain in which the actor holds one. */
export function colleagueCondition({ roles }: ColleagueRule, scope: Scope): Condition {
  const grants = roles ? grantsOf(scope.actor, roles) : (scope.actor?.grants ?? [])
  const ids = [...new Set(grants.flatMap(({ domainId }) => (domainId === null ? [] : [domainId])))]
  const [first] = ids
  if (first === undefined) return false
  const user = columnSql(scope, 'id')
  const alias = `perms_c${scope.depth}`
  const domain = sql('??', grantColumn(alias, 'domainId'))
  const place = sql(`?? in (${ids.map(() => '?').join(', ')})`, ...domain.bindings, ...ids)
  const isLive = (): Condition =>
    all(
      storedGrant(
        scope,
        roles ? rolesSatisfying(roles) : null,
        sql('?? = ??', grantColumn(grantAlias(scope), 'domainId'), ...domain.bindings),
      ),
      activeDomain(scope, domain),
    )
  const isTheirs = sql(`?? = ${user.sql}`, grantColumn(alias, 'userId'), ...user.bindings)
  const condition = all(isTheirs, place, scope.live ? isLive() : true) as Sql
  return sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, userTables().userRole.table, alias, ...condition.bindings)
}

/**
 * Returns the condition that a user holds the role of an admin.
 *
 * @param column the column with the user's id
 * @param alias the name of the table of grants in the statement
 * @param place a further condition on the grant, which begins with `and`
 */
export function holdsAdminRole(column: Sql, alias: string, place: Sql): Sql {
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ${column.sql} and ?? in (?, ?)${place.sql})`,
    bindings: [
      ...[userTables().userRole.table, alias, grantColumn(alias, 'userId')],
      ...column.bindings,
      ...[grantColumn(alias, 'role'), ADMIN, SUPERADMIN],
      ...place.bindings,
    ],
  }
}

/**
 * Returns the condition that the row is not an admin and does not belong to another admin. Always true for superadmins.
 *
 * @param field the column with the user's id. Default: `id` for user models, else the owner's column.
 */
export function excludesAdmins(scope: Scope, field = scope.policy.isUserModel ? 'id' : scope.policy.ownerField): Condition {
  const { actor } = scope
  if (!actor) return false
  if (!field) return true
  const superadmin = globalRole(scope, [SUPERADMIN])
  if (superadmin === true) return true
  const column = columnSql(scope, field)
  if (scope.row && (scope.row[field] === undefined || scope.row[field] === null)) return true
  const alias = `perms_a${scope.depth}`
  const holds = holdsAdminRole(column, alias, { sql: ' and ?? is null', bindings: [grantColumn(alias, 'domainId')] })
  const isOther: Sql = { sql: `not ${holds.sql}`, bindings: holds.bindings }
  // Admins may change their own rows. Their user row needs the rule self().
  return any(superadmin, field === 'id' ? false : equals(scope, field, actor.id), isOther)
}

// -- grants

/** Compiles the rule that the actor may make or change a grant, by rank. */
export function rankCondition(scope: Scope, joins: boolean): Condition {
  const { actor } = scope
  if (!actor) return false
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
  const administered = (actor.grants ?? []).filter((grant) => grant.domainId !== null && rolesSatisfying([ADMIN]).includes(grant.role))
  const asDomainAdmin = all(
    inDomains(scope, 'domainId', administered, rolesSatisfying([ADMIN])),
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
  const grants = scope.actor?.grants ?? []
  const conditions: Condition[] = []
  for (const held of new Set(grants.map(({ role }) => role))) {
    const granted = rolesGrantedBy(held)
    if (granted.length === 0) continue
    const column = columnSql(scope, 'role')
    const isGranted: Condition = scope.row
      ? granted.includes(String(scope.row.role))
      : sql(`${column.sql} in (${granted.map(() => '?').join(', ')})`, ...column.bindings, ...granted)
    const there = grants.filter(({ role, domainId }) => role === held && domainId !== null)
    const isThere = all(inDomains(scope, 'domainId', there, [held]), joins || belongsToDomain(scope))
    conditions.push(all(isGranted, any(globalRole(scope, [held]), isThere)))
  }
  return any(...conditions)
}

// The user of a grant is a member of its domain, has a row that belongs to it, or just accepted an invitation.
function belongsToDomain(scope: Scope): Condition {
  if (scope.row && hasConsented(scope.row.userId, scope.row.domainId)) return true
  const user = columnSql(scope, 'userId')
  const domain = columnSql(scope, 'domainId')
  const isIn = (table: string, alias: string, column: string, domainColumn: string): Sql =>
    sql(
      `exists (select 1 from ?? as ?? where ?? = ${user.sql} and ?? = ${domain.sql})`,
      table,
      alias,
      `${alias}.${column}`,
      ...user.bindings,
      `${alias}.${domainColumn}`,
      ...domain.bindings,
    )
  const tables = userTables()
  const User = registeredModel('user')
  const { domainField } = policyFrameOf(User)
  const domainColumn = domainField && structureOf(User).columnOf.get(domainField)
  return any(
    isIn(tables.userRole.table, `perms_m${scope.depth}`, tables.userRole.column('userId'), tables.userRole.column('domainId')),
    domainColumn ? isIn(tables.user.table, `perms_b${scope.depth}`, tables.user.column('id'), domainColumn) : false,
  )
}

/** Returns the condition that the actor is an admin of the row's domain. */
export function domainAdmin(scope: Scope): Condition {
  const field = scope.policy.domainField
  if (!field || !scope.actor) return false
  const administered = scope.actor.grants.filter((grant) => grant.domainId !== null && rolesSatisfying([ADMIN]).includes(grant.role))
  return inDomains(scope, field, administered, rolesSatisfying([ADMIN]))
}
