/** Which rows `onConflict().ignore()` has inserted, and how a large insert is divided. */
import type { Model } from 'objection'
import type { OpenKnexBuilder } from './statement.js'

/** Objection's insert, or an operation that delegates to one. */
export interface InsertOperation {
  models: readonly Model[]
  readonly isArray?: boolean
  readonly delegate?: InsertOperation
  onAfter1(builder: object, returned: unknown): unknown
  onAfter2(builder: object, rows: unknown): unknown
}

/** What a driver says of a statement, as Knex keeps it. */
interface Answer {
  readonly response?: unknown
  /** Of both SQLite drivers. */
  readonly context?: { readonly changes?: number }
}

/** The insert itself. */
export function insertIn(operation: InsertOperation): InsertOperation {
  let inner = operation
  while (inner.delegate) inner = inner.delegate
  return inner
}

/**
 * Has an insert with `onConflict().ignore()` return the rows that it has inserted, call hooks for them alone, and relate only them. A
 * single row that was not inserted comes back without an id: the one it was given before the statement is in no table.
 */
export function noteIgnored(statement: OpenKnexBuilder, operation: InsertOperation, idColumns: readonly string[]): void {
  const insert = insertIn(operation)
  const all = insert.models
  let isOneInserted = true
  statement.on('query-response', (_rows: unknown, answer: Answer) => {
    isOneInserted = changesOf(answer) !== 0
  })
  const { onAfter2 } = operation
  const inner = insert.onAfter1

  insert.onAfter1 = async (builder, returned) => {
    const inserted = Array.isArray(returned) && all.length > 1 ? insertedOf(all, returned, idColumns) : isOneInserted ? all : []
    if (inserted.length === all.length) return await inner.call(insert, builder, returned)
    for (const row of all) if (!inserted.includes(row)) clearId(row)
    insert.models = inserted
    if (inserted.length > 0) await inner.call(insert, builder, returned)
    return inserted
  }

  operation.onAfter2 = async (builder, rows) => {
    if (insert.models.length > 0) return await onAfter2.call(operation, builder, rows)
    return insert.isArray ? [] : (all[0] ?? null)
  }
}

// The number of rows that one INSERT has made; undefined where the driver does not say.
function changesOf({ response, context }: Answer): number | undefined {
  if (context?.changes !== undefined) return context.changes
  if (!Array.isArray(response)) return (response as { rowCount?: number } | undefined)?.rowCount
  const [first] = response as [{ affectedRows?: number } | undefined]
  return first?.affectedRows ?? response.length
}

// PostgreSQL returns the rows that it has inserted.
function insertedOf(all: readonly Model[], returned: readonly unknown[], idColumns: readonly string[]): readonly Model[] {
  if (returned.length === all.length) return all
  const idOf = (row: unknown) =>
    typeof row === 'object' && row !== null ? idColumns.map((name) => (row as Record<string, unknown>)[name]) : row
  const ids = new Set(returned.map((row) => String(idOf(row))))
  return all.filter((row) => ids.has(String(row.$id())))
}

function clearId(row: Model): void {
  const property = (row.constructor as unknown as { getIdProperty(): string | string[] }).getIdProperty()
  // Several columns are what the row was to be, such as both ends of a link.
  if (typeof property === 'string') Reflect.deleteProperty(row, property)
}

/** How many rows one INSERT holds at most, with its columns and the conditions of a policy for each row. */
const mostRows = 500
const mostValues = 65_535
const valuesOfPolicy = 40

/** How many rows of a class to insert at once. */
export function rowsPerInsert(columnCount: number): number {
  return Math.max(1, Math.min(mostRows, Math.floor(mostValues / (columnCount + valuesOfPolicy))))
}

/** Divides rows into parts of a size. */
export function inParts<T>(rows: readonly T[], size: number): T[][] {
  const parts: T[][] = []
  for (let from = 0; from < rows.length; from += size) parts.push(rows.slice(from, from + size))
  return parts
}

/** The result of an insert from the results of its parts: rows, or the number of links that relate() has made. */
export function joinResults(results: readonly unknown[]): unknown {
  if (results.every((one) => typeof one === 'number')) return (results as readonly number[]).reduce((sum, one) => sum + one, 0)
  return results.flat()
}
