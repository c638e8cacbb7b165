/** Converts the SQL types of a catalogue to the types of columns. */
import { type ColumnSpec, type ColumnType, MAX_DECIMAL_PRECISION } from '../../schema/column.js'
import type { Dialect } from '../../schema/storage.js'

/** The type of a column, with the limits that its SQL type sets. */
export type ValueType = Pick<ColumnSpec, 'type' | 'maxLength' | 'minimum' | 'maximum' | 'precision' | 'scale' | 'values'>

const integerBits: Readonly<Record<string, number>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 24,
  int: 32,
  integer: 32,
}

/** Types without limits, by their name in any dialect. */
const plainTypes: Readonly<Record<string, ColumnType>> = {
  bigint: 'bigint',
  'double precision': 'float',
  double: 'float',
  float: 'float',
  real: 'float',
  boolean: 'boolean',
  bool: 'boolean',
  date: 'date',
  datetime: 'datetime',
  timestamp: 'datetime',
  'timestamp with time zone': 'datetime',
  'timestamp without time zone': 'datetime',
  uuid: 'uuid',
  json: 'json',
  jsonb: 'json',
  text: 'text',
  tinytext: 'text',
  mediumtext: 'text',
  longtext: 'text',
  clob: 'text',
  citext: 'text',
}

const strings = new Set(['character varying', 'varchar', 'nvarchar', 'character', 'char', 'nchar', 'bpchar'])
/** The largest number of a float with 32 bits. */
const MAX_SINGLE = 3.4028234663852886e38

/**
 * Returns the type of a column from its SQL type, as the catalogue spells it.
 *
 * @returns undefined for a type whose values the library cannot compare, such as an array, a time or bytes
 * @example valueTypeOf('character varying(100)', 'pg') // { type: 'string', maxLength: 100 }
 */
export function valueTypeOf(sqlType: string, dialect: Dialect): ValueType | undefined {
  const labels = dialect === 'mysql' ? /^enum\((.*)\)$/is.exec(sqlType)?.[1] : undefined
  if (labels !== undefined) return { type: 'enum', values: labelsIn(labels) }
  const lower = sqlType.toLowerCase()
  if (lower.endsWith(']')) return undefined
  const [length, scale] = (/\(([\d\s,]+)\)/.exec(lower)?.[1] ?? '')
    .split(',')
    .map((part) => (part.trim() === '' ? undefined : Number(part)))
  const isUnsigned = lower.includes(' unsigned')
  const name = lower
    .replace(/\([^)]*\)/, '')
    .replace(/ (?:unsigned|zerofill)/g, '')
    .trim()
  if (name === 'tinyint' && length === 1) return { type: 'boolean' }
  const bits = Object.hasOwn(integerBits, name) ? integerBits[name] : undefined
  // SQLite stores 64 bits in each column of integers.
  if (bits !== undefined) return dialect === 'sqlite' ? { type: 'integer' } : { type: 'integer', ...rangeOf(bits, isUnsigned) }
  if (name === 'year') return { type: 'integer' }
  if (name === 'numeric' || name === 'decimal') return decimalOf(length, scale)
  if (isSingle(name, dialect)) return { type: 'float', minimum: -MAX_SINGLE, maximum: MAX_SINGLE }
  if (strings.has(name)) return { type: 'string', ...(length === undefined ? {} : { maxLength: length }) }
  return Object.hasOwn(plainTypes, name) ? { type: plainTypes[name] as ColumnType } : undefined
}

const isSingle = (name: string, dialect: Dialect): boolean =>
  (dialect === 'pg' && name === 'real') || (dialect === 'mysql' && name === 'float')

const rangeOf = (bits: number, isUnsigned: boolean): { minimum: number; maximum: number } =>
  isUnsigned ? { minimum: 0, maximum: 2 ** bits - 1 } : { minimum: -(2 ** (bits - 1)), maximum: 2 ** (bits - 1) - 1 }

// PostgreSQL has decimals without limits. A number is then as exact as JavaScript allows.
function decimalOf(precision: number | undefined, scale = 0): ValueType {
  if (precision === undefined || precision > MAX_DECIMAL_PRECISION || scale > precision) return { type: 'float' }
  return { type: 'decimal', precision, scale }
}

// 'a','it''s' as the catalogue of MariaDB writes the values of an enum.
function labelsIn(text: string): string[] {
  return [...text.matchAll(/'((?:[^']|'')*)'/g)].map(([, label]) => (label as string).replaceAll("''", "'"))
}
