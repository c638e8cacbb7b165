/** Makes the schema that models declare: creates their tables in a scratch database, and reads them back. */
import type { Knex } from 'knex'
import { readSchema } from '../database/catalogue/read-schema.js'
import type { DatabaseSchema } from '../database/catalogue/schema-types.js'
import { columnIn } from '../database/tables/constraints.js'
import { createSchema, sentName } from '../database/tables/existing-tables.js'
import { createTablesFromSpecs, type TableSpec } from '../database/tables/tables.js'
import { Column, type ColumnSpec, columnNameOf } from '../schema/column.js'
import { dialectOf, sqlType } from '../schema/storage.js'
import type { ColumnRule, TableRules } from './compare/rules.js'
import type { DeclaredTable } from './declared-table.js'

/** The schema that models declare. */
export interface DeclaredSchema extends DatabaseSchema {
  /** How each table is compared, by its name. */
  readonly rules: ReadonlyMap<string, TableRules>
}

/**
 * Creates tables of models in an empty scratch database and reads them back, so that declared and existing tables are compared in the
 * same form.
 *
 * @param scratchKnex an empty database of the application's dialect, with the same mappers of names
 * @throws the driver's error
 * @example (await declaredSchema(knex, [])).tables.size // 0
 */
export async function declaredSchema(scratchKnex: Knex, tables: readonly DeclaredTable[]): Promise<DeclaredSchema> {
  const declared = tables.map(({ spec }) => spec)
  const partial = new Set(tables.filter(({ isWhole }) => !isWhole).map(({ spec }) => spec.name))
  const specs = [...declared.map((spec) => (partial.has(spec.name) ? withKeys(spec, declared) : spec)), ...targetsOutside(declared)]
  const all = dialectOf(scratchKnex) === 'mysql' ? specs.map(withIndexableText) : specs
  for (const schema of new Set(all.map(({ name }) => schemaOf(name)))) await createSchema(scratchKnex, schema)
  await createTablesFromSpecs(scratchKnex, all)
  const read = await readSchema(scratchKnex, { tables: declared.map(({ name }) => name) })
  const rules = new Map(tables.map((table) => [nameIn(read, scratchKnex, table.spec.name), rulesOf(scratchKnex, table, tables)]))
  return { ...read, rules }
}

const schemaOf = (table: string): string | undefined => (table.includes('.') ? table.slice(0, table.lastIndexOf('.')) : undefined)

/** Returns the name of a table in a schema, which leaves out the database's schema if queries do not need it. */
function nameIn({ tables }: DatabaseSchema, knex: Knex, table: string): string {
  const { schema, name } = sentName(knex, table)
  const full = schema === undefined ? name : `${schema}.${name}`
  return tables.has(full) ? full : name
}

/** Returns tables that other tables refer to although no model declares them, with the columns that references name. */
function targetsOutside(specs: readonly TableSpec[]): TableSpec[] {
  const known = new Set(specs.map(({ name }) => name))
  const targets = new Map<string, TableSpec>()
  for (const { columns } of specs) {
    for (const { spec } of Object.values(columns)) {
      const { reference } = spec
      if (!reference || known.has(reference.table)) continue
      const name = reference.isResolved ? reference.column : columnNameOf(reference.column)
      const target = targets.get(reference.table)
      const added = { ...target?.columns, [name]: targetOf(spec, name) }
      targets.set(reference.table, { name: reference.table, columns: added, primaryKey: target?.primaryKey ?? name })
    }
  }
  return [...targets.values()]
}

/** Returns a table with a unique key for each column that the tables refer to: a JSON Schema does not describe keys. */
function withKeys(table: TableSpec, specs: readonly TableSpec[]): TableSpec {
  const targets = new Set(
    specs
      .flatMap(({ columns }) => Object.values(columns))
      .flatMap(({ spec: { reference } }) => (reference?.table === table.name ? [reference.column, columnNameOf(reference.column)] : [])),
  )
  const keys = new Set([table.primaryKey].flat())
  const columns = Object.entries(table.columns).map(([property, declared]) => {
    const isKey = !keys.has(property) && (targets.has(property) || targets.has(columnIn(table, property)))
    return [property, isKey ? new Column({ ...declared.spec, isUnique: true }) : declared] as const
  })
  return { ...table, columns: Object.fromEntries(columns) }
}

function targetOf(spec: ColumnSpec, columnName: string): Column<unknown, boolean> {
  const { reference: _reference, ...type } = spec
  return new Column({ ...type, columnName, isNullable: false, hasDefault: false, isUnique: true })
}

// MariaDB cannot index text without a limit, which is what a JSON Schema without maxLength describes.
function withIndexableText(spec: TableSpec): TableSpec {
  const keys = new Set([spec.primaryKey, ...(spec.uniques ?? []), ...(spec.indexes ?? [])].flat())
  const types: Record<string, string> = { ...spec.types }
  for (const [property, { spec: declared }] of Object.entries(spec.columns)) {
    const isKey = keys.has(property) || declared.isUnique || declared.isIndexed || declared.reference !== undefined
    if (isKey && declared.isExisting && declared.type === 'text') types[property] ??= sqlType({ ...declared, type: 'string' }, 'mysql')
  }
  return { ...spec, types }
}

function rulesOf(knex: Knex, table: DeclaredTable, tables: readonly DeclaredTable[]): TableRules {
  const { spec, isWhole, isCreatedByLibrary } = table
  const columns = new Map<string, ColumnRule>()
  const renamedFrom = new Map<string, string[]>()
  const partial = new Set(tables.filter((other) => !other.isWhole).map((other) => other.spec.name))
  for (const [property, { spec: declared }] of Object.entries(spec.columns)) {
    const name = sentName(knex, columnIn(spec, property)).name
    columns.set(name, columnRule(table, property, declared, partial))
    const { renamedFrom: earlier } = declared
    // The earlier name is that of a property or of a column.
    if (earlier !== undefined)
      renamedFrom.set(
        name,
        [...new Set([columnNameOf(earlier), earlier])].map((one) => sentName(knex, one).name),
      )
  }
  return { isWhole, isCreatedByLibrary, columns, renamedFrom }
}

function columnRule(table: DeclaredTable, property: string, spec: ColumnSpec, partial: ReadonlySet<string>): ColumnRule {
  if (table.libraryColumns.has(property) || table.untyped.has(property)) return 'presence'
  const refersToExisting = spec.reference !== undefined && partial.has(spec.reference.table)
  return !table.isWhole || spec.isExisting || refersToExisting ? 'family' : 'exact'
}
