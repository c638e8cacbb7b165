import { newId } from '../core/ids.js'
import type { ColumnSpec } from './column.js'
import { idProperties, structureOf } from './definition/definition.js'
import { canonicalInteger, isUuid, normalize } from './values.js'

/**
 * Returns the value of a column that holds ids, read from text: a path segment, a query parameter, the `sub` of a token. Each id has
 * one spelling, so '07', '+7', '7.0', ' 7' and '7abc' are no ids. A UUID in upper case is the same UUID.
 *
 * @returns undefined for text that is not the spelling of an id
 * @example decodeKey(column.integer().spec, '7') // 7
 */
export function decodeKey(spec: ColumnSpec, text: string): string | number | undefined {
  // A longer text is no id, and need not be examined.
  if (text === '' || text.length > MAX_ID_LENGTH) return undefined
  const isNumber = spec.type === 'integer' || spec.type === 'bigint'
  if (isNumber && !canonicalInteger.test(text)) return undefined
  if (spec.type === 'uuid') return isUuid(text) ? text.toLowerCase() : undefined
  const given = spec.type === 'integer' ? Number(text) : text
  // The nearest number that JavaScript has could be the id of another row.
  if (typeof given === 'number' && !Number.isSafeInteger(given)) return undefined
  const { value, error } = normalize(spec, given)
  return error === undefined && (typeof value === 'string' || typeof value === 'number') ? value : undefined
}

/** In characters: an id of 255 characters outside Unicode's first plane. */
const MAX_ID_LENGTH = 510

/**
 * Returns an id of a model from a value that a caller or a program names it by: text, or a value of the id's type.
 *
 * @returns undefined for a value that is no id of this model, and for a model with a composite key
 * @example decodeId(User, claims.sub)
 */
export function decodeId(cls: object, given: unknown): string | number | undefined {
  const spec = idSpecOf(cls)
  if (typeof given === 'string') return spec ? decodeKey(spec, given) : given === '' ? undefined : given
  if (typeof given !== 'number' && typeof given !== 'bigint') return undefined
  if (spec?.type !== 'integer' && spec?.type !== 'bigint') return undefined
  return decodeKey(spec, String(given))
}

/** Returns whether a value is an id of a model, in the type and the spelling that the library uses. */
export function isId(cls: object, value: unknown): value is string {
  const decoded = decodeId(cls, value)
  return decoded !== undefined && decoded === value
}

/** Returns the declaration of a model's id; undefined for a composite key, and for an id that the model does not declare. */
export function idSpecOf(cls: object): ColumnSpec | undefined {
  const names = idProperties(cls)
  return names.length === 1 ? structureOf(cls).specs[names[0] as string] : undefined
}

const isUuidColumn = (cls: object): boolean => idSpecOf(cls)?.type === 'uuid'

/** Returns whether the text of an id can never be the name of something: the model's ids are UUIDs, and the text is one. */
export function isUuidOf(cls: object, text: string): boolean {
  return isUuidColumn(cls) && isUuid(text)
}

/** Returns an id of the model's type that no row has, for a statement that must do the same work as one about a row. */
export function unusedId(cls: object): string | number {
  const spec = idSpecOf(cls)
  if (spec?.type === 'integer') return spec.maximum ?? MAX_INTEGER
  if (spec?.type === 'bigint') return String(Number.MAX_SAFE_INTEGER)
  return spec?.type === 'string' ? newId().slice(-(spec.maxLength ?? MAX_ID_LENGTH)) : newId()
}

const MAX_INTEGER = 2147483647

/**
 * Returns the parts of a key of one or more columns, each in the type of its column.
 *
 * @returns undefined when a part is no value of its column, or the number of parts is another
 */
export function decodeIdParts(cls: object, id: unknown): readonly unknown[] | undefined {
  const names = idProperties(cls)
  const parts = [id].flat()
  if (parts.length !== names.length) return undefined
  const { specs } = structureOf(cls)
  const decoded = parts.map((part, i) => decodePart(specs[names[i] as string], part))
  return decoded.includes(malformed) ? undefined : decoded
}

const malformed = Symbol('malformed')

function decodePart(spec: ColumnSpec | undefined, part: unknown): unknown {
  if (spec === undefined || part === undefined || part === null) return part
  switch (spec.type) {
    case 'integer':
    case 'bigint':
    case 'uuid':
    case 'string':
      if (typeof part === 'string') return decodeKey(spec, part) ?? malformed
      if (spec.type === 'uuid' || spec.type === 'string') return typeof part === 'object' ? part : malformed
      return typeof part === 'number' || typeof part === 'bigint' ? (decodeKey(spec, String(part)) ?? malformed) : part
    default:
      return part
  }
}

/**
 * Returns an id as queries bind it: in the type of its column, since MariaDB compares text with a number numerically. The id of a
 * composite key is an array.
 *
 * @returns undefined for a value that is no id
 */
export function keyOf(cls: object, id: unknown): unknown {
  // By far the most frequent key.
  if (typeof id === 'string' && isUuidColumn(cls)) return isUuid(id) ? id.toLowerCase() : undefined
  const names = idProperties(cls)
  const parts = [id].flat()
  // Raw SQL, subqueries and null are left to the query builder.
  if (parts.length !== names.length || parts.some((part) => typeof part === 'object' || part === undefined)) return id
  const { specs } = structureOf(cls)
  const texts = parts.map((part, i) => {
    const type = specs[names[i] as string]?.type
    return type === 'uuid' || type === 'string' ? String(part) : part
  })
  const decoded = decodeIdParts(cls, texts)
  return decoded && (Array.isArray(id) ? decoded : decoded[0])
}
