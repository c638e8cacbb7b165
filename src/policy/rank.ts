import { columnSql, globalRole, type Scope } from './compile.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import type { Actor } from './context.js'
import { permitted } from './effective.js'
import type { Action } from './policy.js'
import { ADMIN, SUPERADMIN, userTables } from './user-tables.js'

/** For error messages: what outranks() asks. */
export const OUTRANKS =
  'Changing the account of another user takes a higher rank than every admin role they hold; a right that comes from a domain ends at users who hold roles elsewhere.'

/**
 * True for the rows of the actor, and of users whose every admin role ranks below the actor's. Where the right to this
 * action comes from a domain, the user may hold no role outside it.
 */
export function outranks(scope: Scope, action: Action): Condition {
  const { actor } = scope
  const field = ownerOf(scope)
  if (!actor || !field) return false
  const right = actor.grants.some(({ domainId }) => domainId !== null) ? rightWithinDomains(scope, action, actor) : true
  return any(isActor(scope, field, actor), all(isHigher(scope, field), right))
}

/** The same for code that decides by itself who may act, such as a route of the application's: the policy is not asked. */
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
  if (scope.row) return scope.row[field] === actor.id
  const column = columnSql(scope, field)
  return sql(`${column.sql} = ?`, ...column.bindings, actor.id)
}

// The ranks: superadmin, admin, admin of a domain, everybody else.
function isHigher(scope: Scope, field: string): Condition {
  const isAdminEverywhere = holdsAdminRole(scope, field, sql(' and ?? is null', `${aliasOf(scope)}.domain_id`))
  return any(
    globalRole(scope, [SUPERADMIN]),
    all(globalRole(scope, [ADMIN]), negate(isAdminEverywhere)),
    negate(holdsAdminRole(scope, field, sql(''))),
  )
}

const aliasOf = (scope: Scope) => `perms_k${scope.depth}`

function holdsAdminRole(scope: Scope, field: string, place: Sql): Sql {
  const column = columnSql(scope, field)
  const alias = aliasOf(scope)
  return sql(
    `exists (select 1 from ?? as ?? where ?? = ${column.sql} and ?? in (?, ?)${place.sql})`,
    userTables().userRole.table,
    alias,
    `${alias}.user_id`,
    ...column.bindings,
    `${alias}.role`,
    ADMIN,
    SUPERADMIN,
    ...place.bindings,
  )
}

function holdsNothingOutside(scope: Scope, field: string, domainId: string): Sql {
  const column = columnSql(scope, field)
  const alias = aliasOf(scope)
  return sql(
    `not exists (select 1 from ?? as ?? where ?? = ${column.sql} and (?? is null or ?? <> ?))`,
    userTables().userRole.table,
    alias,
    `${alias}.user_id`,
    ...column.bindings,
    `${alias}.domain_id`,
    `${alias}.domain_id`,
    domainId,
  )
}

// A right that the global grants alone give reaches every domain; one that takes the grants of a domain ends with it.
function rightWithinDomains(scope: Scope, action: Action, actor: Actor): Condition {
  const field = ownerOf(scope) as string
  const withDeleted = true
  return any(
    // Nobody knows by which grant a check() decides: it counts as a right of the domain.
    permitted(action, withGrants(scope, actor, null), { withDeleted, withoutChecks: true }),
    ...domainsOf(actor).map((id) =>
      all(permitted(action, withGrants(scope, actor, id), { withDeleted }), holdsNothingOutside(scope, field, id)),
    ),
  )
}

function domainsOf({ grants }: Actor): string[] {
  return [...new Set(grants.flatMap(({ domainId }) => (domainId === null ? [] : [domainId])))]
}

/** The actor with the global grants, and those of one domain. */
function withGrants(scope: Scope, actor: Actor, domain: string | null): Scope {
  const grants = actor.grants.filter(({ domainId }) => domainId === null || domainId === domain)
  return { ...scope, actor: { ...actor, grants } }
}
