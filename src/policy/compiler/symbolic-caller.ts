/** A caller that is a row of the table of users in the statement. Roles are looked up by EXISTS. */
import { ConfigurationError } from '../../core/errors.js'
import type { ColumnSpec } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { existingText } from '../../schema/existing-storage.js'
import { decodeId, idSpecOf } from '../../schema/ids.js'
import { type Dialect, encode } from '../../schema/storage.js'
import { rolesWithGrants } from '../declared-roles.js'
import { namedDomain } from '../domain-ref.js'
import { policyFrameOf } from '../policy.js'
import { registeredModel } from '../registered-models.js'
import type { DomainName } from '../registered-types.js'
import type { AnyRule } from '../rules.js'
import { everyMethod, type SessionFacts } from '../session-rules.js'
import { ADMIN, rolesSatisfying, SUPERADMIN, userTables } from '../user-tables.js'
import type { Caller } from './caller.js'
import { whereCondition } from './column-conditions.js'
import { all, any, type Condition, type Sql, sql } from './condition.js'
import { activeDomain, domainAlias, grantAlias, grantColumn, onlyVisible, storedGrant } from './grants.js'
import { columnSql, type Scope } from './scope.js'
import { shareColumn } from './share-table.js'

const supported: readonly AnyRule['kind'][] = [
  ...(['constant', 'authenticated', 'owner', 'self', 'role', 'ability', 'recent', 'factor', 'where', 'related', 'allowed'] as const),
  ...(['anyOf', 'allOf', 'not', 'rank', 'member', 'colleague', 'grantor', 'delegate', 'shared'] as const),
]

/** Throws for a rule that has no form for a caller who is a column. @throws ConfigurationError */
export function assertSymbolic(rule: AnyRule, { cls, dialect }: Scope): void {
  const { kind } = rule
  // A common table expression of MariaDB cannot refer to the row of a user.
  if (kind === 'related' && rule.depth !== undefined && dialect === 'mysql')
    throw new ConfigurationError(
      `${cls.name}: related() with recursive cannot be evaluated in a query over users on MariaDB. Ask for each user: await row.can(action, user).`,
    )
  if (supported.includes(kind)) return
  throw new ConfigurationError(
    kind === 'check'
      ? `${cls.name}: check() has no form in SQL, so a query over users cannot evaluate it. Ask for each user: await row.can(action, user).`
      : `${cls.name}: ${kind}() cannot be evaluated in a query over users. Ask for each user: await row.can(action, user).`,
  )
}

// Facts about a session have no value for a row of users: the session suffices, and there is no API key.
const sufficientSession = (): SessionFacts => ({ abilities: null, impersonatorId: null, authTime: new Date(), amr: everyMethod })

const userColumn = ({ user }: Scope, property: string): string => `${user?.ref}.${userTables().user.column(property)}`
const userId = (scope: Scope): Sql => sql('??', userColumn(scope, 'id'))

function stored(scope: Scope, roles: readonly string[] | null, place: Sql): Sql {
  const column = grantColumn(grantAlias(scope), 'domainId')
  const within = scope.user?.within
  if (within === undefined) return storedGrant(scope, userId(scope), roles && rolesSatisfying(roles), place)
  const isWithin =
    within === null ? sql('?? is null', column) : sql(`(?? is null or ?? = ${within.sql})`, column, column, ...within.bindings)
  return storedGrant(scope, userId(scope), roles && rolesSatisfying(roles), all(place, isWithin) as Sql)
}

const isIn = (scope: Scope, domain: Sql): Sql => sql(`?? = ${domain.sql}`, grantColumn(grantAlias(scope), 'domainId'), ...domain.bindings)

const grantDomain = (scope: Scope): Sql => sql('??', grantColumn(grantAlias(scope), 'domainId'))

// -- ids

const families: Partial<Record<ColumnSpec['type'], string>> = { integer: 'number', bigint: 'number', uuid: 'uuid' }

const asText = (name: Sql, dialect: Dialect): Sql =>
  sql(
    dialect === 'mysql'
      ? `cast(convert(${name.sql} using utf8mb4) as binary)`
      : `cast(${name.sql} as ${dialect === 'pg' ? 'text) collate "C"' : 'text)'}`,
    ...name.bindings,
  )

/** Compares a column with the id of the user. Columns of other types are compared as text, as JavaScript would. */
function sameId(column: Sql, spec: ColumnSpec, scope: Scope): Sql {
  const id = userId(scope)
  const own = idSpecOf(registeredModel('user')) ?? existingText
  const [a, b] = [spec, own].map(({ type }) => families[type] ?? 'text')
  const plain = sql(`${column.sql} = ${id.sql}`, ...column.bindings, ...id.bindings)
  const isStoredAlike = (spec.type === 'bigint') === (own.type === 'bigint') || scope.dialect !== 'sqlite'
  const isExact = scope.dialect !== 'mysql' || a === 'number' || !(spec.isExisting || own.isExisting)
  if (a === b && isStoredAlike && isExact) return plain
  const [left, right] = [asText(column, scope.dialect), asText(id, scope.dialect)]
  return sql(`${left.sql} = ${right.sql}`, ...left.bindings, ...right.bindings)
}

function idIs(scope: Scope, property: string): Condition {
  const id = userId(scope)
  const spec = structureOf(scope.cls).specs[property] ?? existingText
  if (!scope.row) return sameId(columnSql(scope, property), spec, scope)
  const User = registeredModel('user')
  const value = decodeId(User, scope.row[property])
  if (value === undefined) return false
  const own = idSpecOf(User)
  return sql(`${id.sql} = ?`, ...id.bindings, own ? encode(own, value, scope.dialect) : value)
}

// -- domains

function isNamed(scope: Scope, domain: DomainName): Sql | null {
  const { id, name } = namedDomain(domain)
  const grant = grantDomain(scope)
  if (id === null) return null
  if (name === undefined) return all(isIn(scope, sql('?', id)), activeDomain(scope, grant)) as Sql
  const cls = registeredModel('domain')
  const inner: Scope = { ...scope, cls, policy: policyFrameOf(cls), ref: domainAlias(scope), row: undefined }
  const same = whereCondition({ kind: 'where', sql: true, conditions: { name } }, inner) as Sql
  return activeDomain(scope, grant, sql(` and ${same.sql}`, ...same.bindings))
}

export const symbolicCaller: Caller = {
  isPresent: () => true,

  session: sufficientSession,

  hasDomainGrants: () => true,

  idIs,

  holdsGlobally: (scope, roles) => stored(scope, roles, sql('?? is null', ...grantDomain(scope).bindings)),

  holdsInDomain(scope, property, roles) {
    if (scope.row && (scope.row[property] ?? null) === null) return false
    const column = columnSql(scope, property)
    return all(stored(scope, roles, isIn(scope, column)), activeDomain(scope, column))
  },

  holdsInNamed(scope, roles, domain) {
    const place = domain === 'any' ? activeDomain(scope, grantDomain(scope)) : isNamed(scope, domain)
    return place === null ? [] : [stored(scope, roles, place)]
  },

  grantingRoles: rolesWithGrants,

  sharesDomain(scope, roles) {
    const user = columnSql(scope, 'id')
    const alias = `perms_c${scope.depth}`
    const domain = sql('??', grantColumn(alias, 'domainId'))
    const visible = onlyVisible(scope, alias)
    const isTheirs = sql(`?? = ${user.sql}${visible.sql}`, grantColumn(alias, 'userId'), ...user.bindings, ...visible.bindings)
    const condition = all(isTheirs, stored(scope, roles, isIn(scope, domain)), activeDomain(scope, domain)) as Sql
    return sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, userTables().userRole.table, alias, ...condition.bindings)
  },

  receivesShare(scope, alias) {
    const [user, role, domain] = ['userId', 'role', 'domainId'].map((name) => sql('??', shareColumn(alias, name))) as [Sql, Sql, Sql]
    const grant = grantAlias(scope)
    const [held, place] = [grantColumn(grant, 'role'), grantColumn(grant, 'domainId')]
    const isRole = sql(
      `(?? = ${role.sql} or (${role.sql} = ? and ?? = ?))`,
      ...[held, ...role.bindings, ...role.bindings, ADMIN, held, SUPERADMIN],
    )
    const isGlobal = sql(`(?? is null and ${domain.sql} is null and ${isRole.sql})`, place, ...domain.bindings, ...isRole.bindings)
    const isInDomain = all(
      sql(`?? = ${domain.sql}`, place, ...domain.bindings),
      any(sql(`${role.sql} is null`, ...role.bindings), isRole),
      activeDomain(scope, domain),
    )
    const mine = sql(`${user.sql} = ${userId(scope).sql}`, ...user.bindings, ...userId(scope).bindings)
    return all(any(mine, stored(scope, null, any(isGlobal, isInDomain) as Sql)), scope.user?.visibleShares?.(alias, scope.depth) ?? true)
  },

  withGlobalGrants: (scope) => (scope.user ? { ...scope, user: { ...scope.user, within: null } } : scope),

  inOneDomain(scope, condition) {
    if (!scope.user || scope.user.within === null) return []
    const alias = `perms_w${scope.depth}`
    const domain = scope.user.within ?? sql('??', grantColumn(alias, 'domainId'))
    const visible = onlyVisible(scope, alias)
    const mine = sql(
      `?? = ${userId(scope).sql} and ?? = ${domain.sql}${visible.sql}`,
      ...[grantColumn(alias, 'userId'), ...userId(scope).bindings, grantColumn(alias, 'domainId'), ...domain.bindings],
      ...visible.bindings,
    )
    const found = all(mine, activeDomain(scope, domain), condition({ ...scope, user: { ...scope.user, within: domain } }, domain))
    if (typeof found === 'boolean') return [found]
    return [sql(`exists (select 1 from ?? as ?? where ${found.sql})`, userTables().userRole.table, alias, ...found.bindings)]
  },
}
