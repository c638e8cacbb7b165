import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { type RelationFilter, relationOf } from '../query/objection-internals.js'
import { tableOf } from '../schema/class-statics.js'
import { MAX_DECIMAL_PRECISION } from '../schema/column.js'
import { structureOf } from '../schema/definition.js'
import { needsSqlValue } from '../schema/existing-storage.js'
import { type Dialect, encode, sqlValue } from '../schema/storage.js'
import { isUuid, normalize } from '../schema/values.js'
import { isAble } from './abilities.js'
import { compareValues, globOf, isLike, likeOf } from './compare.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import { type Actor, type Grant, hasConsented, withoutPolicies } from './context.js'
import { type GlobalScope, type PolicyFrame, policyFrameOf, policyOf } from './policy.js'
import { registeredModel } from './registered-models.js'
import {
  type AnyRule,
  type CheckRule,
  isComparison,
  type MemberRule,
  type RelatedRule,
  type RoleRule,
  type Rule,
  usesCheck,
  type WhereRule,
} from './rules.js'
import { ADMIN, isUserTable, rolesSatisfying, SUPERADMIN, userTables } from './user-tables.js'

/** The actor, the class and the statement for which a rule is compiled to a condition. */
export interface Scope {
  readonly cls: typeof Model
  /** The statics of the class. The far end of related() needs no rules of its own, only these. */
  readonly policy: PolicyFrame
  readonly actor: Actor | null
  readonly dialect: Dialect
  /** The alias of the table in the statement. Unused if `row` is given: values then replace columns. */
  readonly ref: string
  readonly row: Readonly<Record<string, unknown>> | undefined
  /** Whether the statement looks up roles and sessions again. Set for writes. */
  readonly live: boolean
  /** Whether the action changes rows: admins may not change other admins and their rows. */
  readonly writes: boolean
  /** The results of check() rules for `row`, computed before. In SQL, check() is true for every row and code decides afterwards. */
  readonly checks: ReadonlyMap<CheckRule, boolean> | undefined
  /** The nesting depth of EXISTS, for unique aliases. */
  readonly depth: number
  /** The schema of the statement's tables. Default: the schema of the connection. */
  readonly schema: string | undefined
}

export function scopeOf(
  cls: typeof Model,
  actor: Actor | null,
  more: Pick<Scope, 'dialect' | 'ref'> & Partial<Pick<Scope, 'row' | 'live' | 'writes' | 'checks' | 'schema'>>,
): Scope {
  const policy = policyOf(cls)
  return { cls, policy, actor, row: undefined, live: false, writes: false, checks: undefined, depth: 0, schema: undefined, ...more }
}

/**
 * Returns the table name of a model for a scope, with the statement's schema. Users, roles, domains and sessions keep the
 * connection's schema, because they identify the caller.
 */
export function tableIn({ schema }: Pick<Scope, 'schema'>, cls: typeof Model): string {
  const table = tableOf(cls)
  return schema === undefined || isUserTable(table) ? table : `${schema}.${table}`
}

/** Compiles a rule to a condition over the rows of a scope. The condition is true or false, never NULL. */
export function compile(given: Rule, scope: Scope): Condition {
  const rule = given as AnyRule
  const { actor, policy } = scope
  switch (rule.kind) {
    case 'constant':
      return rule.value
    case 'authenticated':
      return actor !== null
    case 'ability':
      return actor !== null && (actor.abilities === null || isAble(actor.abilities, rule.ability))
    case 'owner':
      return (
        actor !== null &&
        equals(scope, rule.field ?? (policy.isUserModel && !policy.ownerField ? 'id' : (policy.ownerField ?? 'userId')), actor.id)
      )
    case 'self':
      return actor !== null && equals(scope, 'id', actor.id)
    case 'role':
      return roleCondition(rule, scope)
    case 'member':
      return memberCondition(rule, scope)
    case 'where':
      return whereCondition(rule, scope)
    case 'related':
      return relatedCondition(rule, scope)
    case 'rank':
      return rankCondition(scope, rule.joins)
    case 'delegate':
      return delegateCondition(scope)
    case 'anyOf':
      return any(...rule.rules.map((part) => compile(part, scope)))
    case 'allOf':
      return all(...rule.rules.map((part) => compile(part, scope)))
    case 'not': {
      // check() has no SQL form. It compiles to TRUE, also under not(); code decides afterwards.
      const inner = compile(rule.rule, scope)
      return !scope.row && usesCheck(rule.rule) ? true : negate(inner)
    }
    case 'check':
      return scope.row ? (scope.checks?.get(rule) ?? false) : true
  }
}

// -- columns and values

/** Returns a property of the scope's row: its value if known, else its column. */
export function columnSql(scope: Scope, property: string): Sql {
  const { columnOf, specs } = structureOf(scope.cls)
  if (scope.row) {
    const spec = specs[property]
    const value = scope.row[property] ?? null
    return scope.dialect === 'pg' && spec?.type === 'uuid'
      ? sql('cast(? as uuid)', value)
      : sql('?', spec ? encode({ ...spec, isNullable: true }, value, scope.dialect) : value)
  }
  return sql('??', `${scope.ref}.${columnOf.get(property) ?? property}`)
}

function equals(scope: Scope, property: string, value: string): Condition {
  if (scope.row) return scope.row[property] === value
  const column = `${scope.ref}.${structureOf(scope.cls).columnOf.get(property) ?? property}`
  return { sql: '?? = ?', bindings: [column, value], equals: [column, value] }
}

// -- roles and domains

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
    ? ids.includes(String(scope.row[field]))
    : sql(`${column.sql} in (${ids.map(() => '?').join(', ')})`, ...column.bindings, ...ids)
  if (!scope.live) return isThere
  const live = storedGrant(scope, roles, sql(`?? = ${column.sql}`, grantColumn(grantAlias(scope), 'domainId'), ...column.bindings))
  return all(isThere, live, activeDomain(scope, column))
}

function roleCondition(rule: RoleRule, scope: Scope): Condition {
  const conditions: Condition[] = [globalRole(scope, rule.roles)]
  const held = grantsOf(scope.actor, rule.roles).filter((grant) => grant.domainId !== null)
  if (rule.domain !== undefined) {
    const there = held.filter(
      (grant) =>
        rule.domain === 'any' ||
        grant.domainId === rule.domain?.toLowerCase() ||
        (!isUuid(rule.domain) && grant.domainName === rule.domain),
    )
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

function memberCondition({ field, roles }: MemberRule, scope: Scope): Condition {
  return roles
    ? inDomains(scope, field, grantsOf(scope.actor, roles), rolesSatisfying(roles))
    : inDomains(scope, field, scope.actor?.grants ?? [], null)
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
  const isOther: Sql = {
    sql: `not exists (select 1 from ?? as ?? where ?? = ${column.sql} and ?? in (?, ?) and ?? is null)`,
    bindings: [
      userTables().userRole.table,
      alias,
      grantColumn(alias, 'userId'),
      ...column.bindings,
      grantColumn(alias, 'role'),
      ADMIN,
      SUPERADMIN,
      grantColumn(alias, 'domainId'),
    ],
  }
  // Admins may change their own rows. Their user row needs the rule self().
  return any(superadmin, field === 'id' ? false : equals(scope, field, actor.id), isOther)
}

// -- grants

function rankCondition(scope: Scope, joins: boolean): Condition {
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
  return any(globalRole(scope, [SUPERADMIN]), asAdmin, asDomainAdmin)
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

// -- where

function whereCondition(rule: WhereRule, scope: Scope): Condition {
  return all(...Object.entries(rule.conditions).map(([name, asked]) => columnCondition(name, asked, scope)))
}

function columnCondition(name: string, asked: unknown, scope: Scope): Condition {
  if (asked === null) return comparison(name, 'null', true, scope)
  if (Array.isArray(asked)) return comparison(name, 'in', asked, scope)
  if (!isComparison(asked)) return comparison(name, 'eq', asked, scope)
  return all(...Object.entries(asked).map(([operator, value]) => comparison(name, operator, value, scope)))
}

// SQLite compares non-integers as doubles, which are exact for this many digits.
const exactOnSqlite = 15

const isOrdering = (operator: string): boolean => operator in signs && operator !== 'eq' && operator !== 'ne'

const signs: Readonly<Record<string, string>> = { eq: '=', ne: '<>', gt: '>', gte: '>=', lt: '<', lte: '<=' }

function comparison(name: string, operator: string, asked: unknown, scope: Scope): Condition {
  const spec = structureOf(scope.cls).specs[name]
  const value = (given: unknown): unknown => {
    if (!spec || given === null) return given
    const checked = normalize(spec, given)
    if (checked.error !== undefined)
      throw new ConfigurationError(
        `${scope.cls.name}: the policy compares ${name} with a value that the column cannot hold: it ${checked.error}.`,
      )
    return checked.value
  }
  if ((operator === 'eq' || operator === 'ne') && asked === null) return comparison(name, 'null', operator === 'eq', scope)
  // The types forbid null here. For untyped code, both forms return false.
  if (asked === null) return false
  if (operator === 'in' || operator === 'notIn') {
    const list = (asked as readonly unknown[]).map((one) => columnCondition(name, one, scope))
    // Comparisons with NULL are false, for notIn as well.
    return operator === 'in' ? any(...list) : all(comparison(name, 'null', false, scope), negate(any(...list)))
  }
  if (
    scope.dialect === 'sqlite' &&
    spec?.type === 'decimal' &&
    (spec.precision ?? MAX_DECIMAL_PRECISION) > exactOnSqlite &&
    isOrdering(operator)
  ) {
    throw new ConfigurationError(
      `${scope.cls.name}: the policy compares ${name} by size, which SQLite does exactly only up to ${exactOnSqlite} digits. Compare with eq or in, or declare fewer digits.`,
    )
  }
  if (scope.row) {
    const held = (scope.row[name] ?? null) as unknown
    if (operator === 'null') return (held === null) === Boolean(asked)
    if (held === null) return false
    if (operator === 'like') return isLike(String(held), String(asked))
    return compareValues(spec, operator, held, value(asked))
  }
  const column = columnSql(scope, name)
  if (operator === 'null') return sql(`${column.sql} is ${asked ? '' : 'not '}null`, ...column.bindings)
  if (operator === 'like') {
    const pattern = String(asked)
    return scope.dialect === 'sqlite'
      ? sql(`${column.sql} glob ?`, ...column.bindings, globOf(pattern))
      : sql(`${column.sql} like ?`, ...column.bindings, likeOf(pattern))
  }
  const bound = spec ? encode(spec, value(asked), scope.dialect) : asked
  const isOrder = isOrdering(operator)
  const isConverted = spec && (isOrder || needsSqlValue(spec, scope.dialect))
  const left = isConverted ? sqlValue(spec, column.sql, scope.dialect) : column.sql
  const right = isConverted ? sqlValue(spec, '?', scope.dialect) : '?'
  const exact = sql(`${left} ${signs[operator]} ${right}`, ...column.bindings, bound)
  // MariaDB finds the rows by an index, and compares them byte by byte.
  return isConverted && operator === 'eq' && scope.dialect === 'mysql'
    ? all(sql(`${column.sql} = ?`, ...column.bindings, bound), exact)
    : exact
}

// -- related rows

function relatedCondition(rule: RelatedRule, scope: Scope): Condition {
  const relation = relationOf(scope.cls, rule.relation)
  const target = relation.relatedModelClass
  const depth = scope.depth + 1
  const alias = `perms_${depth}`
  const inner: Scope = {
    ...scope,
    cls: target,
    policy: policyFrameOf(target),
    ref: alias,
    row: undefined,
    checks: undefined,
    depth,
    writes: false,
  }
  const theirs = all(compile(rule.rule, inner), ...relatedScopes(inner))
  if (theirs === false) return false
  const own = relation.ownerProp.props.map((property) => columnSql(scope, property))
  let from = rowsOf(scope, target, relation.modify, alias)
  let on: Sql[]
  if (relation.joinTableModelClass && relation.joinTableOwnerProp && relation.joinTableRelatedProp) {
    const through = `${alias}_t`
    const links = relation.relatedProp.cols.map((column, i) =>
      sql('?? = ??', `${through}.${relation.joinTableRelatedProp?.cols[i]}`, `${alias}.${column}`),
    )
    const link = all(...links) as Sql
    const joined = rowsOf(scope, relation.joinTableModelClass, relation.joinTableModify, through)
    from = sql(`${from.sql} inner join ${joined.sql} on ${link.sql}`, ...from.bindings, ...joined.bindings, ...link.bindings)
    on = own.map((column, i) => sql(`?? = ${column.sql}`, `${through}.${relation.joinTableOwnerProp?.cols[i]}`, ...column.bindings))
  } else {
    on = relation.relatedProp.cols.map((column, i) => sql(`?? = ${(own[i] as Sql).sql}`, `${alias}.${column}`, ...(own[i] as Sql).bindings))
  }
  const conditions = all(...on, theirs) as Sql
  return { sql: `exists (select 1 from ${from.sql} where ${conditions.sql})`, bindings: [...from.bindings, ...conditions.bindings] }
}

// Returns the rows of one end of a relation: its table, or a subquery if the relation has a filter. The filter belongs to the policy,
// so it runs without the rules of its model.
function rowsOf(scope: Scope, cls: typeof Model, filter: RelationFilter | undefined, alias: string): Sql {
  if (!filter || isNoop(filter)) return sql('?? as ??', tableIn(scope, cls), alias)
  const { sql: text, bindings } = withoutPolicies(() => {
    const rows = cls.query(scope.cls.knex()).modify(filter)
    const table = tableOf(cls)
    // The query itself sets its schema only where it is executed.
    const built = rows.toKnexQuery()
    if (scope.schema !== undefined && !isUserTable(table)) built.withSchema(scope.schema)
    return built.toSQL()
  })
  return sql(`(${text}) as ??`, ...bindings, alias)
}

// Objection sets a function without effect for relations without a filter.
function isNoop(filter: NonNullable<RelationFilter>): boolean {
  let touched = false
  const probe = new Proxy(
    {},
    {
      get: () => {
        touched = true
        return () => probe
      },
    },
  ) as QueryBuilder<Model>
  try {
    filter(probe)
  } catch {
    return false
  }
  return !touched
}

function relatedScopes(scope: Scope): Condition[] {
  return globalScopeConditions(scope, { free: false, withDeleted: false })
}

/** Returns the conditions of a class's global scopes, except those that this caller bypasses. */
export function globalScopeConditions(scope: Scope, options: { free: boolean; withDeleted: boolean; not?: string }): Condition[] {
  return scope.policy.guards.filter((guard) => guard.name !== options.not).map((guard) => globalScopeCondition(guard, scope, options))
}

function globalScopeCondition(guard: GlobalScope, scope: Scope, options: { free: boolean; withDeleted: boolean }): Condition {
  if (guard.liftedFor === 'nobody') return options.withDeleted ? true : compile(guard.rule, scope)
  if (options.free) return true
  return any(globalRole(scope, [ADMIN]), compile(guard.rule, scope))
}

// -- delegation to the owning user

function delegateCondition(scope: Scope): Condition {
  const field = scope.policy.ownerField
  if (!field || !scope.actor) return false
  const User = registeredModel('user')
  const depth = scope.depth + 1
  const alias = `perms_u${depth}`
  const policy = policyOf(User)
  const inner: Scope = { ...scope, cls: User, policy, ref: alias, row: undefined, depth, checks: undefined }
  if (usesCheck(policy.updateFrom)) {
    throw new ConfigurationError(
      `${scope.cls.name}.delegateToUser: the update rule of ${User.name} uses check(), which has no form in SQL.`,
    )
  }
  const theirs = any(
    compile(policy.updateFrom, inner),
    inner.policy.bypass.write ? all(globalRole(inner, [ADMIN]), excludesAdmins({ ...inner, writes: true })) : false,
  )
  if (theirs === false) return false
  const column = columnSql(scope, field)
  const condition = all(sql(`?? = ${column.sql}`, `${alias}.${userTables().user.column('id')}`, ...column.bindings), theirs) as Sql
  return {
    sql: `exists (select 1 from ?? as ?? where ${condition.sql})`,
    bindings: [userTables().user.table, alias, ...condition.bindings],
  }
}
