/** Orders the tables that a migration creates. */
import type { DatabaseSchema, ForeignKeySchema, TableSchema } from '../../database/catalogue/schema-types.js'
import { isMadeByForeignKey } from './keys.js'

/** A foreign key and its table. */
export interface KeyOfTable {
  readonly table: string
  readonly key: ForeignKeySchema
}

/** Sorts tables so that each comes after those it refers to. Tables in a cycle keep their order. */
export function byReference(tables: readonly TableSchema[]): TableSchema[] {
  const byName = new Map(tables.map((table) => [table.name, table]))
  const ordered = new Set<TableSchema>()
  const entered = new Set<TableSchema>()
  const visit = (table: TableSchema): void => {
    if (entered.has(table)) return
    entered.add(table)
    for (const { table: target } of table.foreignKeys) {
      const referred = byName.get(target)
      if (referred) visit(referred)
    }
    ordered.add(table)
  }
  tables.forEach(visit)
  return [...ordered]
}

/**
 * Returns the tables in the order to create them, and the foreign keys to add later: those of cycles, and those to columns that the
 * migration adds or changes. SQLite checks no target when a table is created.
 *
 * @param existing the tables of the database
 */
export function createdTables(
  missing: readonly TableSchema[],
  existing: ReadonlyMap<string, TableSchema>,
  { dialect, tables: all }: DatabaseSchema,
): { readonly tables: TableSchema[]; readonly laterKeys: KeyOfTable[] } {
  const ordered = byReference(missing)
  if (dialect === 'sqlite') return { tables: ordered, laterKeys: [] }
  const created = new Set<string>()
  const laterKeys: KeyOfTable[] = []
  const tables = ordered.map((table) => {
    created.add(table.name)
    const isLater = (key: ForeignKeySchema) => !created.has(key.table) && !isReady(key, existing.get(key.table), all.get(key.table))
    laterKeys.push(...table.foreignKeys.filter(isLater).map((key) => ({ table: table.name, key })))
    // MariaDB makes the indexes of foreign keys itself.
    const indexes = table.indexes.filter((index) => dialect !== 'mysql' || !isMadeByForeignKey(table, index))
    return { ...table, indexes, foreignKeys: table.foreignKeys.filter((key) => !isLater(key)) }
  })
  return { tables, laterKeys }
}

/** Returns whether the target of a foreign key exists and stays as it is. */
function isReady({ targetColumns }: ForeignKeySchema, target: TableSchema | undefined, declared: TableSchema | undefined): boolean {
  if (!target) return false
  const isUnique = [
    target.primaryKey,
    ...target.indexes.filter((index) => index.isUnique && !index.isPartial).map(({ columns }) => columns),
  ]
  const isSame = targetColumns.every((column) => !declared || declared.columns.get(column)?.type === target.columns.get(column)?.type)
  return (
    isSame && isUnique.some((columns) => columns.length === targetColumns.length && columns.every((one) => targetColumns.includes(one)))
  )
}
