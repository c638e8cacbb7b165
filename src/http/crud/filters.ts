import type { Model, QueryBuilder } from 'objection'
import type { FieldProblem } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { filterReadable } from '../../query/query-builder.js'
import type { ColumnSpec } from '../../schema/column.js'
import { needsSqlValue } from '../../schema/existing-storage.js'
import { decodeKey } from '../../schema/ids.js'
import { likeSql, wildcardsIn } from '../../schema/like-patterns.js'
import { type Dialect, encode, firstYear, sqlValue } from '../../schema/storage.js'
import { type Checked, isDate, isStorableText, normalize } from '../../schema/values.js'

/** A column that clients may filter or sort by. */
export interface ListColumn {
  readonly name: string
  readonly spec: ColumnSpec
  /** The column in the database, with its table: `table.column`. */
  readonly reference: string
}

const comparisons = { gt: '>', gte: '>=', lt: '<', lte: '<=', from: '>=', to: '<=', min: '>=', max: '<=' } as const

export type Operator = 'eq' | 'ne' | 'in' | 'null' | 'like' | 'ilike' | keyof typeof comparisons

/** A condition from the query string of a list. */
export interface Filter {
  readonly column: ListColumn
  readonly operator: Operator
  readonly value: unknown
}

/** The maximum number of values for `__in`. */
export const maxInValues = 100

/** The maximum length of a pattern for `__like` and `__ilike`. */
export const maxPattern = 256

/** The maximum number of wildcards (% and _) in a pattern. Each can multiply the work of the database. */
export const maxWildcards = 10

const textTypes = new Set(['string', 'text'])
const equalityOperators: readonly Operator[] = ['eq', 'ne', 'in', 'null']
const orderOperators = Object.keys(comparisons) as Operator[]

/** Returns the operators that a column supports. */
export function operatorsOf(spec: ColumnSpec): readonly Operator[] {
  if (spec.type === 'json') return ['null']
  if (spec.type === 'boolean' || spec.type === 'enum') return equalityOperators
  if (textTypes.has(spec.type)) return [...equalityOperators, ...orderOperators, 'like', 'ilike']
  return [...equalityOperators, ...orderOperators]
}

/** Splits `title__like` into title and like. A column whose name contains two underscores takes precedence. */
export function splitKey(key: string, columns: ReadonlyMap<string, ListColumn>): { name: string; operator: string } {
  const at = key.lastIndexOf('__')
  if (columns.has(key) || at <= 0) return { name: key, operator: 'eq' }
  return { name: key.slice(0, at), operator: key.slice(at + 2) }
}

/** Parses a filter of the query string. Returns a FieldProblem if it is not valid. */
export function parseFilter(key: string, text: string, columns: ReadonlyMap<string, ListColumn>): Filter | FieldProblem {
  const { name, operator } = splitKey(key, columns)
  const column = columns.get(name)
  if (!column) return { field: key, message: message('field.unknown') }
  if (!(operatorsOf(column.spec) as readonly string[]).includes(operator)) {
    return { field: key, message: message('field.unknownOperator', { name, operators: operatorsOf(column.spec) }) }
  }
  const checked = parseValue(column.spec, operator as Operator, text)
  return checked.error === undefined
    ? { column, operator: operator as Operator, value: checked.value }
    : { field: key, message: checked.error }
}

function parseValue(spec: ColumnSpec, operator: Operator, text: string): Checked {
  if (operator === 'null') return text === 'true' || text === 'false' ? { value: text === 'true' } : { error: message('field.boolean') }
  if (operator === 'in') {
    const parts = text.split(',')
    if (parts.length > maxInValues) return { error: message('field.maxValues', { limit: maxInValues }) }
    const values: unknown[] = []
    for (const part of parts) {
      const checked = scalar(spec, part)
      if (checked.error !== undefined) return { error: message('field.eachValue', { problem: checked.error }) }
      values.push(checked.value)
    }
    return { value: values }
  }
  if (operator === 'like' || operator === 'ilike') {
    if (text.length > maxPattern) return { error: message('field.maxCharacters', { limit: maxPattern }) }
    if (wildcardsIn(text) > maxWildcards) return { error: message('field.maxWildcards', { limit: maxWildcards }) }
  }
  if (operator === 'to' && spec.type === 'datetime' && isDate(text)) return { value: { before: dayAfter(text) } }
  return scalar(spec, text)
}

// The range of `__to` includes the whole day.
function dayAfter(day: string): Date {
  return new Date(Date.parse(`${day}T00:00:00.000Z`) + 24 * 60 * 60 * 1000)
}

const wholeNumber = /^-?\d{1,16}$/
const anyNumber = /^-?\d{1,310}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?$/

/** Converts the text of a query parameter to a value of the column, never to null. */
export function scalar(spec: ColumnSpec, text: string): Checked {
  if (spec.isKey) {
    const id = decodeKey(spec, text)
    return id === undefined ? { error: message('field.id') } : { value: id }
  }
  switch (spec.type) {
    case 'integer':
      // A number with more than 32 bits is still valid as a bound.
      return wholeNumber.test(text) && Number.isSafeInteger(Number(text))
        ? { value: Number(text) }
        : { error: message('field.wholeNumber') }
    case 'float':
      return anyNumber.test(text) && Number.isFinite(Number(text)) ? { value: Number(text) } : { error: message('field.number') }
    case 'boolean':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { error: message('field.boolean') }
    case 'string':
    case 'text':
      return isStorableText(text) ? { value: text } : { error: message('field.storableText') }
    case 'datetime':
      return normalize(spec, isDate(text) ? `${text}T00:00:00.000Z` : text.replace(/ (\d\d:\d\d)$/, '+$1'))
    default:
      return normalize({ ...spec, isNullable: false }, text)
  }
}

/** Adds a condition to the query. The value is bound, never part of the SQL text. */
export function applyFilter(query: QueryBuilder<Model>, { column, operator, value }: Filter, dialect: Dialect): void {
  const { spec, reference } = column
  const bound = (one: unknown) => encode(spec, one, dialect)
  switch (operator) {
    case 'eq':
      if (placeOf(spec, value, dialect) !== 'within') query.whereRaw('1 = 0')
      else if (needsSqlValue(spec, dialect)) whereIsOneOf(query, column, [bound(value)], dialect)
      else query.where(reference, bound(value) as string)
      return
    case 'ne':
      // NULL counts as not equal, so that `ne` is the exact opposite of `eq`.
      if (placeOf(spec, value, dialect) !== 'within') return
      query.where((either) => {
        if (needsSqlValue(spec, dialect)) applyComparison(either, column, '<>', value, dialect)
        else either.where(reference, '<>', bound(value) as string)
        if (spec.isNullable) either.orWhereNull(reference)
      })
      return
    case 'in':
      whereIsOneOf(query, column, (value as unknown[]).filter((one) => placeOf(spec, one, dialect) === 'within').map(bound), dialect)
      return
    case 'null':
      if (value) query.whereNull(reference)
      else query.whereNotNull(reference)
      return
    case 'like':
    case 'ilike':
      applyLike(query, column, value as string, operator, dialect)
      return
    default:
      applyComparison(query, column, comparisons[operator], value, dialect)
  }
}

function whereIsOneOf(query: QueryBuilder<Model>, { spec, reference }: ListColumn, bound: readonly unknown[], dialect: Dialect): void {
  const isConverted = needsSqlValue(spec, dialect)
  // On MariaDB this finds the rows by an index, and the condition below compares them byte by byte.
  if (!isConverted || dialect === 'mysql') query.whereIn(reference, bound as string[])
  if (!isConverted || bound.length === 0) {
    if (isConverted) query.whereRaw('1 = 0')
    return
  }
  const values = bound.map(() => sqlValue(spec, '?', dialect)).join(', ')
  query.whereRaw(`${sqlValue(spec, '??', dialect)} in (${values})`, [reference, ...bound] as string[])
}

const int32 = 2147483648

// Databases reject a value outside the range of the column type. No row can have it, so compare it here.
function placeOf({ type, isExisting, isRowId }: ColumnSpec, value: unknown, dialect: Dialect): 'below' | 'within' | 'above' {
  if (type === 'bigint' && isRowId && dialect === 'sqlite') return Number(value) <= Number.MAX_SAFE_INTEGER ? 'within' : 'above'
  if (type === 'integer' && !isExisting) return (value as number) < -int32 ? 'below' : (value as number) < int32 ? 'within' : 'above'
  if (type !== 'date' && type !== 'datetime') return 'within'
  const year = type === 'date' ? Number((value as string).slice(0, 4)) : (value as Date).getUTCFullYear()
  return year < firstYear(dialect) ? 'below' : year <= 9999 ? 'within' : 'above'
}

/** Returns whether the type of a column has this value in the dialect. Otherwise no row has it. */
export function isWithin(spec: ColumnSpec, value: unknown, dialect: Dialect): boolean {
  return placeOf(spec, value, dialect) === 'within'
}

function applyComparison(
  query: QueryBuilder<Model>,
  { spec, reference }: Pick<ListColumn, 'spec' | 'reference'>,
  sign: string,
  value: unknown,
  dialect: Dialect,
): void {
  const { before } = value as { before?: Date }
  const place = before ? 'within' : placeOf(spec, value, dialect)
  if (before) {
    applyComparison(query, { spec, reference }, '<', before, dialect)
  } else if (place !== 'within') {
    // All possible values are on one side of the bound.
    if ((sign[0] === '<') === (place === 'above')) query.whereNotNull(reference)
    else query.whereRaw('1 = 0')
  } else {
    query.whereRaw(`${sqlValue(spec, '??', dialect)} ${sign} ${sqlValue(spec, '?', dialect)}`, [
      reference,
      encode(spec, value, dialect) as string,
    ])
  }
}

function applyLike(
  query: QueryBuilder<Model>,
  { spec, reference }: ListColumn,
  pattern: string,
  operator: 'like' | 'ilike',
  dialect: Dialect,
): void {
  const [sql, bound] = likeSql(pattern, operator, dialect, spec)
  // The time to match a pattern depends on the row: evaluate it only on rows that the caller may read.
  filterReadable(query, { sql, bindings: [reference, bound] })
}
