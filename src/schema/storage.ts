import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import {
  dateFromDriver,
  datetimeFromDriver,
  storableBigint,
  storableBoolean,
  storableDate,
  storableDatetime,
  storableDecimal,
  storableJson,
  storableNumber,
  storableRowId,
  storableText,
} from './canonical.js'
import { type ColumnSpec, MAX_DECIMAL_PRECISION } from './column.js'
import { encodeExisting, existingDecoder, existingSqlValue } from './existing-storage.js'

/** The supported SQL dialects. 'mysql' is MariaDB; MySQL itself is untested. */
export type Dialect = 'sqlite' | 'pg' | 'mysql'

const dialects: Readonly<Record<string, Dialect>> = {
  sqlite3: 'sqlite',
  'better-sqlite3': 'sqlite',
  'node-sqlite': 'sqlite',
  pg: 'pg',
  pgnative: 'pg',
  mysql: 'mysql',
  mysql2: 'mysql',
}

/**
 * Returns the SQL dialect of a Knex instance or transaction.
 *
 * @throws ConfigurationError for a Knex client that is not supported
 * @example dialectOf(Knex({ client: 'better-sqlite3' })) // 'sqlite'
 */
export function dialectOf(knex: Knex): Dialect {
  const { driverName } = knex.client as { driverName?: unknown }
  const dialect = typeof driverName === 'string' && Object.hasOwn(dialects, driverName) ? dialects[driverName] : undefined
  if (dialect) return dialect
  throw new ConfigurationError(
    `The Knex client '${String(driverName)}' is not supported: use 'sqlite3', 'better-sqlite3', NodeSqliteClient, 'pg', or 'mysql2' for MariaDB.`,
  )
}

/**
 * Converts a value of a row to the value that is bound to a statement. `decoder` is the inverse.
 * undefined stays undefined. null becomes NULL, or JSON null in a `json` column that is not nullable.
 *
 * @param value a plain value, not raw SQL or a query builder
 * @throws ValidationError (without the field's name) for a value that the column cannot store exactly
 * @example encode(column.decimal(10, 2).spec, 5, 'sqlite') // '5.00'
 */
export function encode(spec: ColumnSpec, value: unknown, dialect: Dialect): unknown {
  if (value === undefined) return value
  if (value === null) return spec.type === 'json' && !spec.isNullable ? 'null' : null
  if (spec.isExisting) return encodeExisting(spec, value, dialect)
  switch (spec.type) {
    case 'string':
    case 'text':
    case 'enum':
      return storableText(value)
    case 'uuid':
      return storableText(value).toLowerCase()
    case 'boolean':
      return dialect === 'pg' ? storableBoolean(value) : Number(storableBoolean(value))
    case 'integer':
    case 'float':
      return storableNumber(value)
    case 'bigint':
      return dialect === 'sqlite' && spec.isRowId ? storableRowId(value) : storableBigint(value)
    case 'decimal':
      return storableDecimal(value, spec.precision ?? MAX_DECIMAL_PRECISION, spec.scale ?? 0)
    case 'date':
      return storableDate(value, firstYear(dialect))
    case 'datetime':
      return encodeDatetime(storableDatetime(value, firstYear(dialect)), dialect)
    case 'json':
      // Text also on PostgreSQL: its driver writes an array as '{...}' and a bare string without quotes.
      return storableJson(value)
  }
}

/** Returns the first year that a date column can store. MariaDB documents 1000 but stores less; mysql2 reads the year 99 as 1999. */
export const firstYear = (dialect: Dialect): number => (dialect === 'mysql' ? 100 : 1)

// The text is in UTC, so that the TZ variable and driver settings do not matter. Both SQLite drivers bind a Date as a number, so
// a Date in an application's where() compares correctly with the stored number.
function encodeDatetime(datetime: Date, dialect: Dialect): unknown {
  if (dialect === 'sqlite') return datetime.getTime()
  const text = datetime.toISOString()
  return dialect === 'pg' ? text : text.slice(0, 23).replace('T', ' ')
}

/** Converts a value from a driver to the value of a row. */
export type Decoder = (value: unknown) => unknown

/**
 * Returns the function that converts values of a column from the driver; null when no conversion is needed.
 * The function returns null and undefined unchanged. It also reads common columns of tables that the library did not create
 * (a DECIMAL in SQLite, a native JSON column in MariaDB).
 *
 * @example decoder(column.boolean().spec, 'sqlite')?.(1) // true
 */
export function decoder(spec: ColumnSpec, dialect: Dialect): Decoder | null {
  const existing = spec.isExisting ? existingDecoder(spec) : null
  if (existing) return existing
  switch (spec.type) {
    case 'string':
    case 'text':
    case 'enum':
    case 'integer':
    case 'float':
      return null
    case 'uuid':
      return dialect === 'pg' ? null : decodeUuid
    case 'boolean':
      return dialect === 'pg' ? null : decodeBoolean
    case 'bigint':
      return decodeBigint
    case 'decimal':
      return decodeDecimal(spec.scale ?? 0)
    case 'date':
      return dialect === 'mysql' ? decodeUtcDate : decodeDate
    case 'datetime':
      return decodeDatetime
    case 'json':
      return dialect === 'pg' ? null : decodeJson
  }
}

const decodeUuid: Decoder = (value) => (typeof value === 'string' ? value.toLowerCase() : value)

const decodeBoolean: Decoder = (value) =>
  value === null || value === undefined || typeof value === 'boolean' ? value : Number(value) !== 0

const decodeBigint: Decoder = (value) => {
  if (typeof value === 'string' || value === null || value === undefined) return value
  // The driver has rounded it to a double: two rows would have the same id.
  if (typeof value === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER)
    throw new ConfigurationError(
      `The driver of the database returned the integer ${value} as a number, which is not exact. Store such values as text, or let the driver return them as strings.`,
    )
  return String(value)
}

function decodeDecimal(scale: number): Decoder {
  return (value) => {
    if (value === null || value === undefined) return value
    const text = typeof value === 'string' ? value : String(value)
    if (scale === 0 ? !text.includes('.') : text.indexOf('.') === text.length - scale - 1) return text
    // A DECIMAL column of SQLite returns a number: format it with the declared scale.
    return Number.isFinite(Number(text)) ? Number(text).toFixed(scale) : text
  }
}

const decodeDate: Decoder = (value) =>
  value instanceof Date ? dateFromDriver(value) : typeof value === 'string' ? value.slice(0, 10) : value

// mysql2 reads a DATE as midnight in the time zone of the connection, which prepareConnections() sets to UTC.
const decodeUtcDate: Decoder = (value) =>
  value instanceof Date ? value.toISOString().slice(0, 10) : typeof value === 'string' ? value.slice(0, 10) : value

const decodeDatetime: Decoder = (value) =>
  value === null || value === undefined || value instanceof Date ? value : datetimeFromDriver(value)

const decodeJson: Decoder = (value) => {
  // The driver has already parsed a native JSON column.
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

/**
 * Returns SQL to order by, and to compare with < and >, when the stored form orders differently from the value. Use it for the
 * column and for the placeholder. Equality does not need it, since stored forms are canonical. SQLite orders decimals by their
 * first 15 digits.
 *
 * @param columnSql a quoted identifier, or `?`
 * @example sqlValue(column.bigint().spec, '"t"."big"', 'sqlite') // 'CAST("t"."big" AS INTEGER)'
 */
export function sqlValue(spec: ColumnSpec, columnSql: string, dialect: Dialect): string {
  if (spec.isExisting) return existingSqlValue(spec, columnSql, dialect)
  if (dialect === 'sqlite') {
    if (spec.type === 'bigint') return `CAST(${columnSql} AS INTEGER)`
    if (spec.type === 'decimal') return `CAST(${columnSql} AS NUMERIC)`
  }
  if (dialect === 'pg' && (spec.type === 'string' || spec.type === 'text' || spec.type === 'enum')) return `(${columnSql}) COLLATE "C"`
  return columnSql
}

// Compares byte by byte, including trailing spaces. MariaDB runs the text in /*M! */, MySQL 8.0.17 and later the text in /*!80017 */.
const mysqlText = 'character set utf8mb4 collate /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */'

/** The longest varchar on MariaDB, which limits the size of rows. Longer strings become longtext. */
const mysqlLongestString = 4000

/**
 * Returns the SQL type of a column. SQLite stores decimals and bigints as text, which is exact, and datetimes as epoch
 * milliseconds.
 *
 * @example sqlType(column.string({ maxLength: 32 }).spec, 'pg') // 'varchar(32)'
 */
export function sqlType(spec: ColumnSpec, dialect: Dialect): string {
  const length = spec.type === 'enum' ? 255 : (spec.maxLength ?? 255)
  const isSqlite = dialect === 'sqlite'
  switch (spec.type) {
    case 'string':
    case 'enum':
      if (dialect !== 'mysql') return `varchar(${length})`
      return `${length > mysqlLongestString ? 'longtext' : `varchar(${length})`} ${mysqlText}`
    case 'text':
    case 'json':
      return dialect === 'mysql' ? `longtext ${mysqlText}` : dialect === 'pg' && spec.type === 'json' ? 'jsonb' : 'text'
    case 'uuid':
      return dialect === 'mysql' ? `char(36) ${mysqlText}` : dialect === 'pg' ? 'uuid' : 'char(36)'
    case 'integer':
      return 'integer'
    case 'float':
      return 'double precision'
    case 'bigint':
      return !isSqlite ? 'bigint' : spec.isRowId ? 'integer' : 'text'
    case 'decimal':
      return isSqlite ? 'text' : `decimal(${spec.precision ?? MAX_DECIMAL_PRECISION}, ${spec.scale ?? 0})`
    case 'boolean':
      return dialect === 'mysql' ? 'tinyint(1)' : 'boolean'
    case 'date':
      return 'date'
    case 'datetime':
      return dialect === 'pg' ? 'timestamptz(3)' : dialect === 'mysql' ? 'datetime(3)' : 'datetime'
  }
}
