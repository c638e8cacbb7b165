/** Reads the enums and domains of PostgreSQL, whose names stand for the types of columns. */
import type { Knex } from 'knex'
import { select } from '../tables/existing-tables.js'
import { type ValueType, valueTypeOf } from './column-types.js'
import { at, grouped, textRows } from './rows.js'

/**
 * Returns the types that these names stand for: the values of an enum, or the base type of a domain.
 *
 * @param names types as the catalogue of PostgreSQL spells them
 */
export async function namedTypes(knex: Knex, names: readonly string[]): Promise<ReadonlyMap<string, ValueType>> {
  if (names.length === 0) return new Map()
  const sql = `
    select format_type(t.oid, null) as a, format_type(nullif(t.typbasetype, 0), t.typtypmod) as b, e.enumlabel::text as c
    from pg_type t left join pg_enum e on e.enumtypid = t.oid
    where t.typtype in ('e', 'd') and format_type(t.oid, null) in (${names.map(() => '?').join(', ')})
    order by e.enumsortorder`
  const found = new Map<string, ValueType>()
  for (const [name, rows] of grouped(textRows(await select(knex, sql, [...names])), (row) => at(row, 0))) {
    const base = rows[0]?.[1] ?? null
    const type = base === null ? { type: 'enum' as const, values: rows.map((row) => at(row, 2)) } : valueTypeOf(base, 'pg')
    if (type) found.set(name, type)
  }
  return found
}
