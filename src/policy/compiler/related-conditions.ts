/** Compiles rules about related rows. */
import type { Model, QueryBuilder } from 'objection'
import { pendingProof, UnprovenCallerError } from '../../query/caller-proof.js'
import { type ObjectionRelation, type RelationFilter, relationOf } from '../../query/objection-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import { withoutPolicies } from '../context.js'
import { policyFrameOf } from '../policy.js'
import type { RelatedRule, Rule } from '../rules.js'
import { isUserTable } from '../user-tables.js'
import { all, type Condition, type Sql, sql } from './condition.js'
import { columnSql, type Scope, tableIn } from './scope.js'

/** Compiles the rule of related rows, with the global scopes of their class. */
export type ConditionInside = (rule: Rule, inner: Scope) => Condition

/** Compiles related(). */
export function relatedCondition(rule: RelatedRule, scope: Scope, conditionOf: ConditionInside): Condition {
  const rows = relatedRows(rule, scope, conditionOf)
  return rows && { sql: `exists (select 1 from ${rows.sql})`, bindings: rows.bindings }
}

/** Returns the related rows that satisfy the inner rule, as the text of a SELECT after FROM; false if no row can satisfy it. */
export function relatedRows(rule: RelatedRule, scope: Scope, conditionOf: ConditionInside): Sql | false {
  const relation = relationOf(scope.cls, rule.relation)
  const inner = innerScope(scope, relation)
  const theirs = conditionOf(rule.rule, inner)
  if (theirs === false) return false
  const { from, keys } = rowsOfStep(scope, relation, inner.ref)
  const own = relation.ownerProp.props.map((property) => columnSql(scope, property))
  const on = keys.map((key, i) => sql(`?? = ${(own[i] as Sql).sql}`, key, ...(own[i] as Sql).bindings))
  const conditions = all(...on, theirs) as Sql
  return sql(`${from.sql} where ${conditions.sql}`, ...from.bindings, ...conditions.bindings)
}

/** Returns the scope of the rows to which a relation leads. */
export function innerScope(scope: Scope, { relatedModelClass: cls }: ObjectionRelation): Scope {
  const depth = scope.depth + 1
  return {
    ...scope,
    ...{ cls, policy: policyFrameOf(cls), ref: `perms_${depth}`, row: undefined, ids: undefined },
    ...{ checks: undefined, depth, writes: false },
  }
}

/** The rows to which a relation leads, for a FROM. */
interface StepRows {
  readonly from: Sql
  /** The columns of the FROM whose values are those of the relation's owner. */
  readonly keys: readonly string[]
}

/** Returns the rows to which a relation leads, under an alias. @param scope the rows at which the relation begins */
export function rowsOfStep(scope: Scope, relation: ObjectionRelation, alias: string): StepRows {
  const from = rowsOf(scope, relation.relatedModelClass, relation.modify, alias)
  const { joinTableModelClass, joinTableOwnerProp, joinTableRelatedProp } = relation
  if (!joinTableModelClass || !joinTableOwnerProp || !joinTableRelatedProp)
    return { from, keys: relation.relatedProp.cols.map((column) => `${alias}.${column}`) }
  const through = `${alias}_t`
  const links = relation.relatedProp.cols.map((column, i) =>
    sql('?? = ??', `${through}.${joinTableRelatedProp.cols[i]}`, `${alias}.${column}`),
  )
  const link = all(...links) as Sql
  const joined = rowsOf(scope, joinTableModelClass, relation.joinTableModify, through)
  return {
    from: sql(`${from.sql} inner join ${joined.sql} on ${link.sql}`, ...from.bindings, ...joined.bindings, ...link.bindings),
    keys: joinTableOwnerProp.cols.map((column) => `${through}.${column}`),
  }
}

// Returns the rows of one end of a relation: its table, or a subquery if the relation has a filter. The filter belongs to the policy,
// so it runs without the rules of its model. A related class that is no model of the library may have no Knex of its own.
function rowsOf(scope: Scope, cls: typeof Model, filter: RelationFilter | undefined, alias: string): Sql {
  // A filter is code of the application.
  if (filter && pendingProof()) throw new UnprovenCallerError()
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
