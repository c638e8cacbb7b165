/** Finds the foreign keys that a migration must remove for a while. */
import type { TableSchema } from '../../database/catalogue/schema-types.js'
import type { Dialect } from '../../schema/storage.js'
import type { KeyOfTable } from './created-tables.js'
import { isSameSet } from './keys.js'
import type { TableDifference } from './tables.js'

/**
 * Returns the foreign keys that stay, but would prevent a change: of the type of their columns, or of an index that they need. SQLite
 * rebuilds tables instead.
 *
 * @param tables the tables of the database, with renamed columns under their new names
 */
export function heldForeignKeys(
  tables: ReadonlyMap<string, TableSchema>,
  differences: readonly TableDifference[],
  dialect: Dialect,
): KeyOfTable[] {
  if (dialect === 'sqlite') return []
  const byTable = new Map(differences.map((difference) => [difference.table, difference]))
  return [...tables.values()].flatMap((table) => {
    const own = byTable.get(table.name)
    return table.foreignKeys
      .filter((key) => {
        if (own?.foreignKeys.dropped.includes(key)) return false
        const target = byTable.get(key.table)
        if (changesType(own, key.columns) || changesType(target, key.targetColumns)) return true
        if (target && losesUnique(target, key.targetColumns)) return true
        return dialect === 'mysql' && own !== undefined && losesIndex(table, own, key.columns)
      })
      .map((key) => ({ table: table.name, key }))
  })
}

function changesType(difference: TableDifference | undefined, columns: readonly string[]): boolean {
  return (
    difference?.changedColumns.some(
      ({ from, to }) => columns.includes(to.name) && (from.type !== to.type || from.collation !== to.collation),
    ) ?? false
  )
}

function losesUnique({ indexes, primaryKey }: TableDifference, columns: readonly string[]): boolean {
  const dropped = [
    ...indexes.dropped.filter(({ isUnique }) => isUnique).map((index) => index.columns),
    ...(primaryKey ? [primaryKey.from] : []),
  ]
  return dropped.some((list) => isSameSet(list, columns))
}

/** Returns whether a table loses all indexes that begin with the columns of a foreign key, which MariaDB requires. */
function losesIndex(table: TableSchema, { indexes, primaryKey }: TableDifference, columns: readonly string[]): boolean {
  const serves = (list: readonly string[]) => columns.every((column, i) => list[i] === column)
  const kept = table.indexes.filter((index) => !indexes.dropped.includes(index)).map((index) => index.columns)
  return !(serves(primaryKey ? [] : table.primaryKey) || kept.some(serves))
}
