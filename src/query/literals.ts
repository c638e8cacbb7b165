/** Compares ids in conditions exactly: MariaDB would compare text with a number as numbers, so that '7abc' is 7 and 0 is any text. */

import { ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import type { ColumnSpec } from '../schema/column.js'
import { structureOf } from '../schema/definition/definition.js'
import { decodeKey } from '../schema/ids.js'
import type { ObjectionBuilder } from './objection-internals.js'

type Builder = Pick<ObjectionBuilder, 'modelClass' | 'tableRef'>

const conditions = new Set(
  ['where', 'whereNot', 'whereIn', 'whereNotIn'].flatMap((name) => {
    const rest = name[0]?.toUpperCase() + name.slice(1)
    return [name, `and${rest}`, `or${rest}`]
  }),
)

const comparisons = new Set(['=', '<>', '!=', '<', '<=', '>', '>=', 'in', 'not in'])

/**
 * Returns the arguments of a condition with values in the types of their columns: a number for a text column becomes text.
 *
 * @param builder the query whose class has the columns
 * @throws ValidationError for text that is no id, in a condition on ids that the database makes
 */
export function exactLiterals(builder: Builder, name: string, args: unknown[]): unknown[] {
  if (!conditions.has(name)) return args
  const [first, ...further] = args
  if (typeof first === 'string') {
    if (further.length === 1) return [first, exact(builder, first, further[0])]
    const [operator, value] = further
    if (further.length !== 2 || typeof operator !== 'string' || !comparisons.has(operator.toLowerCase())) return args
    return [first, operator, exact(builder, first, value)]
  }
  if (typeof first !== 'object' || first === null || further.length > 0 || !isPlain(first)) return args
  return [Object.fromEntries(Object.entries(first).map(([key, value]) => [key, exact(builder, key, value)]))]
}

const isPlain = (value: object): boolean => {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}

function exact(builder: Builder, key: string, value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => exact(builder, key, one))
  if (typeof value !== 'string' && typeof value !== 'number' && typeof value !== 'bigint') return value
  const dot = key.lastIndexOf('.')
  if (dot >= 0 && key.slice(0, dot) !== builder.tableRef()) return value
  // Not definitionOf(): an error in the class belongs to the execution of the query.
  const { specs, columnOf, propertyOf } = structureOf(builder.modelClass())
  const bare = key.slice(dot + 1)
  const property = columnOf.has(bare) ? bare : propertyOf.get(bare)
  const spec = property === undefined ? undefined : specs[property]
  return spec && (!spec.isExisting || spec.isKey) ? inTypeOf(spec, property as string, value) : value
}

function inTypeOf(spec: ColumnSpec, property: string, value: string | number | bigint): unknown {
  if (spec.isKey) {
    if (typeof value !== 'string' || decodeKey(spec, value) !== undefined) return value
    throw new ValidationError(message('input.fieldSentence', { field: property, problem: message('field.id') }), [
      { field: property, message: message('field.id') },
    ])
  }
  // PostgreSQL reads several spellings of a UUID, all of which mean the same one.
  const isText = spec.type === 'string' || spec.type === 'text' || spec.type === 'uuid' || spec.type === 'enum'
  return isText && typeof value !== 'string' ? String(value) : value
}
