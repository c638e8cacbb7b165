/** Compares the tables of a database with those that models declare. */
import type { DatabaseSchema, ForeignKeySchema, SchemaChange } from '../database/catalogue/schema-types.js'
import { byReference, createdTables, type KeyOfTable } from './compare/created-tables.js'
import { heldForeignKeys } from './compare/held-foreign-keys.js'
import { type RenamedSchema, withRenames } from './compare/renames.js'
import { exactRules, type TableRules } from './compare/rules.js'
import { compareTables, type TableDifference } from './compare/tables.js'

/** The schema to reach: see `declaredSchema`. Without rules, all parts of all its tables are compared. */
export interface TargetSchema extends DatabaseSchema {
  readonly rules?: ReadonlyMap<string, TableRules> | undefined
}

/** Options of `compareSchemas()`. */
export interface CompareOptions {
  /** Tables to drop if the target does not have them. @defaultValue none: other tables are ignored */
  readonly dropTables?: readonly string[] | undefined
}

/**
 * Returns the differences between two schemas, in an order in which a migration can execute them. Tables that only the first one has
 * are ignored. Names of indexes and constraints do not matter.
 *
 * @param from the database, from `readSchema`
 * @param to the schema that models declare, from `declaredSchema`
 * @example
 * const empty = { dialect: 'sqlite', tables: new Map() } as const
 * compareSchemas(empty, empty) // []
 */
export function compareSchemas(from: DatabaseSchema, to: TargetSchema, { dropTables = [] }: CompareOptions = {}): SchemaChange[] {
  const rulesOf = (table: string): TableRules => to.rules?.get(table) ?? (to.rules ? { ...exactRules, isWhole: false } : exactRules)
  const renamed = withRenames(from, to, rulesOf)
  const differences = [...to.tables.values()].flatMap((table) => {
    const existing = renamed.tables.get(table.name)
    return existing && !existing.isView && !table.isView ? [compareTables(existing, table, rulesOf(table.name), to.dialect)] : []
  })
  const missing = [...to.tables.values()].filter(({ name }) => !renamed.tables.has(name) && !rulesOf(name).isCreatedByLibrary)
  const created = createdTables(missing, renamed.tables, to)
  const gone = [...from.tables.values()].filter(({ name, isView }) => !isView && dropTables.includes(name) && !to.tables.has(name))
  const held = heldForeignKeys(renamed.tables, differences, to.dialect)
  return [
    ...removals(differences, held, renamed),
    ...(to.dialect === 'sqlite' ? [] : gone.flatMap(({ name, foreignKeys }) => foreignKeys.map((key) => dropKey(name, key)))),
    ...renamed.changes,
    ...created.tables.map((table): SchemaChange => ({ kind: 'createTable', table })),
    ...columnChanges(differences),
    ...additions(differences),
    ...[...held, ...created.laterKeys].map(({ table, key }): SchemaChange => ({ kind: 'addForeignKey', table, key })),
    ...byReference(gone)
      .toReversed()
      .map((table): SchemaChange => ({ kind: 'dropTable', table })),
  ]
}

const dropKey = (table: string, key: ForeignKeySchema): SchemaChange => ({ kind: 'dropForeignKey', table, key })

/** Returns what is removed first, with the names before the renames. */
function removals(differences: readonly TableDifference[], held: readonly KeyOfTable[], { original }: RenamedSchema): SchemaChange[] {
  return [
    ...differences.flatMap(({ table, foreignKeys }) => foreignKeys.dropped.map((key) => dropKey(table, original(key)))),
    ...held.map(({ table, key }) => dropKey(table, original(key))),
    ...differences.flatMap(({ table, indexes }) =>
      indexes.dropped.map((index): SchemaChange => ({ kind: 'dropIndex', table, index: original(index) })),
    ),
    ...differences.flatMap(({ table, checks }) =>
      checks.dropped.map((check): SchemaChange => ({ kind: 'dropCheck', table, check: original(check) })),
    ),
  ]
}

function columnChanges(differences: readonly TableDifference[]): SchemaChange[] {
  return [
    ...differences.flatMap(({ table, addedColumns }) => addedColumns.map((column): SchemaChange => ({ kind: 'addColumn', table, column }))),
    ...differences.flatMap(({ table, changedColumns }) =>
      changedColumns.map((pair): SchemaChange => ({ kind: 'changeColumn', table, ...pair })),
    ),
    ...differences.flatMap(({ table, primaryKey }): SchemaChange[] =>
      primaryKey ? [{ kind: 'changePrimaryKey', table, ...primaryKey }] : [],
    ),
    ...differences.flatMap(({ table, droppedColumns }) =>
      droppedColumns.map((column): SchemaChange => ({ kind: 'dropColumn', table, column })),
    ),
  ]
}

function additions(differences: readonly TableDifference[]): SchemaChange[] {
  return [
    ...differences.flatMap(({ table, indexes }) => indexes.added.map((index): SchemaChange => ({ kind: 'addIndex', table, index }))),
    ...differences.flatMap(({ table, checks }) => checks.added.map((check): SchemaChange => ({ kind: 'addCheck', table, check }))),
    ...differences.flatMap(({ table, foreignKeys }) =>
      foreignKeys.added.map((key): SchemaChange => ({ kind: 'addForeignKey', table, key })),
    ),
  ]
}
