/** Reads and checks the names of tables in a statement. */
import { namesContext } from '../../database/identifiers.js'
import type { OpenKnexBuilder } from '../../database/knex-internals.js'
import { isKnexBuilder, isRaw } from '../../database/knex-internals.js'
import { isForbiddenTable } from './protected-tables.js'
import { rejectStatement, type StatementContext } from './statement-context.js'

const asWord = /\s+as\s+/i
/** A name without an alias and quotes, by far the most frequent. It needs no splitting. */
const plainName = /^[\w.]+$/

/** Returns a table's name without its alias and quotes. */
export function bareName(table: string): string {
  return (table.split(asWord)[0] ?? table).trim().replaceAll('"', '').replaceAll('`', '')
}

/** Returns a name without its schema. */
export const lastPart = (name: string): string => name.slice(name.lastIndexOf('.') + 1).trim()

/**
 * Returns whether a source is the table of the model.
 *
 * @param table a name, { alias: name } or undefined
 * @param ref if given, the alias must equal it
 */
export function isTableOf(context: StatementContext, table: unknown, ref?: string): boolean {
  if (typeof table === 'string') {
    if (plainName.test(table)) return table === context.table && (ref === undefined || table === ref)
    const [name = '', alias = name] = table.split(asWord)
    return bareName(name) === context.table && (ref === undefined || alias.trim() === ref)
  }
  if (typeof table !== 'object' || table === null) return table === undefined
  const [[alias, name] = [], further] = isRaw(table) || isKnexBuilder(table) ? [] : Object.entries(table)
  return further === undefined && typeof name === 'string' && bareName(name) === context.table && (ref === undefined || alias === ref)
}

/** Rejects a CTE with the name of a protected table. Policies refer to tables by name, and would read the CTE instead. */
export function inspectName(context: StatementContext, alias: unknown): void {
  if (typeof alias === 'string' && isForbiddenTable(bareName(alias)))
    rejectStatement(context, `a CTE named '${alias}'`, 'give it another name')
}

// System catalogues, which reveal row counts and frequent values of all tables.
const systemCatalogues = /^(pg_\w+|information_schema|performance_schema|sqlite_\w+|dbstat|(innodb_)?(table|index|column)_stats)$/i

/** Rejects system catalogues, and tables that the running code may use only through their model. */
export function inspectTable(context: StatementContext, table: string, statement: OpenKnexBuilder): void {
  const name = bareName(table)
  if (name.split('.').some((part) => systemCatalogues.test(part)))
    rejectStatement(context, `the system catalogue '${name}', which describes all tables,`, 'query it with knex')
  if (!isForbiddenName(context, name, statement)) return
  rejectStatement(
    context,
    `the table '${name}' without its model`,
    'use joinRelated(), whereExists(Model.relatedQuery(...)) or the query of its model',
  )
}

/**
 * Returns whether the running code may not name this table. Also checks the name without its schema and quotes, and as
 * wrapIdentifier() changes it.
 */
export function isForbiddenName(context: StatementContext, table: string, { client }: OpenKnexBuilder): boolean {
  const name = bareName(table)
  if (context.exempt?.has(lastPart(name).toLowerCase())) return false
  const { wrapIdentifier } = client.config
  const sent = wrapIdentifier && ((one: string) => wrapIdentifier(one, (same) => same, namesContext))
  return [name, lastPart(name)].some((one) => isForbiddenTable(one, sent))
}
