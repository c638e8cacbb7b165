/** Compiles related() with `recursive`: recursive common table expressions. */
import { type ObjectionRelation, relationOf } from '../../query/objection-internals.js'
import { idProperties, namedColumn } from '../../schema/definition/definition.js'
import { everyone, type RelatedRule } from '../rules.js'
import { all, type Condition, negate, type Sql, sql } from './condition.js'
import { type ConditionInside, innerScope, rowsOfStep } from './related-conditions.js'
import { columnSql, type Scope, tableIn } from './scope.js'

/** The parts of the walk along a relation. */
interface Walk {
  readonly scope: Scope
  readonly relation: ObjectionRelation
  /** The most steps. */
  readonly depth: number
  /** The name of the common table expression. */
  readonly name: string
  /** The rows of one step. */
  readonly from: Sql
  /** The column of `from` with the value of the row before. */
  readonly key: string
  /** The column of `from` with the value that leads to the next row. */
  readonly next: string
  /** The condition of the rule, with global scopes. */
  readonly holds: Sql
  /** The condition of the global scopes, which every row on the way satisfies. */
  readonly visible: Condition
}

/**
 * Compiles related() with `recursive`.
 *
 * A list starts from the rows that satisfy the rule and walks to the rows that lead to them: the subquery does not depend on the row, so
 * databases evaluate it once. Rows that are known walk in the direction of the relation, which takes a few look-ups by key.
 */
export function recursiveCondition(rule: RelatedRule, scope: Scope, depth: number, conditionOf: ConditionInside): Condition {
  const relation = relationOf(scope.cls, rule.relation)
  const inner = innerScope(scope, relation)
  const holds = conditionOf(rule.rule, inner)
  if (holds === false) return false
  const { from, keys } = rowsOfStep(scope, relation, inner.ref)
  const walk: Walk = {
    ...{ scope, relation, depth, from, name: `perms_up${inner.depth}` },
    key: keys[0] as string,
    next: `${inner.ref}.${relation.ownerProp.cols[0]}`,
    holds: holds === true ? sql('1 = 1') : holds,
    visible: conditionOf(everyone(), inner),
  }
  const [property = ''] = relation.ownerProp.props
  if (!scope.row) return scope.ids ? fromRows(walk, scope.ids) : fromHolders(walk, property)
  return (scope.row[property] ?? null) !== null && fromValue(walk, property)
}

const isFurther = ({ name, depth }: Walk): Sql => sql('?? < ?', `${name}.n`, depth)

// The rows that lead to one that satisfies the rule, from the latter on. A row that satisfies it starts a walk of its own.
function fromHolders(walk: Walk, property: string): Sql {
  const { scope, name, from, key, next, holds, visible } = walk
  const further = all(isFurther(walk), visible, negate(holds)) as Sql
  const own = columnSql(scope, property)
  return {
    sql:
      `${own.sql} in (with recursive ?? (k, n) as (select ??, 1 from ${from.sql} where ${holds.sql} union ` +
      `select ??, ?? + 1 from ${from.sql} inner join ?? on ?? = ?? where ${further.sql}) select ?? from ??)`,
    bindings: [
      ...[...own.bindings, name, key, ...from.bindings, ...holds.bindings],
      ...[key, `${name}.n`, ...from.bindings, name, next, `${name}.k`, ...further.bindings],
      ...[`${name}.k`, name],
    ],
  }
}

const found = ({ holds }: Walk): Sql => sql(`case when ${holds.sql} then 1 else 0 end`, ...holds.bindings)

// The rows on the way from a row whose values are known.
function fromValue(walk: Walk, property: string): Sql {
  const { scope, name, from, key, next, visible } = walk
  const value = columnSql(scope, property)
  const first = all(sql(`?? = ${value.sql}`, key, ...value.bindings), visible) as Sql
  const further = all(isFurther(walk), sql('?? = 0', `${name}.hit`), visible) as Sql
  const hit = found(walk)
  return {
    sql:
      `exists (with recursive ?? (k, hit, n) as (select ??, ${hit.sql}, 1 from ${from.sql} where ${first.sql} union ` +
      `select ??, ${hit.sql}, ?? + 1 from ${from.sql} inner join ?? on ?? = ?? where ${further.sql}) select 1 from ?? where ?? = 1)`,
    bindings: [
      ...[name, next, ...hit.bindings, ...from.bindings, ...first.bindings],
      ...[next, ...hit.bindings, `${name}.n`, ...from.bindings, name, key, `${name}.k`, ...further.bindings],
      ...[name, `${name}.hit`],
    ],
  }
}

// The same for the rows with these ids. MariaDB has no outer columns in a common table expression, so that it carries the id.
function fromRows(walk: Walk, ids: readonly unknown[]): Condition {
  if (ids.length === 0) return false
  const { scope, relation, name, from, key, next, visible } = walk
  const start = `${name}_o`
  const idColumn = namedColumn(scope.cls, idProperties(scope.cls)[0] ?? 'id')
  const first = all(sql(`?? in (${ids.map(() => '?').join(', ')})`, `${start}.${idColumn}`, ...ids), visible) as Sql
  const further = all(isFurther(walk), sql('?? = 0', `${name}.hit`), visible) as Sql
  const hit = found(walk)
  return {
    sql:
      `?? in (with recursive ?? (o, k, hit, n) as (select ??, ??, ${hit.sql}, 1 from ${from.sql} inner join ?? as ?? on ?? = ?? where ${first.sql} union ` +
      `select ??, ??, ${hit.sql}, ?? + 1 from ${from.sql} inner join ?? on ?? = ?? where ${further.sql}) select ?? from ?? where ?? = 1)`,
    bindings: [
      ...[`${scope.ref}.${idColumn}`, name, `${start}.${idColumn}`, next, ...hit.bindings],
      ...[...from.bindings, tableIn(scope, scope.cls), start, key, `${start}.${relation.ownerProp.cols[0]}`, ...first.bindings],
      ...[`${name}.o`, next, ...hit.bindings, `${name}.n`, ...from.bindings, name, key, `${name}.k`, ...further.bindings],
      ...[`${name}.o`, name, `${name}.hit`],
    ],
  }
}
