/** Adds compiled rules to Knex statements. */

import type { Knex } from 'knex'
import { addClauses, clausesOf, type OpenKnexBuilder, setClauses } from '../database/knex-internals.js'
import { all, type Condition, type Sql, sql } from '../policy/compiler/condition.js'
import { fragment, type Template } from '../query/fragments.js'
import type { Dialect } from '../schema/storage.js'

/** Adds a condition to the WHERE of a statement. */
export function addCondition(statement: OpenKnexBuilder, condition: Condition): void {
  if (condition === true) return
  if (condition === false) statement.whereRaw('1 = 0')
  else if (condition.equals) statement.where(condition.equals[0], condition.equals[1] as Knex.Value)
  else statement.whereRaw(fragment(statement.client, condition))
}

/**
 * Adds the rule to a statement, and filters that the database evaluates only on rows that satisfy it.
 *
 * Databases choose the order in which they evaluate the terms of a WHERE. The running time of a pattern could reveal rows that the
 * caller may not read, so a CASE fixes the order.
 *
 * @param filters conditions from clients, usually an empty array
 */
export function addRule(statement: OpenKnexBuilder, rule: Condition, filters: readonly Template[], dialect: Dialect): void {
  if (filters.length === 0 || typeof rule === 'boolean') {
    addCondition(statement, rule)
    if (rule !== false) for (const filter of filters) addCondition(statement, filter)
    return
  }
  const clauses = clausesOf(statement)
  setClauses(
    statement,
    clauses.filter(({ grouping }) => grouping !== 'where'),
  )
  // SQLite replaces columns in the CASE by constants from other terms, but keeps the order of terms: the rule comes first.
  addCondition(statement, rule)
  addClauses(
    statement,
    clauses.filter(({ grouping }) => grouping === 'where'),
  )
  addCondition(statement, onlyWhere(rule, all(...filters) as Sql, dialect))
}

function onlyWhere(rule: Sql, filter: Sql, dialect: Dialect): Sql {
  // MariaDB also replaces columns by constants, and could evaluate the filter on an index before it reads the row. It does not do so
  // in subqueries.
  const holds = dialect === 'mysql' ? sql(`exists (select 1 from dual where ${rule.sql})`, ...rule.bindings) : rule
  return sql(`case when ${holds.sql} then ${filter.sql} else false end`, ...holds.bindings, ...filter.bindings)
}
