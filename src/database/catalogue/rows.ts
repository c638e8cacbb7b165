/** Builds tables from rows of a catalogue. */
import type { SentName } from '../tables/existing-tables.js'
import type { ForeignKeyAction, ForeignKeySchema, IndexSchema } from './schema-types.js'

/** The tables to read, by the names that Knex sends. */
export interface TablesToRead {
  readonly tables: readonly SentName[] | undefined
  readonly schema: string | undefined
}

/** A row of a catalogue: each value as text, or null. */
export type Row = readonly (string | null)[]

/** Converts the values of rows to text: drivers and applications return numbers, booleans and buffers. */
export function textRows(rows: readonly (readonly unknown[])[]): Row[] {
  return rows.map((row) => row.map((value) => (value === null || value === undefined ? null : String(value))))
}

/** Groups rows by a key, in their order. */
export function grouped<T>(rows: readonly T[], key: (row: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const row of rows) {
    const group = groups.get(key(row))
    if (group) group.push(row)
    else groups.set(key(row), [row])
  }
  return groups
}

/** Sorts rows by a number that they contain as text. A subquery does not keep its order on MariaDB. */
export function sortedBy(rows: readonly Row[], position: number): Row[] {
  return [...rows].sort((one, other) => Number(one[position]) - Number(other[position]))
}

/** Returns the value at a position. */
export function at(row: Row | undefined, position: number): string {
  return row?.[position] ?? ''
}

/** Whether a flag of a row is set, which SQL returns as 1, '1' or true. */
export function isSet(row: Row | undefined, position: number): boolean {
  const value = row?.[position]
  return value === '1' || value === 'true' || value === 't'
}

const actions: Readonly<Record<string, ForeignKeyAction>> = {
  cascade: 'cascade',
  'set null': 'set null',
  restrict: 'restrict',
  'set default': 'set default',
}

/** Returns an action of a foreign key; undefined for NO ACTION. */
export function actionNamed(name: string): ForeignKeyAction | undefined {
  return actions[name.toLowerCase()]
}

/** Sorts by name, so that two reads of one database are the same. */
export function byName<T extends IndexSchema | ForeignKeySchema>(list: readonly T[]): T[] {
  const name = (one: T) => one.name ?? one.columns.join()
  return [...list].sort((one, other) => (name(one) < name(other) ? -1 : 1))
}
