import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import {
  dateSeen,
  datetimeSeen,
  storableBigint,
  storableBoolean,
  storableDate,
  storableDatetime,
  storableDecimal,
  storableJson,
  storableNumber,
  storableText,
} from './canonical.js'
import type { ColumnSpec } from './column.js'

/** The families of SQL that the library speaks. 'mysql' is MariaDB; MySQL itself is untested. */
export type Dialect = 'sqlite' | 'pg' | 'mysql'

const dialects: Readonly<Record<string, Dialect>> = {
  sqlite3: 'sqlite',
  'better-sqlite3': 'sqlite',
  pg: 'pg',
  pgnative: 'pg',
  mysql: 'mysql',
  mysql2: 'mysql',
}

/**
 * Which SQL a Knex instance, or a transaction of it, speaks.
 *
 * @throws ConfigurationError for a client that the library was not made for
 * @example dialectOf(Knex({ client: 'better-sqlite3', ... })) // 'sqlite'
 */
export function dialectOf(knex: Knex): Dialect {
  const { driverName } = knex.client as { driverName?: unknown }
  const dialect = typeof driverName === 'string' && Object.hasOwn(dialects, driverName) ? dialects[driverName] : undefined
  if (dialect) return dialect
  throw new ConfigurationError(
    `The Knex client '${String(driverName)}' is not supported: use 'sqlite3', 'better-sqlite3', 'pg', or 'mysql2' for MariaDB.`,
  )
}

/**
 * The value that is bound to a statement for a value in code; the counterpart of `decoder`.
 * Takes plain values only: raw SQL and builders are not for it. undefined stays undefined, and null is NULL,
 * but for a `json` column that may not be NULL: there it is JSON's own null.
 *
 * @throws ValidationError (with no field: the caller knows it) for what the column cannot hold exactly
 * @example encode(column.decimal(10, 2).spec, 5, 'sqlite') // '5.00'
 */
export function encode(spec: ColumnSpec, value: unknown, dialect: Dialect): unknown {
  if (value === undefined) return value
  if (value === null) return spec.type === 'json' && !spec.isNullable ? 'null' : null
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
      return storableBigint(value)
    case 'decimal':
      return storableDecimal(value, spec.precision ?? 38, spec.scale ?? 0)
    case 'date':
      return storableDate(value, firstYear(dialect))
    case 'datetime':
      return encodeMoment(storableDatetime(value, firstYear(dialect)), dialect)
    case 'json':
      // Text for PostgreSQL too: its driver would make '{...}' of an array, and bind a bare string as no JSON at all.
      return storableJson(value)
  }
}

/** The first year that a column holds. MariaDB's documented range begins with the year 1000, and mysql2 reads 99 as 1999. */
export const firstYear = (dialect: Dialect): number => (dialect === 'mysql' ? 100 : 1)

// The strings say UTC themselves, so that neither TZ nor a driver's settings take part. A number on SQLite is
// what both of its drivers make of a Date, so that a Date in an application's own where() compares rightly.
function encodeMoment(moment: Date, dialect: Dialect): unknown {
  if (dialect === 'sqlite') return moment.getTime()
  const text = moment.toISOString()
  return dialect === 'pg' ? text : text.slice(0, 23).replace('T', ' ')
}

/** Turns what a driver returned into the value in code. */
export type Decoder = (value: unknown) => unknown

/**
 * How values of a column are read; null where the driver's value is right already, so that reading costs nothing.
 * null and undefined pass through. Also reads the usual forms of tables that the library did not make
 * (a DECIMAL in SQLite, a native JSON column in MariaDB).
 *
 * @example decoder(column.boolean().spec, 'sqlite')?.(1) // true
 */
export function decoder(spec: ColumnSpec, dialect: Dialect): Decoder | null {
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
      return dialect === 'mysql' ? decodeUtcDay : decodeDay
    case 'datetime':
      return decodeMoment
    case 'json':
      return dialect === 'pg' ? null : decodeJson
  }
}

const decodeUuid: Decoder = (value) => (typeof value === 'string' ? value.toLowerCase() : value)

const decodeBoolean: Decoder = (value) =>
  value === null || value === undefined || typeof value === 'boolean' ? value : Number(value) !== 0

const decodeBigint: Decoder = (value) => (typeof value === 'string' || value === null || value === undefined ? value : String(value))

function decodeDecimal(scale: number): Decoder {
  return (value) => {
    if (value === null || value === undefined) return value
    const text = typeof value === 'string' ? value : String(value)
    if (scale === 0 ? !text.includes('.') : text.indexOf('.') === text.length - scale - 1) return text
    // A number from a column of SQLite's own DECIMAL: as many digits as the declaration says.
    return Number.isFinite(Number(text)) ? Number(text).toFixed(scale) : text
  }
}

const decodeDay: Decoder = (value) => (value instanceof Date ? dateSeen(value) : typeof value === 'string' ? value.slice(0, 10) : value)

// mysql2 reads a DATE as midnight in the connection's zone, which prepareConnections makes UTC.
const decodeUtcDay: Decoder = (value) =>
  value instanceof Date ? value.toISOString().slice(0, 10) : typeof value === 'string' ? value.slice(0, 10) : value

const decodeMoment: Decoder = (value) => (value === null || value === undefined || value instanceof Date ? value : datetimeSeen(value))

const decodeJson: Decoder = (value) => {
  // A driver that knows the column as JSON has parsed it already.
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value)
  } catch {
    return value
  }
}

/**
 * The SQL to order by, and to compare with < and >, where the stored form alone would order otherwise than the
 * value: give it the column and the placeholder alike. Equality needs it nowhere, since every stored form is canonical.
 * Decimals on SQLite are ordered by their first 15 digits.
 *
 * @param columnSql an identifier that is quoted already, or `?`
 * @example sqlValue(column.bigint().spec, '"t"."big"', 'sqlite') // 'CAST("t"."big" AS INTEGER)'
 */
export function sqlValue(spec: ColumnSpec, columnSql: string, dialect: Dialect): string {
  if (dialect === 'sqlite') {
    if (spec.type === 'bigint') return `CAST(${columnSql} AS INTEGER)`
    if (spec.type === 'decimal') return `CAST(${columnSql} AS NUMERIC)`
  }
  if (dialect === 'pg' && (spec.type === 'string' || spec.type === 'text' || spec.type === 'enum')) return `(${columnSql}) COLLATE "C"`
  return columnSql
}

// Compares byte for byte, trailing spaces included. MariaDB runs what /*M! */ encloses, MySQL from 8.0.17 on what /*!80017 */ encloses.
const mysqlText = 'character set utf8mb4 collate /*M! utf8mb4_nopad_bin */ /*!80017 utf8mb4_0900_bin */'

/** The longest varchar on MariaDB, whose rows are limited in size; longer ones become longtext. */
const mysqlLongestString = 4000

/**
 * The type of a column in a table that the library makes. SQLite keeps decimals and bigints as text,
 * which is exact, and moments as epoch milliseconds.
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
      return isSqlite ? 'text' : 'bigint'
    case 'decimal':
      return isSqlite ? 'text' : `decimal(${spec.precision ?? 38}, ${spec.scale ?? 0})`
    case 'boolean':
      return dialect === 'mysql' ? 'tinyint(1)' : 'boolean'
    case 'date':
      return 'date'
    case 'datetime':
      return dialect === 'pg' ? 'timestamptz(3)' : dialect === 'mysql' ? 'datetime(3)' : 'datetime'
  }
}
