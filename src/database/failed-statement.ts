import { snakeCase } from '../core/names.js'
import type { ColumnSpec } from '../schema/column.js'
import { knownTable } from './constraints.js'

/** What a failed statement was about. */
export interface Statement {
  verb: 'insert' | 'update' | 'delete' | undefined
  table: string | undefined
  /** The columns that it sets, as they are called in the database. */
  columns: string[]
}

/** Verb, table and columns of a statement as Knex writes it, so that its values are not taken for any of them. */
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
  // An update's values stand between its columns: texts go first, then what is no assignment.
  const [set = ''] = rest.replace(/'(?:[^'\\]|\\.|'')*'/gs, "''").split(/\swhere\s/i)
  return { verb, table, columns: namesIn(set, /["`]([^"`]+)["`]\s*=/g) }
}

function namesIn(list: string, pattern: RegExp): string[] {
  return [...list.matchAll(pattern)].map(([, name = '']) => name)
}

/** Those of the columns which the statement sets that are declared so. */
export function columnsOf(statement: Statement, isMeant: (spec: ColumnSpec, column: string) => boolean): string[] {
  const declared = statement.table === undefined ? undefined : knownTable(statement.table)?.columns
  if (!declared) return []
  return Object.entries(declared)
    .map(([property, { spec }]) => ({ column: snakeCase(property), spec }))
    .filter(({ column, spec }) => statement.columns.includes(column) && isMeant(spec, column))
    .map(({ column }) => column)
}
