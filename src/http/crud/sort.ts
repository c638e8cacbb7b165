import type { Model, QueryBuilder } from 'objection'
import type { FieldError } from '../../core/errors.js'
import { type Dialect, encode, sqlValue } from '../../schema/storage.js'
import type { ListColumn } from './filters.js'

export interface SortKey {
  readonly column: ListColumn
  readonly isDescending: boolean
}

const maxSortKeys = 5

/**
 * Reads `-createdAt,title`. The id comes last by itself, so that rows with equal values have one order.
 */
export function parseSort(text: string, columns: ReadonlyMap<string, ListColumn>, id: ListColumn): SortKey[] | FieldError {
  const keys: SortKey[] = []
  for (const part of text.split(',')) {
    const isDescending = part.startsWith('-')
    const name = isDescending ? part.slice(1) : part
    const column = columns.get(name)
    if (!column) return { field: 'sort', message: `'${name.slice(0, 64)}' cannot be sorted by` }
    if (keys.some((key) => key.column === column)) return { field: 'sort', message: `names ${name} twice` }
    keys.push({ column, isDescending })
  }
  if (keys.length > maxSortKeys) return { field: 'sort', message: `takes at most ${maxSortKeys} columns` }
  return withTieBreak(keys, id)
}

export function withTieBreak(keys: SortKey[], id: ListColumn): SortKey[] {
  if (!keys.some((key) => key.column.name === id.name)) keys.push({ column: id, isDescending: false })
  return keys
}

// NULL is below every value, on every database: PostgreSQL alone thinks otherwise.
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

/** Adds the condition that rows come after the one with these values, in the order of the keys. */
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

// Follows from the condition below. Databases do not infer it from an OR, and would read an index from its start instead of from here.
function boundFirst(query: QueryBuilder<Model>, { column, isDescending }: SortKey, value: unknown, dialect: Dialect): void {
  const { spec, reference } = column
  if (value === null) {
    if (isDescending) query.whereNull(reference)
    return
  }
  // NULL comes after every value in a descending order: no single range holds both.
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
  // As they are ordered: what is equal there is told apart by the next key, and may not be lost in between.
  else if (dialect === 'sqlite' && spec.type === 'decimal') compare(query, column, '=', value, dialect)
  else query.where(reference, encode(spec, value, dialect) as string)
}

function beyond(query: QueryBuilder<Model>, { column, isDescending }: SortKey, value: unknown, dialect: Dialect): void {
  const { spec, reference } = column
  if (value === null) {
    // Below everything: nothing follows downwards, and every value upwards.
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
