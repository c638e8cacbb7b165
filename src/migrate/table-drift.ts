/** Finds tables that lag behind their models in ways that make statements fail. */
import type { Knex } from 'knex'
import { readColumns } from '../database/catalogue/read-schema.js'
import type { ColumnSchema, TableSchema } from '../database/catalogue/schema-types.js'
import { columnIn } from '../database/tables/constraints.js'
import { sentName } from '../database/tables/existing-tables.js'
import type { ColumnSpec } from '../schema/column.js'
import { type Dialect, dialectOf, sqlType } from '../schema/storage.js'
import { isSameFamily } from './compare/type-families.js'
import type { DeclaredTable } from './declared-table.js'

/** The differences between a database and its models. */
export interface TableDrift {
  /** One sentence for each difference. */
  readonly differences: readonly string[]
  /** Whether `perms.migrate()` creates a missing table or column. */
  readonly isOfLibrary: boolean
}

/**
 * Reads the columns of the tables in one statement, and returns what makes statements of the models fail: missing tables and columns,
 * columns that hold other values, and columns that are NOT NULL although the models leave them out.
 *
 * @throws the driver's error
 */
export async function findTableDrift(knex: Knex, tables: readonly DeclaredTable[]): Promise<TableDrift> {
  const read = (await readColumns(knex, { tables: tables.map(({ spec }) => spec.name) })).tables
  // Only PostgreSQL distinguishes names by case.
  const spelled = dialectOf(knex) === 'pg' ? (name: string) => name : (name: string) => name.toLowerCase()
  const existing = new Map([...read.values()].map((table) => [spelled(table.name), table]))
  const drifts = tables.map((table): TableDrift => {
    const { schema, name } = sentName(knex, table.spec.name)
    const found = existing.get(spelled(`${schema}.${name}`)) ?? existing.get(spelled(name))
    if (!found) return { differences: [`${table.spec.name}: the table does not exist.`], isOfLibrary: table.isCreatedByLibrary }
    // SQLite does not tell the columns of a view without running it.
    return found.columns.size === 0 ? noDrift : driftOf(knex, table, found)
  })
  return {
    differences: drifts.flatMap(({ differences }) => differences),
    isOfLibrary: drifts.some(({ isOfLibrary }) => isOfLibrary),
  }
}

const noDrift: TableDrift = { differences: [], isOfLibrary: false }

function driftOf(knex: Knex, table: DeclaredTable, existing: TableSchema): TableDrift {
  const dialect = dialectOf(knex)
  const columns = new Map([...existing.columns.values()].map((column) => [column.name.toLowerCase(), column]))
  const differences: string[] = []
  const missing: string[] = []
  for (const [property, { spec }] of Object.entries(table.spec.columns)) {
    const name = sentName(knex, columnIn(table.spec, property)).name
    const column = columns.get(name.toLowerCase())
    columns.delete(name.toLowerCase())
    const problem = column ? problemOf(dialect, column, spec, table.untyped.has(property)) : 'the column does not exist'
    if (!column) missing.push(property)
    if (problem !== undefined) differences.push(`${table.spec.name}.${name}: ${problem}.`)
  }
  if (table.isWhole && !existing.isView) {
    for (const column of columns.values())
      if (isRequired(column))
        differences.push(`${table.spec.name}.${column.name}: the column is NOT NULL without a default, and no model declares it.`)
  }
  return { differences, isOfLibrary: missing.some((property) => table.libraryColumns.has(property)) }
}

const isRequired = ({ isNullable, default: value, isGenerated, computed }: ColumnSchema): boolean =>
  !isNullable && value === undefined && !isGenerated && computed === undefined

function problemOf(dialect: Dialect, column: ColumnSchema, spec: ColumnSpec, isUntyped: boolean): string | undefined {
  const declared = sqlType(spec, dialect).replace(/ character set .*$/, '')
  if (!isUntyped && !isSameFamily(column.type, declared, dialect)) return `${column.type}, the models declare ${declared}`
  // A JSON Schema does not tell which values the application fills in.
  if (!isUntyped && spec.isNullable && !spec.isExisting && isRequired(column))
    return 'the column is NOT NULL, the models declare it nullable'
  return undefined
}
