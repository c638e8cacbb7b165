/** Compares the indexes, foreign keys and checks of two tables. */
import type { CheckSchema, ForeignKeySchema, IndexSchema, TableSchema } from '../../database/catalogue/schema-types.js'
import { constraintName } from '../../database/tables/constraints.js'

/** The parts of a table that a comparison drops and adds. */
export interface Difference<T> {
  readonly dropped: readonly T[]
  readonly added: readonly T[]
}

/** Which columns the comparison may use. */
export interface KeyScope {
  /** Whether an index or a key over these columns is required. */
  readonly mayAdd: (columns: readonly string[]) => boolean
  /** Whether an index or a key over these columns is dropped when no model declares it. */
  readonly mayDrop: (columns: readonly string[]) => boolean
}

/** Compares lists regardless of their order. */
export const isSameSet = (one: readonly string[], other: readonly string[]): boolean =>
  one.length === other.length && one.every((value) => other.includes(value))

const beginsWith = (list: readonly string[], start: readonly string[]): boolean => start.every((value, i) => list[i] === value)

/** Compares indexes by their columns and uniqueness. */
export function indexDifference(from: TableSchema, to: TableSchema, scope: KeyScope, isMysql: boolean): Difference<IndexSchema> {
  const isAutomatic = (table: TableSchema, index: IndexSchema) => isMysql && isMadeByForeignKey(table, index)
  const serves = (existing: IndexSchema, wanted: IndexSchema) => {
    if (existing.isPartial) return false
    return wanted.isUnique ? existing.isUnique && isSameSet(existing.columns, wanted.columns) : beginsWith(existing.columns, wanted.columns)
  }
  const isKey = (table: TableSchema, { isUnique, columns }: IndexSchema) =>
    isUnique ? isSameSet(table.primaryKey, columns) : beginsWith(table.primaryKey, columns)
  const added = to.indexes.filter(
    (wanted) =>
      scope.mayAdd(wanted.columns) &&
      !isKey(to, wanted) &&
      !isAutomatic(to, wanted) &&
      !from.indexes.some((existing) => serves(existing, wanted)),
  )
  const dropped = from.indexes.filter((existing) => {
    if (existing.sql !== undefined || !scope.mayDrop(existing.columns) || isAutomatic(to, existing)) return false
    // On MariaDB, the index of a dropped foreign key stays otherwise.
    if (!isDeclarable(from, existing) && !isAutomatic(from, existing)) return false
    const isWanted = to.indexes.some((wanted) =>
      existing.isUnique ? wanted.isUnique && isSameSet(existing.columns, wanted.columns) : !wanted.isPartial && isSame(existing, wanted),
    )
    return !isWanted && !(existing.isUnique && isSameSet(to.primaryKey, existing.columns)) && !isUsed(existing, to)
  })
  return { dropped, added }
}

const isSame = (one: IndexSchema, other: IndexSchema): boolean => one.columns.join('\0') === other.columns.join('\0')

// A longer index stays if it replaces a declared one.
function isUsed(existing: IndexSchema, to: TableSchema): boolean {
  return (
    !existing.isUnique &&
    to.indexes.some(
      (wanted) => !wanted.isUnique && wanted.columns.length < existing.columns.length && beginsWith(existing.columns, wanted.columns),
    )
  )
}

/** Whether MariaDB made an index for a foreign key, or uses it for one: it makes an index with the name of the key or of its first column. */
export function isMadeByForeignKey(table: TableSchema, index: IndexSchema): boolean {
  if (index.isUnique || index.sql !== undefined) return false
  return table.foreignKeys.some((key) => beginsWith(index.columns, key.columns) && (index.name === key.name || index.columns.length === 1))
}

// Models declare indexes of one column. Longer ones are dropped only if they have the name that this library gives them.
function isDeclarable(table: TableSchema, { columns, isUnique, name }: IndexSchema): boolean {
  return columns.length === 1 || name === constraintName(table.name, columns, isUnique ? 'unique' : 'index')
}

/** Compares foreign keys by their columns, targets and actions. Models do not declare ON UPDATE. */
export function foreignKeyDifference(from: TableSchema, to: TableSchema, scope: KeyScope): Difference<ForeignKeySchema> {
  const isSameTarget = (one: ForeignKeySchema, other: ForeignKeySchema) =>
    one.table.toLowerCase() === other.table.toLowerCase() && pairsOf(one) === pairsOf(other)
  const equal = (one: ForeignKeySchema, other: ForeignKeySchema) => isSameTarget(one, other) && one.onDelete === other.onDelete
  const dropped = from.foreignKeys.filter(
    (existing) => scope.mayDrop(existing.columns) && !to.foreignKeys.some((wanted) => equal(existing, wanted)),
  )
  const added = to.foreignKeys.filter(
    (wanted) => scope.mayAdd(wanted.columns) && !from.foreignKeys.some((existing) => equal(existing, wanted)),
  )
  const withUpdate = added.map((wanted) => {
    const earlier = dropped.find((existing) => isSameTarget(existing, wanted))
    return earlier?.onUpdate === undefined ? wanted : { ...wanted, onUpdate: earlier.onUpdate }
  })
  return { dropped, added: withUpdate }
}

const pairsOf = ({ columns, targetColumns }: ForeignKeySchema): string =>
  columns
    .map((column, i) => `${column}\0${targetColumns[i]}`)
    .sort()
    .join('\0\0')

/** Compares the checks that list the values of a column. Other checks are the application's. */
export function checkDifference(from: TableSchema, to: TableSchema, scope: KeyScope): Difference<CheckSchema> {
  const equal = (one: CheckSchema, other: CheckSchema) =>
    one.column === other.column && one.values !== undefined && isSameSet(one.values, other.values ?? [])
  const listed = (check: CheckSchema, may: KeyScope['mayAdd']) => check.column !== undefined && may([check.column])
  return {
    dropped: from.checks.filter((check) => listed(check, scope.mayDrop) && !to.checks.some((wanted) => equal(check, wanted))),
    added: to.checks.filter((wanted) => listed(wanted, scope.mayAdd) && !from.checks.some((check) => equal(check, wanted))),
  }
}
