import type { Knex } from 'knex'

import type { Condition, Sql } from '../../query/fragments.js'

export type { Condition, Sql }

export const sql = (text: string, ...bindings: unknown[]): Sql => ({ sql: text, bindings })

/** Returns the conjunction of conditions; true for none. */
export function all(...conditions: readonly Condition[]): Condition {
  return join(conditions, ' and ', false)
}

/** Returns the disjunction of conditions; false for none. */
export function any(...conditions: readonly Condition[]): Condition {
  return join(conditions, ' or ', true)
}

function join(conditions: readonly Condition[], word: string, absorbing: boolean): Condition {
  const rest: Sql[] = []
  for (const condition of conditions) {
    if (condition === absorbing) return absorbing
    if (typeof condition !== 'boolean' && !rest.some((known) => isSame(known, condition))) rest.push(condition)
  }
  const [first] = rest
  if (first === undefined) return !absorbing
  if (rest.length === 1) return first
  let text = `(${first.sql}`
  const bindings = [...first.bindings]
  for (let i = 1; i < rest.length; i += 1) {
    const part = rest[i] as Sql
    text += word + part.sql
    for (const binding of part.bindings) bindings.push(binding)
  }
  return { sql: `${text})`, bindings }
}

function isSame(a: Sql, b: Sql): boolean {
  return a.sql === b.sql && a.bindings.length === b.bindings.length && a.bindings.every((binding, i) => binding === b.bindings[i])
}

/** Returns the negation of a condition; true if the condition is NULL in SQL. */
export function negate(condition: Condition): Condition {
  if (typeof condition === 'boolean') return !condition
  return { sql: `((${condition.sql}) is not true)`, bindings: condition.bindings }
}

/** Evaluates a condition that needs no row: synchronously if it is known, else by a query. */
export function holds(knex: Knex, condition: Condition): boolean | Promise<boolean> {
  return typeof condition === 'boolean' ? condition : ask(knex, condition)
}

async function ask(knex: Knex, condition: Sql): Promise<boolean> {
  const answer: unknown = await knex
    .select(knex.raw(`case when ${condition.sql} then 1 else 0 end as ok`, condition.bindings as Knex.RawBinding[]))
    .first()
  // postProcessResponse may have renamed the only column.
  const [isTrue] = Object.values((answer as object | undefined) ?? {})
  return Number(isTrue) === 1
}
