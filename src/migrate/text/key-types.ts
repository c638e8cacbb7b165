/** The types of new columns that refer to existing ones. */
import type { ColumnSchema, DatabaseSchema, ForeignKeySchema, SchemaChange } from '../../database/catalogue/schema-types.js'
import { shapeOf } from './types.js'

/**
 * Gives new columns with a foreign key the type of an existing target. MariaDB requires the same type: Knex's increments() is `int
 * unsigned`, and text has the collation of its table.
 *
 * @param from the schema before the changes
 */
export function withKeyTypes(changes: readonly SchemaChange[], from: DatabaseSchema): SchemaChange[] {
  if (from.dialect !== 'mysql') return [...changes]
  const changed = new Set(changes.flatMap((change) => (change.kind === 'changeColumn' ? [`${change.table}.${change.to.name}`] : [])))
  const later = (table: string) =>
    changes.flatMap((change) => (change.kind === 'addForeignKey' && change.table === table ? [change.key] : []))
  const typed = (column: ColumnSchema, keys: readonly ForeignKeySchema[]): ColumnSchema => {
    const target = targetOf(column.name, keys, from)
    if (!target || changed.has(`${target.table}.${target.column.name}`)) return column
    const { type, collation } = target.column
    return shapeOf(type, 'mysql').family === shapeOf(column.type, 'mysql').family ? { ...column, type, collation } : column
  }
  return changes.map((change) => {
    if (change.kind === 'addColumn') return { ...change, column: typed(change.column, later(change.table)) }
    if (change.kind !== 'createTable') return change
    const { table } = change
    const keys = [...table.foreignKeys, ...later(table.name)]
    return { ...change, table: { ...table, columns: new Map([...table.columns].map(([name, column]) => [name, typed(column, keys)])) } }
  })
}

function targetOf(
  name: string,
  keys: readonly ForeignKeySchema[],
  { tables }: DatabaseSchema,
): { readonly table: string; readonly column: ColumnSchema } | undefined {
  for (const { columns, table, targetColumns } of keys) {
    const target = targetColumns[columns.indexOf(name)]
    const column = target === undefined ? undefined : tables.get(table)?.columns.get(target)
    if (column) return { table, column }
  }
  return undefined
}
