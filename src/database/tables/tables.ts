import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { type Column, type ColumnSpec, columnNameOf } from '../../schema/column.js'
import { type Dialect, dialectOf, encode, sqlType } from '../../schema/storage.js'
import { tableNameOfBuilder } from '../knex-internals.js'
import { columnIn, columnsIn, constraintName, registerTables } from './constraints.js'
import { existingTables, integerTypeOf, missingColumnsOf } from './existing-tables.js'

/** A table that models declare. The keys of `columns` are properties; `columnNameOf` gives their columns. */
export interface TableSpec {
  readonly name: string
  readonly columns: Readonly<Record<string, Column<unknown, boolean>>>
  /** SQL types that replace the declared ones, by property. */
  readonly types?: Readonly<Record<string, string>>
  /** The property of the primary key, or the properties of a composite key. */
  readonly primaryKey: string | readonly string[]
  readonly uniques?: readonly (readonly string[])[]
  readonly indexes?: readonly (readonly string[])[]
  /** A comment on the table in the database. SQLite has none. */
  readonly comment?: string
}

/**
 * Creates tables with the declared types, NOT NULL, literal defaults, unique constraints, indexes and foreign keys. Tables may
 * refer to themselves and to each other. Existing tables stay unchanged.
 *
 * @param knex an instance or a transaction
 * @param tables in any order
 * @throws the driver's error
 * @example await createTablesFromSpecs(knex, [{ name: 'user', primaryKey: 'id', columns: { id: column.uuid(), email: column.string().unique() } }])
 * @returns the names of the created tables
 */
export async function createTablesFromSpecs(knex: Knex, tables: readonly TableSpec[]): Promise<string[]> {
  const dialect = dialectOf(knex)
  registerTables(tables)
  const names = tables.map(({ name }) => name)
  const existing = new Set(await existingTables(knex, names))
  const ordered = byReference(tables.filter(({ name }) => !existing.has(name)))
  const pending = new Set(ordered.map(({ name }) => name))
  const created: string[] = []
  const later: (() => Promise<void>)[] = []
  for (const table of ordered) {
    const types = await typesIn(knex, table)
    const make = knex.schema.createTable(table.name, (builder) => {
      for (const [property, { spec }] of Object.entries(table.columns)) {
        // In a cycle of tables, one foreign key must be added after its target exists. SQLite does not check the target.
        const mustWait = dialect !== 'sqlite' && spec.reference && spec.reference.table !== table.name && pending.has(spec.reference.table)
        if (mustWait)
          later.push(async () => knex.schema.alterTable(table.name, (altered) => addReference(altered, table.name, property, spec)))
        addColumn(builder, knex, dialect, table, property, mustWait ? { ...spec, reference: undefined } : spec, types.get(property))
      }
      // On SQLite and MariaDB, the type of an auto-increment column already declares the primary key.
      const properties = keyOf(table)
      const key = columnsIn(table, properties)
      const isDeclared = dialect !== 'pg' && properties.some((property) => table.columns[property]?.spec.isGenerated)
      const name = constraintName(table.name, key, 'pkey')
      if (table.comment !== undefined && dialect !== 'sqlite') builder.comment(table.comment)
      if (!isDeclared) builder.primary(key, name)
      for (const properties of table.uniques ?? []) addUnique(builder, table.name, columnsIn(table, properties))
      for (const properties of table.indexes ?? []) addIndex(builder, table.name, columnsIn(table, properties))
    })
    try {
      await make
      created.push(table.name)
    } catch (error) {
      // Another process has created the table in the meantime.
      if (!isThereAlready(error)) throw error
    }
    pending.delete(table.name)
  }
  for (const add of later) await add()
  return created
}

const keyOf = ({ primaryKey }: Pick<TableSpec, 'primaryKey'>): readonly string[] => [primaryKey].flat()

const thereAlready = new Set(['42P07', '42710', '23505', 'ER_TABLE_EXISTS_ERROR', 'SQLITE_ERROR'])

function isThereAlready(error: unknown): boolean {
  const { code, message } = error as { code?: string; message?: string }
  return thereAlready.has(code ?? '') && /^create table .* - .*(?:already exists|duplicate key)/is.test(message ?? '')
}

/**
 * Adds a declared column to a table in a migration, with its type, default, unique constraint, index and foreign key.
 *
 * @param table the builder of createTable() or alterTable()
 * @param name the name of the property
 * @returns the builder of the column
 * @example await knex.schema.alterTable('employee', (table) => addColumnTo(table, knex, 'hireDate', column.date().nullable().spec))
 */
export function addColumnTo(table: Knex.CreateTableBuilder, knex: Knex, name: string, spec: ColumnSpec): Knex.ColumnBuilder {
  // Index names begin with the table's name.
  const own: TableSpec = { name: tableNameOfBuilder(table), columns: {}, primaryKey: 'id' }
  return addColumn(table, knex, dialectOf(knex), own, name, spec)
}

/**
 * Adds the named columns that a table does not have yet, with their types, unique constraints, indexes and foreign keys.
 *
 * @throws the driver's error for a NOT NULL column without a default if the table has rows
 * @example await addMissingColumns(knex, userTable, ['lastLoginAt'])
 */
export async function addMissingColumns(knex: Knex, table: TableSpec, properties: readonly string[]): Promise<void> {
  const dialect = dialectOf(knex)
  registerTables([table])
  const absent = new Set(await missingColumnsOf(knex, table.name, columnsIn(table, properties)))
  const missing = properties.flatMap((property): [string, ColumnSpec][] => {
    const declared = table.columns[property]
    return declared && absent.has(columnIn(table, property)) ? [[property, declared.spec]] : []
  })
  if (missing.length === 0) return
  const types = await typesIn(knex, table)
  await knex.schema.alterTable(table.name, (builder) => {
    for (const [property, spec] of missing) addColumn(builder, knex, dialect, table, property, spec, types.get(property))
  })
}

/**
 * Drops tables in any order, even if they refer to each other. Skips tables that do not exist. Other objects that depend on the
 * tables, such as views and foreign keys, are not dropped: on PostgreSQL they make the statement fail.
 *
 * @throws ConfigurationError on PostgreSQL when an object depends on one of the tables
 * @example await dropTables(knex, [userTable, documentTable])
 */
export async function dropTables(knex: Knex, tables: readonly Pick<TableSpec, 'name' | 'columns'>[]): Promise<void> {
  const names = byReference(tables)
    .map(({ name }) => name)
    .reverse()
  if (names.length === 0) return
  if (dialectOf(knex) === 'pg') {
    // One statement, since the tables may refer to each other.
    await knex.raw(`drop table if exists ${names.map(() => '??').join(', ')}`, names).catch(rejectDependents)
    return
  }
  // The setting that disables foreign keys belongs to a connection, so all statements must use the same one.
  const client = knex.client as { acquireConnection(): Promise<unknown>; releaseConnection(connection: unknown): Promise<void> }
  const connection = await client.acquireConnection()
  const run = async (sql: string) => await knex.raw(sql).connection(connection)
  try {
    const restore = await disableForeignKeys(run, dialectOf(knex))
    try {
      for (const name of names) await knex.schema.dropTableIfExists(name).connection(connection)
    } finally {
      await run(restore)
    }
  } finally {
    await client.releaseConnection(connection)
  }
}

function rejectDependents(error: Error & { code?: string; detail?: string }): never {
  if (error.code !== DEPENDENT_OBJECTS) throw error
  const dependents = (error.detail ?? error.message).split('\n').map((line) => `${line}.`)
  throw new ConfigurationError(`The tables of the library cannot be dropped: ${dependents.join(' ')} Drop these objects first.`, {
    cause: error,
  })
}

const DEPENDENT_OBJECTS = '2BP01'

/** Disables foreign key checks. @returns the statement that restores the earlier setting */
async function disableForeignKeys(run: (sql: string) => Promise<unknown>, dialect: Dialect): Promise<string> {
  // Read by position, since knexSnakeCaseMappers() may rename the column of the result.
  if (dialect === 'sqlite') {
    const [row] = (await run('PRAGMA foreign_keys')) as object[]
    await run('PRAGMA foreign_keys = OFF')
    return `PRAGMA foreign_keys = ${Object.values(row ?? {})[0] ? 'ON' : 'OFF'}`
  }
  const [[row]] = (await run('select @@foreign_key_checks')) as [object[]]
  await run('set foreign_key_checks = 0')
  return `set foreign_key_checks = ${Object.values(row ?? {})[0] ? 1 : 0}`
}

/** Sorts tables so that each comes after the tables it refers to. Tables in a cycle keep their order. */
function byReference<T extends Pick<TableSpec, 'name' | 'columns'>>(tables: readonly T[]): T[] {
  const byName = new Map(tables.map((table) => [table.name, table]))
  const ordered = new Set<T>()
  const entered = new Set<T>()
  const visit = (table: T): void => {
    if (entered.has(table)) return
    entered.add(table)
    for (const { spec } of Object.values(table.columns)) {
      const target = spec.reference && byName.get(spec.reference.table)
      if (target) visit(target)
    }
    ordered.add(table)
  }
  tables.forEach(visit)
  return [...ordered]
}

type Builder = Knex.CreateTableBuilder | Knex.AlterTableBuilder
type MaybeReference = Omit<ColumnSpec, 'reference'> & { readonly reference?: ColumnSpec['reference'] | undefined }

/** Returns the SQL types that differ from the declared ones, by property: foreign keys take the type of an existing target column. */
async function typesIn(knex: Knex, { columns, types: given = {} }: TableSpec): Promise<ReadonlyMap<string, string>> {
  const types = new Map(Object.entries(given))
  for (const [property, { spec }] of Object.entries(columns)) {
    const { reference } = spec
    if (!reference || (spec.type !== 'integer' && spec.type !== 'bigint')) continue
    const type = await integerTypeOf(knex, reference.table, reference.isResolved ? reference.column : columnNameOf(reference.column))
    if (type !== undefined) types.set(property, type)
  }
  return types
}

function addColumn(
  builder: Builder,
  knex: Knex,
  dialect: Dialect,
  table: TableSpec,
  property: string,
  spec: MaybeReference,
  type = sqlType(spec as ColumnSpec, dialect),
): Knex.ColumnBuilder {
  const column = columnNameOf(property, spec)
  const check = enumCheck(knex, dialect, table.name, column, spec)
  // MariaDB ignores the name of a check of a column. SQLite cannot add one of a table to an existing table.
  const inColumn = check && dialect !== 'mysql' ? ` constraint ${check.name} check (${check.sql})` : ''
  const built = builder.specificType(column, `${type}${spec.isGenerated ? numbering[dialect] : ''}${inColumn}`)
  if (check && dialect === 'mysql') builder.check(check.sql, undefined, check.name)
  if (spec.isGenerated && dialect !== 'pg') return built
  if (spec.isNullable) built.nullable()
  else built.notNullable()
  const value = literalDefault(spec as ColumnSpec, dialect)
  if (value !== undefined) built.defaultTo(literal(knex, value as Knex.RawBinding, dialect))
  const isFirstInKey =
    property === keyOf(table)[0] || [...(table.uniques ?? []), ...(table.indexes ?? [])].some(([first]) => first === property)
  if (spec.isUnique) addUnique(builder, table.name, [column])
  // Without an index on the foreign key, each delete of its target scans the table. MariaDB adds the index by itself.
  else if (spec.isIndexed || (spec.reference && !isFirstInKey && dialect !== 'mysql')) addIndex(builder, table.name, [column])
  addReference(builder, table.name, property, spec)
  return built
}

// AUTOINCREMENT keeps SQLite from reusing the id of a deleted row: tokens and audit rows may still contain that id.
const numbering = {
  pg: ' generated by default as identity',
  sqlite: ' primary key autoincrement not null',
  mysql: ' not null auto_increment primary key',
} as const

/** Returns the SQL default of a column, or undefined. It is for rows that other programs insert: models fill in defaults themselves. */
export function literalDefault(spec: ColumnSpec, dialect: Dialect): unknown {
  if (!spec.hasDefault || typeof spec.defaultValue === 'function' || spec.defaultValue === null) return undefined
  // MySQL accepts no literal default for long text. MariaDB does since 10.2.
  if (dialect === 'mysql' && sqlType(spec, dialect).startsWith('longtext')) return undefined
  return encode(spec, spec.defaultValue, dialect)
}

// Knex reads a question mark in PostgreSQL's DDL as a placeholder, even inside quotes, so it is written as an escape. After a backslash,
// Knex removes the backslash: on MariaDB, adjacent literals are one.
function literal(knex: Knex, value: Knex.RawBinding, dialect: Dialect): Knex.Raw {
  if (dialect === 'sqlite' || typeof value !== 'string' || !value.includes('?')) return knex.raw('?', [value])
  const quoted = value.replaceAll('\\', '\\\\').replaceAll("'", "''")
  if (dialect === 'pg') return knex.raw(`E'${quoted.replaceAll('?', '\\x3f')}'`)
  return knex.raw(`'${quoted.replaceAll('\\?', "\\' '\\?")}'`)
}

/** Returns the check of a column.enum(): its name with quotes, and its condition. */
function enumCheck(
  knex: Knex,
  dialect: Dialect,
  table: string,
  column: string,
  { type, values, isExisting }: MaybeReference,
): { readonly name: string; readonly sql: string } | undefined {
  if (type !== 'enum' || isExisting || !values || values.length === 0) return undefined
  const list = values.map((value) => literal(knex, value, dialect).toString())
  const quoted = (name: string) => knex.raw('??', [name]).toString()
  return { name: quoted(constraintName(table, [column], 'check')), sql: `${quoted(column)} in (${list.join(', ')})` }
}

function addUnique(builder: Builder, table: string, columns: string[]): void {
  builder.unique(columns, { indexName: constraintName(table, columns, 'unique') })
}

function addIndex(builder: Builder, table: string, columns: string[]): void {
  builder.index(columns, constraintName(table, columns, 'index'))
}

function addReference(builder: Builder, table: string, property: string, spec: MaybeReference): void {
  const { reference } = spec
  if (!reference) return
  const column = columnNameOf(property, spec)
  const key = builder
    .foreign(column, constraintName(table, [column], 'foreign'))
    .references(reference.isResolved ? reference.column : columnNameOf(reference.column))
    .inTable(reference.table)
  if (reference.onDelete) key.onDelete(reference.onDelete.toUpperCase())
}
