/** Applies declared renames of columns to the schema of a database. */
import type { DatabaseSchema, ForeignKeySchema, SchemaChange, TableSchema } from '../../database/catalogue/schema-types.js'
import type { TableRules } from './rules.js'

/** The renamed columns of a table: new names by old names. */
type Renames = ReadonlyMap<string, string>

/** A schema whose columns have their new names. */
export interface RenamedSchema {
  readonly tables: ReadonlyMap<string, TableSchema>
  /** Returns an index, a foreign key or a check as it was before. */
  original<T extends object>(part: T): T
  readonly changes: readonly SchemaChange[]
}

/** Renames columns where the old column exists and the new one does not. Other declarations of earlier names have no effect. */
export function withRenames(from: DatabaseSchema, to: DatabaseSchema, rulesOf: (table: string) => TableRules): RenamedSchema {
  const changes: SchemaChange[] = []
  const renames = new Map<string, Renames>()
  for (const [name, table] of from.tables) {
    const wanted = to.tables.get(name)
    if (!wanted || table.isView) continue
    const pairs = renamesIn(table, wanted, rulesOf(name).renamedFrom)
    renames.set(name, new Map(pairs))
    for (const [old, renamed] of pairs) changes.push({ kind: 'renameColumn', table: name, from: old, to: renamed })
  }
  const originals = new Map<object, object>()
  const kept = <T extends object>(part: T, changed: T): T => {
    originals.set(changed, part)
    return changed
  }
  const renamed = [...from.tables].map(([name, table]) => [name, renamedTable(table, (other) => renames.get(other), kept)] as const)
  return {
    tables: new Map(renamed),
    original: <T extends object>(part: T) => (originals.get(part) as T | undefined) ?? part,
    changes,
  }
}

function renamesIn(table: TableSchema, wanted: TableSchema, renamedFrom: TableRules['renamedFrom']): [string, string][] {
  const names = new Set(table.columns.keys())
  const pairs: [string, string][] = []
  const pending = new Map([...renamedFrom].filter(([column]) => wanted.columns.has(column)))
  // Several passes: the new name of one column may be the old name of another.
  for (let found = true; found; ) {
    found = false
    for (const [column, earlier] of pending) {
      const old = earlier.find((one) => names.has(one) && (!wanted.columns.has(one) || pending.has(one)))
      if (old === undefined || names.has(column)) continue
      names.delete(old)
      names.add(column)
      pairs.push([old, column])
      pending.delete(column)
      found = true
    }
  }
  return pairs
}

function renamedTable(
  table: TableSchema,
  renamesOf: (table: string) => Renames | undefined,
  kept: <T extends object>(part: T, changed: T) => T,
): TableSchema {
  const own = renamesOf(table.name)
  const rename = (names: Renames | undefined, columns: readonly string[]) => columns.map((column) => names?.get(column) ?? column)
  const foreignKeys = table.foreignKeys.map((key): ForeignKeySchema => {
    const changed = { ...key, columns: rename(own, key.columns), targetColumns: rename(renamesOf(key.table), key.targetColumns) }
    return kept(key, changed)
  })
  if (!own || own.size === 0) return { ...table, foreignKeys }
  const columns = [...table.columns.values()].map((column) => ({ ...column, name: own.get(column.name) ?? column.name }))
  return {
    ...table,
    columns: new Map(columns.map((column) => [column.name, column])),
    primaryKey: rename(own, table.primaryKey),
    indexes: table.indexes.map((index) => kept(index, { ...index, columns: rename(own, index.columns) })),
    foreignKeys,
    checks: table.checks.map((check) =>
      check.column === undefined ? check : kept(check, { ...check, column: own.get(check.column) ?? check.column }),
    ),
  }
}
