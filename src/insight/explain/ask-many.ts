/** Evaluates many conditions and counts in few statements. */
import type { Knex } from 'knex'
import { type Condition, type Sql, sql } from '../../policy/compiler/condition.js'

/** The most expressions of one statement. SQLite allows 32,766 values in a statement, and about 2,000 columns. */
const CHUNK = 80

/** Returns the value of each expression as a number. */
async function numbersOf(knex: Knex, expressions: readonly Sql[]): Promise<number[]> {
  const found: number[] = []
  for (let i = 0; i < expressions.length; i += CHUNK) {
    const part = expressions.slice(i, i + CHUNK)
    const text = part.map(({ sql: one }, n) => `${one} as v${n}`).join(', ')
    const bindings = part.flatMap((one) => one.bindings) as Knex.RawBinding[]
    const row: unknown = await knex.select(knex.raw(text, bindings)).first()
    // postProcessResponse may have renamed the columns.
    found.push(...Object.values((row as object | undefined) ?? {}).map(Number))
  }
  return found
}

/** Returns the truth of each condition. Conditions that are known need no statement. */
export async function truths(knex: Knex, conditions: readonly Condition[]): Promise<boolean[]> {
  const open = conditions.filter((one): one is Sql => typeof one !== 'boolean')
  const found = await numbersOf(
    knex,
    open.map((one) => sql(`case when ${one.sql} then 1 else 0 end`, ...one.bindings)),
  )
  let next = 0
  return conditions.map((one) => (typeof one === 'boolean' ? one : found[next++] === 1))
}

/** Returns the values of counts; 0 for null. */
export async function counts(knex: Knex, asked: readonly (Sql | null)[]): Promise<number[]> {
  const found = await numbersOf(
    knex,
    asked.flatMap((one) => one ?? []),
  )
  let next = 0
  return asked.map((one) => (one === null ? 0 : (found[next++] as number)))
}
