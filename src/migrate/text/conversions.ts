/** Describes how the values of a column change when its type changes. */
import type { ColumnSchema } from '../../database/catalogue/schema-types.js'
import type { Dialect } from '../../schema/storage.js'
import { shapeOf, shortType, type TypeShape } from './types.js'

/** How the values of a column become values of another type. */
export interface Conversion {
  /** The values that may be lost or refused; undefined for a conversion that keeps every value. */
  readonly loss?: string | undefined
  /** The most characters of the new type, when longer values exist or may exist. */
  readonly cutTo?: number | undefined
  /** The new value as an SQL expression of the old one. undefined: the database's own conversion. */
  readonly expression?: ((column: string) => string) | undefined
}

const keeps: Conversion = {}

/** Returns how a column changes to another type. */
export function conversionOf(from: ColumnSchema, to: ColumnSchema, dialect: Dialect): Conversion {
  const [before, after] = [shapeOf(from.type, dialect), shapeOf(to.type, dialect)]
  const conversion = sameFamily(before, after) ?? toOther(before, after, dialect)
  const expression = expressionOf(before, after, dialect, shortType(to, dialect))
  if (conversion) return { ...conversion, expression }
  return { loss: `values that are no ${shortType(to, dialect)} are refused or changed`, expression }
}

function sameFamily(from: TypeShape, to: TypeShape): Conversion | undefined {
  if (from.family !== to.family) return undefined
  switch (to.family) {
    case 'string':
      if (to.length === undefined || (from.length !== undefined && from.length <= to.length)) return keeps
      return { loss: `text of more than ${to.length} characters is cut`, cutTo: to.length }
    case 'integer': {
      const [before, after] = [from.bits ?? 64, to.bits ?? 64]
      const fits = from.isUnsigned === to.isUnsigned ? after >= before : Boolean(from.isUnsigned) && after > before
      return fits ? keeps : { loss: `numbers beyond the range of the new type are refused` }
    }
    case 'decimal': {
      const [before, after] = [from.scale ?? 0, to.scale ?? 0]
      if (to.precision === undefined) return keeps
      const fits = from.precision !== undefined && after >= before && to.precision - after >= from.precision - before
      return fits ? keeps : { loss: 'numbers with more digits are rounded or refused' }
    }
    case 'datetime':
      return (to.precision ?? 6) >= (from.precision ?? 6) ? keeps : { loss: 'fractions of seconds are rounded' }
    case 'other':
      return undefined
    default:
      return keeps
  }
}

/** The most characters of the values of other types as text. */
function textLength({ family, bits = 64, precision }: TypeShape): number | undefined {
  if (family === 'integer') return bits > 32 ? 20 : 11
  if (family === 'boolean') return 5
  if (family === 'date') return 10
  if (family === 'uuid') return 36
  if (family === 'decimal') return precision === undefined ? undefined : precision + 2
  return undefined
}

function toOther(from: TypeShape, to: TypeShape, dialect: Dialect): Conversion | undefined {
  const { family, bits = 64 } = from
  const digits = bits > 32 ? 19 : 10
  if (to.family === 'string') {
    if (family === 'json' || family === 'other') return to.length === undefined && family === 'json' ? keeps : undefined
    const length = textLength(from)
    return length !== undefined && (to.length === undefined || to.length >= length) ? keeps : undefined
  }
  if (family === 'integer' && to.family === 'decimal') {
    if (to.precision === undefined || to.precision - (to.scale ?? 0) >= digits) return keeps
    return { loss: 'numbers with more digits are refused' }
  }
  if (family === 'integer' && to.family === 'float' && bits <= 32) return keeps
  if (family === 'boolean' && (to.family === 'integer' || to.family === 'float')) return keeps
  if (family === 'date' && to.family === 'datetime') return keeps
  if (family === 'datetime' && to.family === 'date') return { loss: 'the times of day are lost' }
  if (family === 'decimal' && to.family === 'integer' && from.scale === 0)
    return { loss: 'numbers beyond the range of the new type are refused' }
  if ((family === 'decimal' || family === 'float') && to.family === 'integer') return { loss: 'digits after the point are rounded' }
  if (family === 'decimal' && to.family === 'float') return { loss: 'numbers of more than 15 digits are rounded' }
  return dialect === 'sqlite' && family === 'other' ? keeps : undefined
}

// PostgreSQL converts values of another family only with USING. The library stores datetimes in UTC, and on SQLite as milliseconds.
function expressionOf(from: TypeShape, to: TypeShape, dialect: Dialect, type: string): Conversion['expression'] {
  if (dialect === 'sqlite') {
    if (from.family === 'date' && to.family === 'datetime') return (column) => `cast(strftime('%s', ${column}) as integer) * 1000`
    if (from.family === 'datetime' && to.family === 'date')
      return (column) => `case when typeof(${column}) = 'text' then date(${column}) else date(${column} / 1000, 'unixepoch') end`
    return undefined
  }
  if (dialect === 'mysql') return undefined
  if (from.family === 'date' && to.family === 'datetime' && to.hasZone) return (column) => `${column}::timestamp at time zone 'UTC'`
  if (from.family === 'datetime' && to.family === 'date' && from.hasZone) return (column) => `(${column} at time zone 'UTC')::date`
  if (from.family === 'datetime' && to.family === 'datetime' && from.hasZone !== to.hasZone)
    return (column) => `${column} at time zone 'UTC'`
  if (to.family === 'boolean' && (from.family === 'integer' || from.family === 'decimal')) return (column) => `${column} <> 0`
  if (from.family === 'boolean' && to.family !== 'string' && to.family !== 'boolean') return (column) => `${column}::integer::${type}`
  if (from.family === to.family && from.family !== 'other') return undefined
  return (column) => `${column}::${type}`
}
