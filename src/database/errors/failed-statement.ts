import { type ColumnSpec, columnNameOf } from '../../schema/column.js'
import { structureOf } from '../../schema/definition/definition.js'
import { classOfTable } from '../../schema/definition/known-names.js'
import { knownTable } from '../tables/constraints.js'

/** The parts of a failed statement that its error is about. */
export interface Statement {
  verb: 'insert' | 'update' | 'delete' | undefined
  table: string | undefined
  /** The database columns that the statement sets. */
  columns: string[]
}

/** Reads verb, table and columns from a statement that Knex wrote, without confusing them with values. */
export function readStatement(sql: string): Statement {
  const match =
    /^\s*(?:with\s[\s\S]*?\)\s)?(insert(?:\s+ignore)?\s+into|update|delete\s+from)\s+((?:["`][^"`]+["`]\.)*)["`]([^"`]+)["`]\s*([\s\S]*)/i.exec(
      sql,
    )
  if (!match) return { verb: undefined, table: undefined, columns: [] }
  const [, words = '', , table, rest = ''] = match
  const verb = words.slice(0, 6).toLowerCase() as 'insert' | 'update' | 'delete'
  if (verb === 'delete') return { verb, table, columns: [] }
  if (verb === 'insert') return { verb, table, columns: namesIn(/^\(([^)]*)\)/.exec(rest)?.[1] ?? '', /["`]([^"`]+)["`]/g) }
  // In an UPDATE, values stand between the columns: remove string literals, then match only assignments.
  const [set = ''] = rest.replace(/'(?:[^'\\]|\\.|'')*'/gs, "''").split(/\swhere\s/i)
  return { verb, table, columns: namesIn(set, /["`]([^"`]+)["`]\s*=/g) }
}

function namesIn(list: string, pattern: RegExp): string[] {
  return [...list.matchAll(pattern)].map(([, name = '']) => name)
}

/** Returns the columns that the statement sets and whose declaration matches `isMeant`. */
export function columnsOf(statement: Statement, isMeant: (spec: ColumnSpec, column: string) => boolean): string[] {
  if (statement.table === undefined) return []
  return declaredColumns(statement.table)
    .map(([property, spec]) => ({ column: columnNameOf(property, spec), spec }))
    .filter(({ column, spec }) => statement.columns.includes(column) && isMeant(spec, column))
    .map(({ column }) => column)
}

/** Returns the columns of a table: of one that this process created, or of its model if a migration or another process did. */
function declaredColumns(table: string): [property: string, spec: ColumnSpec][] {
  const created = knownTable(table)?.columns
  if (created) return Object.entries(created).map(([property, { spec }]) => [property, spec])
  const cls = classOfTable(table)
  return cls === undefined ? [] : Object.entries(structureOf(cls).specs)
}
