/** Compares the tables of a database with those that models declare. */
import type { DatabaseSchema, ForeignKeySchema, SchemaChange, TableSchema } from '../database/catalogue/schema-types.js'
import { byReference, createdTables } from './compare/created-tables.js'
import { heldForeignKeys } from './compare/held-foreign-keys.js'
import { withRenames } from './compare/renames.js'
import { exactRules, type TableRules } from './compare/rules.js'
import { compareTables } from './compare/tables.js'

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
 * @example compareSchemas(await readSchema(knex), await declaredSchema(scratchKnex, declaredTables(perms))) // [{ kind: 'addColumn', ... }]
 */
export function compareSchemas(from: DatabaseSchema, to: TargetSchema, { dropTables = [] }: CompareOptions = {}): SchemaChange[] {
  const { dialect } = to
  const rulesOf = (table: string): TableRules => to.rules?.get(table) ?? (to.rules ? { ...exactRules, isWhole: false } : exactRules)
  const renamed = withRenames(from, to, rulesOf)
  const pairs = [...to.tables].flatMap(([name, table]): [TableSchema, TableSchema][] => {
    const existing = renamed.tables.get(name)
    return existing && !existing.isView && !table.isView ? [[existing, table]] : []
  })
  const differences = pairs.map(([existing, table]) => compareTables(existing, table, rulesOf(table.name), dialect))
  const missing = [...to.tables.values()].filter(({ name }) => !renamed.tables.has(name) && !rulesOf(name).isCreatedByLibrary)
  const { tables: created, laterKeys } = createdTables(missing, renamed.tables, to)
  const gone = [...from.tables.values()].filter(({ name, isView }) => !isView && dropTables.includes(name) && !to.tables.has(name))
  const held = heldForeignKeys(renamed.tables, differences, dialect)
  const each = <T>(list: (difference: (typeof differences)[number]) => readonly T[], change: (table: string, part: T) => SchemaChange) =>
    differences.flatMap((difference) => list(difference).map((part) => change(difference.table, part)))
  const keysOfGone = dialect === 'sqlite' ? [] : gone.flatMap(({ name, foreignKeys }) => foreignKeys.map((key) => ({ table: name, key })))
  const dropKey = ({ table, key }: { table: string; key: ForeignKeySchema }): SchemaChange => ({ kind: 'dropForeignKey', table, key })
  return [
    ...each(
      ({ foreignKeys }) => foreignKeys.dropped,
      (table, key) => dropKey({ table, key: renamed.original(key) }),
    ),
    ...held.map(({ table, key }) => dropKey({ table, key: renamed.original(key) })),
    ...keysOfGone.map(dropKey),
    ...each(
      ({ indexes }) => indexes.dropped,
      (table, index) => ({ kind: 'dropIndex', table, index: renamed.original(index) }),
    ),
    ...each(
      ({ checks }) => checks.dropped,
      (table, check) => ({ kind: 'dropCheck', table, check: renamed.original(check) }),
    ),
    ...renamed.changes,
    ...created.map((table): SchemaChange => ({ kind: 'createTable', table })),
    ...each(
      ({ addedColumns }) => addedColumns,
      (table, column) => ({ kind: 'addColumn', table, column }),
    ),
    ...each(
      ({ changedColumns }) => changedColumns,
      (table, pair) => ({ kind: 'changeColumn', table, ...pair }),
    ),
    ...each(
      ({ primaryKey }) => (primaryKey ? [primaryKey] : []),
      (table, pair) => ({ kind: 'changePrimaryKey', table, ...pair }),
    ),
    ...each(
      ({ droppedColumns }) => droppedColumns,
      (table, column) => ({ kind: 'dropColumn', table, column }),
    ),
    ...each(
      ({ indexes }) => indexes.added,
      (table, index) => ({ kind: 'addIndex', table, index }),
    ),
    ...each(
      ({ checks }) => checks.added,
      (table, check) => ({ kind: 'addCheck', table, check }),
    ),
    ...each(
      ({ foreignKeys }) => foreignKeys.added,
      (table, key) => ({ kind: 'addForeignKey', table, key }),
    ),
    ...[...held, ...laterKeys].map(({ table, key }): SchemaChange => ({ kind: 'addForeignKey', table, key })),
    ...byReference(gone)
      .toReversed()
      .map((table): SchemaChange => ({ kind: 'dropTable', table })),
  ]
}
