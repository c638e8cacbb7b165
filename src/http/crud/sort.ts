import type { Model, QueryBuilder } from 'objection'
import type { FieldProblem } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { needsSqlValue } from '../../schema/existing-storage.js'
import { type Dialect, encode, sqlValue } from '../../schema/storage.js'
import type { ListColumn } from './filters.js'

export interface SortKey {
  readonly column: ListColumn
  readonly isDescending: boolean
}

const maxSortKeys = 5

/**
 * Parses `-createdAt,title`. Adds the id as the last key, so that rows with equal values have a fixed order.
 */
export function parseSort(text: string, columns: ReadonlyMap<string, ListColumn>, id: ListColumn): SortKey[] | FieldProblem {
  const keys: SortKey[] = []
  for (const part of text.split(',')) {
    const isDescending = part.startsWith('-')
    const name = isDescending ? part.slice(1) : part
    const column = columns.get(name)
    if (!column) return { field: 'sort', message: message('field.notSortable', { name: name.slice(0, 64) }) }
    if (keys.some((key) => key.column === column)) return { field: 'sort', message: message('field.namedTwice', { name }) }
    keys.push({ column, isDescending })
  }
  if (keys.length > maxSortKeys) return { field: 'sort', message: message('field.maxColumns', { limit: maxSortKeys }) }
  return withTieBreak(keys, id)
}

/** Adds the id as the last sort key, unless it is already one. */
export function withTieBreak(keys: SortKey[], id: ListColumn): SortKey[] {
  if (!keys.some((key) => key.column.name === id.name)) keys.push({ column: id, isDescending: false })
  return keys
}

/** Adds the ORDER BY clause. NULL sorts before all values on every database; PostgreSQL needs this explicitly. */
export function applySort(query: QueryBuilder<Model>, keys: readonly SortKey[], dialect: Dialect): void {
  for (const { column, isDescending } of keys) {
    const { spec, reference } = column
    const direction = isDescending ? 'desc' : 'asc'
    const nulls = dialect === 'pg' && spec.isNullable ? (isDescending ? ' nulls last' : ' nulls first') : ''
    const value = sqlValue(spec, '??', dialect)
    if (value === '??' && nulls === '') query.orderBy(reference, direction)
    else query.orderByRaw(`${value} ${direction}${nulls}`, [reference])
  }
}

/** Adds a condition for the rows that come after the row with these values, in the order of the keys. */
export function applyAfter(query: QueryBuilder<Model>, keys: readonly SortKey[], values: readonly unknown[], dialect: Dialect): void {
  if (keys.length > 1) boundFirst(query, keys[0] as SortKey, values[0], dialect)
  query.where((any) => {
    keys.forEach((last, index) => {
      any.orWhere((all) => {
        for (let i = 0; i < index; i += 1) equals(all, keys[i] as SortKey, values[i], dialect)
        beyond(all, last, values[index], dialect)
      })
    })
  })
}

// applyAfter() implies this condition. Databases do not infer it from an OR, and would scan the index from its start.
function boundFirst(query: QueryBuilder<Model>, { column, isDescending }: SortKey, value: unknown, dialect: Dialect): void {
  const { spec, reference } = column
  if (value === null) {
    if (isDescending) query.whereNull(reference)
    return
  }
  // In descending order NULL comes after all values, so a single range cannot contain both.
  if (isDescending && spec.isNullable) return
  compare(query, column, isDescending ? '<=' : '>=', value, dialect)
}

function compare(query: QueryBuilder<Model>, { spec, reference }: ListColumn, sign: string, value: unknown, dialect: Dialect): void {
  query.whereRaw(`${sqlValue(spec, '??', dialect)} ${sign} ${sqlValue(spec, '?', dialect)}`, [
    reference,
    encode(spec, value, dialect) as string,
  ])
}

function equals(query: QueryBuilder<Model>, { column }: SortKey, value: unknown, dialect: Dialect): void {
  const { spec, reference } = column
  if (value === null) query.whereNull(reference)
  // Compare as ORDER BY does, so that no row is lost between two pages.
  else if ((dialect === 'sqlite' && spec.type === 'decimal') || needsSqlValue(spec, dialect)) compare(query, column, '=', value, dialect)
  else query.where(reference, encode(spec, value, dialect) as string)
}

function beyond(query: QueryBuilder<Model>, { column, isDescending }: SortKey, value: unknown, dialect: Dialect): void {
  const { spec, reference } = column
  if (value === null) {
    // NULL sorts first: nothing follows it in descending order, and all values follow it in ascending order.
    if (isDescending) query.whereRaw('1 = 0')
    else query.whereNotNull(reference)
    return
  }
  const sign = isDescending ? '<' : '>'
  query.where((either) => {
    compare(either, column, sign, value, dialect)
    if (isDescending && spec.isNullable) either.orWhereNull(reference)
  })
}
