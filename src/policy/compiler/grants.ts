/** SQL over the tables of roles and domains. */
import { userTables } from '../user-tables.js'
import { type Condition, type Sql, sql } from './condition.js'
import type { Scope } from './scope.js'

/** Returns a column of the table of roles under an alias. */
export const grantColumn = (alias: string, property: string): string => `${alias}.${userTables().userRole.column(property)}`

/** The alias of the caller's grants. */
export const grantAlias = (scope: Scope) => `perms_r${scope.depth}`

const nothing = sql('')

/** Returns a further condition on grants in a statement, which begins with `and`: the caller of whoCan() may read them. */
export function onlyVisible({ user, depth }: Scope, alias: string): Sql {
  const condition: Condition = user?.visibleGrants?.(alias, depth) ?? true
  if (condition === true) return nothing
  return condition === false ? sql(' and 1 = 0') : sql(` and ${condition.sql}`, ...condition.bindings)
}

/**
 * Returns the condition that the caller holds a grant.
 *
 * @param userId the id of the caller
 * @param roles null: any role
 * @param place a condition on the domain of the grant
 */
export function storedGrant(scope: Scope, userId: Sql, roles: readonly string[] | null, place: Sql): Sql {
  const alias = grantAlias(scope)
  const roleList = roles === null ? sql('1 = 1') : sql(`?? in (${roles.map(() => '?').join(', ')})`, grantColumn(alias, 'role'), ...roles)
  const visible = onlyVisible(scope, alias)
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ${userId.sql} and ${roleList.sql} and ${place.sql}${visible.sql})`,
    bindings: [
      userTables().userRole.table,
      alias,
      grantColumn(alias, 'userId'),
      ...userId.bindings,
      ...roleList.bindings,
      ...place.bindings,
      ...visible.bindings,
    ],
  }
}

/** The alias of a domain. */
export const domainAlias = (scope: Scope) => `perms_d${scope.depth}`

/** Returns the condition that a domain is active. @param more a further condition on the domain, which begins with `and` */
export function activeDomain(scope: Scope, domain: Sql, more: Sql = nothing): Sql {
  const alias = domainAlias(scope)
  const { table, column } = userTables().domain
  return {
    sql: `exists (select 1 from ?? as ?? where ?? = ${domain.sql} and ?? = ?${more.sql})`,
    bindings: [
      table,
      alias,
      `${alias}.${column('id')}`,
      ...domain.bindings,
      `${alias}.${column('active')}`,
      scope.dialect === 'sqlite' ? 1 : true,
      ...more.bindings,
    ],
  }
}
