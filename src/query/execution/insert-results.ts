/** Finds the rows that `onConflict().ignore()` inserted, and divides large inserts. */
import type { Model } from 'objection'
import type { OpenKnexBuilder } from '../../database/knex-internals.js'
import { classOf } from '../../schema/model-class.js'

/** Objection's insert, or an operation that delegates to one. */
export interface InsertOperation {
  models: readonly Model[]
  readonly isArray?: boolean
  readonly delegate?: InsertOperation
  onAfter1(builder: object, returned: unknown): unknown
  onAfter2(builder: object, rows: unknown): unknown
}

/** The driver's result of a statement, as Knex stores it. */
interface Answer {
  readonly response?: unknown
  /** Set by both SQLite drivers. */
  readonly context?: { readonly changes?: number }
}

/** Returns the innermost insert operation. */
export function insertIn(operation: InsertOperation): InsertOperation {
  let inner = operation
  while (inner.delegate) inner = inner.delegate
  return inner
}

/**
 * Makes an insert with `onConflict().ignore()` return, relate and call hooks for the inserted rows only. A single row that was not
 * inserted comes back without an id, because the generated id is in no table.
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

// Returns the number of rows that an INSERT created, or undefined if the driver does not report it.
function changesOf({ response, context }: Answer): number | undefined {
  if (context?.changes !== undefined) return context.changes
  if (!Array.isArray(response)) return (response as { rowCount?: number } | undefined)?.rowCount
  const [first] = response as [{ affectedRows?: number } | undefined]
  return first?.affectedRows ?? response.length
}

// PostgreSQL returns only the rows that it inserted.
function insertedOf(all: readonly Model[], returned: readonly unknown[], idColumns: readonly string[]): readonly Model[] {
  if (returned.length === all.length) return all
  const idOf = (row: unknown) =>
    typeof row === 'object' && row !== null ? idColumns.map((name) => (row as Record<string, unknown>)[name]) : row
  const ids = new Set(returned.map((row) => String(idOf(row))))
  return all.filter((row) => ids.has(String(row.$id())))
}

function clearId(row: Model): void {
  const property = classOf(row).getIdProperty()
  // A composite key comes from the caller, such as both ends of a link, and is kept.
  if (typeof property === 'string') Reflect.deleteProperty(row, property)
}

/** The limits of one INSERT: rows, bound values, and an estimate of the values that a policy binds for each row. */
const MAX_ROWS = 500
const MAX_VALUES = 65_535
const POLICY_VALUES_PER_ROW = 40

/** Returns how many rows one INSERT may hold. */
export function rowsPerInsert(columnCount: number): number {
  return Math.max(1, Math.min(MAX_ROWS, Math.floor(MAX_VALUES / (columnCount + POLICY_VALUES_PER_ROW))))
}

/** Divides rows into arrays of at most `size` rows. */
export function inParts<T>(rows: readonly T[], size: number): T[][] {
  const parts: T[][] = []
  for (let from = 0; from < rows.length; from += size) parts.push(rows.slice(from, from + size))
  return parts
}

/** Joins the results of the parts of an insert: rows, or the numbers of links that relate() created. */
export function joinResults(results: readonly unknown[]): unknown {
  if (results.every((one) => typeof one === 'number')) return results.reduce((sum, one) => sum + one, 0)
  return results.flat()
}
