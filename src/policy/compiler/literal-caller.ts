/** A caller whose id and grants are known. Writes look the grants up again. */
import type { Actor, Grant } from '../context.js'
import { isGrantIn } from '../domain-ref.js'
import { shareKey } from '../share-keys.js'
import { ADMIN, rolesSatisfying, SUPERADMIN, userTables } from '../user-tables.js'
import type { Caller } from './caller.js'
import { all, any, type Condition, type Sql, sql } from './condition.js'
import { activeDomain, grantAlias, grantColumn, storedGrant } from './grants.js'
import { columnSql, equals, type Scope } from './scope.js'
import { shareColumn } from './share-table.js'

function grantsOf(actor: Actor | null, roles: readonly string[] | null): readonly Grant[] {
  if (roles === null) return actor?.grants ?? []
  const wanted = rolesSatisfying(roles)
  return (actor?.grants ?? []).filter((grant) => wanted.includes(grant.role))
}

const domainsOf = (grants: readonly Grant[]): string[] => [
  ...new Set(grants.flatMap(({ domainId }) => (domainId === null ? [] : [domainId]))),
]

const rolesOf = (roles: readonly string[] | null) => roles && rolesSatisfying(roles)

const stored = (scope: Scope, roles: readonly string[] | null, place: Sql): Sql =>
  storedGrant(scope, sql('?', scope.actor?.id), rolesOf(roles), place)

/** Returns the scope with only the global grants of the actor and those of one domain. */
function withGrants(scope: Scope, domain: string | null): Scope {
  const { actor } = scope
  if (!actor) return scope
  const grants = actor.grants.filter(({ domainId }) => domainId === null || domainId === domain)
  return { ...scope, actor: { ...actor, grants } }
}

interface HeldKey {
  /** Null: any role. */
  readonly role: string | null
  readonly domainId: string | null
}

/** Returns the keys of the roles and domains whose shares the actor receives. */
function heldKeys(actor: Actor): Map<string, HeldKey> {
  const keys = new Map<string, HeldKey>()
  for (const { role, domainId } of actor.grants) {
    const roles = role === SUPERADMIN ? [role, ADMIN] : [role]
    for (const one of roles) keys.set(shareKey({ role: one, domainId }), { role: one, domainId })
    if (domainId !== null) keys.set(shareKey({ domainId }), { role: null, domainId })
  }
  return keys
}

function isStillHeld(scope: Scope, { role, domainId }: HeldKey): Condition {
  const roles = role === null ? null : [role]
  const column = grantColumn(grantAlias(scope), 'domainId')
  if (domainId === null) return stored(scope, roles, sql('?? is null', column))
  return all(stored(scope, roles, sql('?? = ?', column, domainId)), activeDomain(scope, sql('?', domainId)))
}

export const literalCaller: Caller = {
  isPresent: ({ actor }) => actor !== null,

  session: ({ actor }) => actor,

  hasDomainGrants: ({ actor }) => (actor?.grants ?? []).some(({ domainId }) => domainId !== null),

  idIs: (scope, property) => scope.actor !== null && equals(scope, property, scope.actor.id),

  holdsGlobally(scope, roles) {
    const held = grantsOf(scope.actor, roles).filter((grant) => grant.domainId === null)
    if (held.length === 0) return false
    return scope.live ? stored(scope, roles, sql('?? is null', grantColumn(grantAlias(scope), 'domainId'))) : true
  },

  holdsInDomain(scope, property, roles) {
    const ids = domainsOf(grantsOf(scope.actor, roles))
    if (ids.length === 0) return false
    const column = columnSql(scope, property)
    const isThere: Condition = scope.row
      ? ids.includes(scope.row[property] as string)
      : sql(`${column.sql} in (${ids.map(() => '?').join(', ')})`, ...column.bindings, ...ids)
    if (!scope.live) return isThere
    const live = stored(scope, roles, sql(`?? = ${column.sql}`, grantColumn(grantAlias(scope), 'domainId'), ...column.bindings))
    return all(isThere, live, activeDomain(scope, column))
  },

  holdsInNamed(scope, roles, domain) {
    const held = grantsOf(scope.actor, roles).filter((grant) => grant.domainId !== null && (domain === 'any' || isGrantIn(grant, domain)))
    return held.map(
      ({ domainId }) =>
        !scope.live ||
        all(
          stored(scope, roles, sql('?? = ?', grantColumn(grantAlias(scope), 'domainId'), domainId)),
          activeDomain(scope, sql('?', domainId)),
        ),
    )
  },

  grantingRoles: ({ actor }) => new Set((actor?.grants ?? []).map(({ role }) => role)),

  sharesDomain(scope, roles) {
    const ids = domainsOf(grantsOf(scope.actor, roles))
    if (ids.length === 0) return false
    const user = columnSql(scope, 'id')
    const alias = `perms_c${scope.depth}`
    const domain = sql('??', grantColumn(alias, 'domainId'))
    const place = sql(`?? in (${ids.map(() => '?').join(', ')})`, ...domain.bindings, ...ids)
    const isLive = (): Condition =>
      all(stored(scope, roles, sql('?? = ??', grantColumn(grantAlias(scope), 'domainId'), ...domain.bindings)), activeDomain(scope, domain))
    const isTheirs = sql(`?? = ${user.sql}`, grantColumn(alias, 'userId'), ...user.bindings)
    const condition = all(isTheirs, place, scope.live ? isLive() : true) as Sql
    return sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, userTables().userRole.table, alias, ...condition.bindings)
  },

  receivesShare(scope, alias) {
    const { actor } = scope
    if (!actor) return false
    const own = shareKey({ userId: actor.id })
    const held = heldKeys(actor)
    const key = shareColumn(alias, 'subjectKey')
    if (!scope.live) return sql(`?? in (${[own, ...held.keys()].map(() => '?').join(', ')})`, key, own, ...held.keys())
    // Each role is looked up again.
    const byGrant = [...held].map(([name, grant]) => all(sql('?? = ?', key, name), isStillHeld(scope, grant)))
    return any(sql('?? = ?', key, own), ...byGrant)
  },

  withGlobalGrants: (scope) => withGrants(scope, null),

  inOneDomain: (scope, condition) => domainsOf(scope.actor?.grants ?? []).map((id) => condition(withGrants(scope, id), sql('?', id))),
}
