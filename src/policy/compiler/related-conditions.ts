/** Compiles rules about related rows. */
import type { Model, QueryBuilder } from 'objection'
import { type RelationFilter, relationOf } from '../../query/objection-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import { withoutPolicies } from '../context.js'
import { policyFrameOf } from '../policy.js'
import type { RelatedRule, Rule } from '../rules.js'
import { isUserTable } from '../user-tables.js'
import { all, type Condition, type Sql, sql } from './condition.js'
import { columnSql, type Scope, tableIn } from './scope.js'

/**
 * Compiles related().
 *
 * @param conditionOf compiles the inner rule, with the global scopes of the related class
 */
export function relatedCondition(rule: RelatedRule, scope: Scope, conditionOf: (rule: Rule, inner: Scope) => Condition): Condition {
  const rows = relatedRows(rule, scope, conditionOf)
  return rows && { sql: `exists (select 1 from ${rows.sql})`, bindings: rows.bindings }
}

/**
 * Returns the related rows that satisfy the inner rule, as the text of a SELECT after FROM; false if no row can satisfy it.
 *
 * @param conditionOf compiles the inner rule, with the global scopes of the related class
 */
export function relatedRows(rule: RelatedRule, scope: Scope, conditionOf: (rule: Rule, inner: Scope) => Condition): Sql | false {
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
  const theirs = conditionOf(rule.rule, inner)
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
  return { sql: `${from.sql} where ${conditions.sql}`, bindings: [...from.bindings, ...conditions.bindings] }
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

/** Returns whether a filter is the function without effect that Objection sets for relations without a filter. */
export function isNoop(filter: NonNullable<RelationFilter>): boolean {
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
