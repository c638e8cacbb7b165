/** The schema after changes, with the names that the database really has. */
import type { DatabaseSchema, SchemaChange, TableSchema } from '../../database/catalogue/schema-types.js'

/** Returns the schema after changes. */
export function appliedSchema(from: DatabaseSchema, changes: readonly SchemaChange[]): DatabaseSchema {
  const tables = new Map(from.tables)
  for (const change of changes) {
    if (change.kind === 'createTable') tables.set(change.table.name, change.table)
    else if (change.kind === 'dropTable') tables.delete(change.table.name)
    else {
      const table = tables.get(change.table)
      if (table) tables.set(change.table, appliedTable(table, change))
      if (change.kind === 'renameColumn') renameTargets(tables, change)
    }
  }
  return { ...from, tables }
}

type TableChange = Exclude<SchemaChange, { kind: 'createTable' | 'dropTable' }>

function appliedTable(table: TableSchema, change: TableChange): TableSchema {
  const { columns, indexes, foreignKeys, checks } = table
  switch (change.kind) {
    case 'addColumn':
      return { ...table, columns: new Map([...columns, [change.column.name, change.column]]) }
    case 'dropColumn':
      return {
        ...table,
        columns: new Map([...columns].filter(([name]) => name !== change.column.name)),
        indexes: indexes.filter((index) => !index.columns.includes(change.column.name)),
      }
    case 'renameColumn':
      return renamed(table, change.from, change.to)
    case 'changeColumn':
      return { ...table, columns: new Map([...columns].map(([name, column]) => [name, name === change.to.name ? change.to : column])) }
    case 'changePrimaryKey':
      return { ...table, primaryKey: change.to }
    case 'addIndex':
      return { ...table, indexes: [...indexes, change.index] }
    case 'dropIndex':
      return { ...table, indexes: indexes.filter(({ name }) => name !== change.index.name) }
    case 'addForeignKey':
      return { ...table, foreignKeys: [...foreignKeys, change.key] }
    case 'dropForeignKey':
      return {
        ...table,
        foreignKeys: foreignKeys.filter(({ name, columns: own }) => name !== change.key.name || own.join() !== change.key.columns.join()),
      }
    case 'addCheck':
      return { ...table, checks: [...checks, change.check] }
    case 'dropCheck':
      return { ...table, checks: checks.filter(({ name }) => name !== change.check.name) }
  }
}

function renamed(table: TableSchema, from: string, to: string): TableSchema {
  const inList = (names: readonly string[]) => names.map((name) => (name === from ? to : name))
  return {
    ...table,
    columns: new Map([...table.columns].map(([name, column]) => (name === from ? [to, { ...column, name: to }] : [name, column]))),
    primaryKey: inList(table.primaryKey),
    indexes: table.indexes.map((index) => ({ ...index, columns: inList(index.columns) })),
    foreignKeys: table.foreignKeys.map((key) => ({ ...key, columns: inList(key.columns) })),
  }
}

function renameTargets(tables: Map<string, TableSchema>, { table, from, to }: Extract<SchemaChange, { kind: 'renameColumn' }>): void {
  for (const [name, other] of tables) {
    const foreignKeys = other.foreignKeys.map((key) =>
      key.table === table ? { ...key, targetColumns: key.targetColumns.map((column) => (column === from ? to : column)) } : key,
    )
    tables.set(name, { ...other, foreignKeys })
  }
}
