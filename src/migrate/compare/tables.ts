/** Compares two tables of one name. */
import type { CheckSchema, ColumnSchema, ForeignKeySchema, IndexSchema, TableSchema } from '../../database/catalogue/schema-types.js'
import { sqlTokens } from '../../database/catalogue/sql-tokens.js'
import type { Dialect } from '../../schema/storage.js'
import { isChanged } from './columns.js'
import { checkDifference, type Difference, foreignKeyDifference, indexDifference, isSameSet, type KeyScope } from './keys.js'
import type { ColumnRule, TableRules } from './rules.js'

/** The differences between two tables. */
export interface TableDifference {
  readonly table: string
  readonly addedColumns: readonly ColumnSchema[]
  readonly droppedColumns: readonly ColumnSchema[]
  readonly changedColumns: readonly { readonly from: ColumnSchema; readonly to: ColumnSchema }[]
  readonly primaryKey: { readonly from: readonly string[]; readonly to: readonly string[] } | undefined
  readonly indexes: Difference<IndexSchema>
  readonly foreignKeys: Difference<ForeignKeySchema>
  readonly checks: Difference<CheckSchema>
}

/** @param from the table of the database, with renamed columns under their new names */
export function compareTables(from: TableSchema, to: TableSchema, rules: TableRules, dialect: Dialect): TableDifference {
  const ruleOf = (column: string): ColumnRule => rules.columns.get(column) ?? 'exact'
  const addedColumns = [...to.columns.values()].filter(({ name }) => !from.columns.has(name))
  const droppedColumns = [...from.columns.values()].filter(
    ({ name, computed }) => rules.isWhole && computed === undefined && !to.columns.has(name),
  )
  const changedColumns = [...to.columns.values()].flatMap((column) => {
    const existing = from.columns.get(column.name)
    return existing && isChanged({ dialect, from, to }, existing, column, ruleOf(column.name)) ? [{ from: existing, to: column }] : []
  })
  const isNew = (column: string) => !from.columns.has(column)
  const isOwn = (column: string) => ruleOf(column) !== 'presence'
  const isDropped = (column: string) => droppedColumns.some(({ name }) => name === column)
  const scope: KeyScope = {
    mayAdd: (columns) => columns.some(isNew) || (rules.isWhole && columns.some(isOwn)),
    mayDrop: (columns) => rules.isWhole && columns.length > 0 && columns.every(isOwn),
  }
  const isKeyCompared = rules.isWhole && to.primaryKey.some(isOwn) && !isSameSet(from.primaryKey, to.primaryKey)
  return {
    table: from.name,
    addedColumns,
    droppedColumns,
    changedColumns,
    primaryKey: isKeyCompared ? { from: from.primaryKey, to: to.primaryKey } : undefined,
    indexes: withDropped(indexDifference(from, to, scope, dialect === 'mysql'), from.indexes, ({ columns, sql }) =>
      [...columns, ...(sql === undefined ? [] : namesIn(sql, dialect))].some(isDropped),
    ),
    foreignKeys: withDropped(foreignKeyDifference(from, to, scope), from.foreignKeys, ({ columns }) => columns.some(isDropped)),
    checks: withDropped(checkDifference(from, to, scope), from.checks, ({ sql }) => namesIn(sql, dialect).some(isDropped)),
  }
}

/** Also drops what a dropped column is part of. Databases refuse to drop such a column, or drop these parts silently. */
function withDropped<T>({ dropped, added }: Difference<T>, all: readonly T[], isPartOfDropped: (part: T) => boolean): Difference<T> {
  return { dropped: all.filter((part) => dropped.includes(part) || isPartOfDropped(part)), added }
}

function namesIn(sql: string, dialect: Dialect): string[] {
  return sqlTokens(sql, dialect === 'mysql', dialect === 'sqlite')
    .filter(({ kind }) => kind === 'name')
    .map(({ text }) => text)
}
