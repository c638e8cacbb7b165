/** Reads, binds and compares values of columns that only `static jsonSchema` describes: their stored form is the application's. */
import { datetimeFromDriver, storableJson } from './canonical.js'
import { type ColumnSpec, column as columns } from './column.js'
import type { Decoder, Dialect } from './storage.js'
import { parseDatetime } from './values.js'

/** A column that may contain any text, such as one that nobody declared. */
export const existingText: ColumnSpec = Object.freeze({ ...columns.text().spec, isExisting: true })

/** Does for an existing column what `encode` does: values keep their form, except where a driver would refuse them. */
export function encodeExisting(spec: ColumnSpec, value: unknown, dialect: Dialect): unknown {
  if (spec.type === 'json') return storableJson(value)
  if (spec.type === 'boolean') return typeof value === 'boolean' && dialect !== 'pg' ? Number(value) : value
  if (spec.type !== 'datetime') return value
  if (dialect === 'sqlite') return value instanceof Date ? value.getTime() : value
  // MariaDB refuses the 'T' and the offset of RFC 3339. Other text has a form that the application chose.
  const datetime = value instanceof Date ? value : typeof value === 'string' ? parseDatetime(value) : null
  if (datetime === null) return value
  const text = datetime.toISOString()
  return dialect === 'pg' ? text : text.slice(0, 23).replace('T', ' ')
}

/** Returns the decoder of an existing column whose driver returns another type than the JSON Schema describes; null for others. */
export function existingDecoder(spec: ColumnSpec): Decoder | null {
  if (spec.type === 'integer') return (value) => numberIn(value, Number.isSafeInteger)
  if (spec.type === 'float') return (value) => numberIn(value, isExactDouble)
  if (spec.type === 'datetime') return decodeDatetime
  if (spec.type === 'uuid') return (value) => value
  return null
}

// Drivers return BIGINT and DECIMAL as text. Text that a number cannot express exactly stays text.
function numberIn(value: unknown, isExact: (number: number, text: string) => boolean): unknown {
  if (typeof value !== 'string' || value.trim() === '') return value
  const number = Number(value)
  return isExact(number, value) ? number : value
}

const exactDigits = 15

const isExactDouble = (number: number, text: string): boolean =>
  Number.isFinite(number) && text.replace(/[-+.]/g, '').replace(/^0+/, '').length <= exactDigits

const decodeDatetime: Decoder = (value) => {
  if (value === null || value === undefined || value instanceof Date) return value
  const datetime = datetimeFromDriver(value)
  return Number.isNaN(datetime.getTime()) ? value : datetime
}

/**
 * Does for an existing column what `sqlValue` does. SQLite may hold a datetime as epoch milliseconds and as text, in the same column.
 *
 * @param columnSql a quoted identifier, or `?`
 */
export function existingSqlValue(spec: ColumnSpec, columnSql: string, dialect: Dialect): string {
  const isBound = columnSql === '?'
  if (dialect === 'pg') {
    // A parameter has the type of the column otherwise, which may be too small for the value.
    if (spec.type === 'integer' && isBound) return 'cast(? as bigint)'
    if (spec.type === 'float' && isBound) return 'cast(? as numeric)'
    return isText(spec) && spec.type !== 'uuid' && !isBound ? `(${columnSql})::text COLLATE "C"` : columnSql
  }
  if (dialect === 'mysql') return isText(spec) ? `cast(convert(${columnSql} using utf8mb4) as binary)` : columnSql
  if (spec.type !== 'datetime' || isBound) return columnSql
  // The inner SELECT names the column once, as the callers' bindings do. Text without an offset is in UTC.
  return `(select case typeof(v) when 'text' then cast(round((julianday(v) - 2440587.5) * 86400000.0) as integer) else v end from (select ${columnSql} as v))`
}

/**
 * Returns whether equality of an existing column needs `sqlValue` too. On MariaDB, the column may have a collation that ignores case:
 * then add a plain comparison, which can use an index.
 */
export function needsSqlValue(spec: ColumnSpec, dialect: Dialect): boolean {
  if (!spec.isExisting) return false
  if (dialect === 'mysql') return isText(spec)
  return dialect === 'pg' ? spec.type === 'integer' || spec.type === 'float' : spec.type === 'datetime'
}

/**
 * Returns the SQL of an existing column before LIKE. On MariaDB, its collation may ignore case. On PostgreSQL, it may be an enum or a
 * UUID, which have no LIKE.
 */
export function likeSql(columnSql: string, dialect: Dialect): string {
  if (dialect === 'mysql') return `convert(${columnSql} using utf8mb4) collate utf8mb4_nopad_bin`
  return dialect === 'pg' ? `(${columnSql})::text` : columnSql
}

const isText = ({ type }: ColumnSpec): boolean => type === 'string' || type === 'text' || type === 'enum' || type === 'uuid'
