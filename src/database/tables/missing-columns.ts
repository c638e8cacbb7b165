/** Reports the columns that a table of the application lacks, with a migration that adds them. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { type ColumnSpec, columnNameOf } from '../../schema/column.js'
import { type Dialect, dialectOf, sqlType } from '../../schema/storage.js'
import { columnIn } from './constraints.js'
import { missingColumnsOf } from './existing-tables.js'
import { literalDefault, type TableSpec } from './tables.js'

/**
 * Throws when an existing table lacks columns of a model. The library does not add them, because the table is the application's.
 *
 * @param model the name of the model
 * @throws ConfigurationError with the columns and a Knex migration that adds them
 */
export async function assertColumns(knex: Knex, table: TableSpec, model: string): Promise<void> {
  const properties = Object.keys(table.columns)
  const missing = await missingColumnsOf(
    knex,
    table.name,
    properties.map((property) => columnIn(table, property)),
  )
  if (missing.length === 0) return
  const added = properties.filter((property) => missing.includes(columnIn(table, property)))
  throw new ConfigurationError(
    `The table '${table.name}' of ${model} has no column ${missing.map((name) => `'${name}'`).join(', ')}. The library does not alter tables that it ` +
      `did not create. If a column has another name, set it with static columnNames. Otherwise run this migration before the library's migrations:\n\n` +
      migrationFor(dialectOf(knex), table, added),
  )
}

/** Returns the text of a Knex migration that adds columns of a table. */
function migrationFor(dialect: Dialect, table: TableSpec, properties: readonly string[]): string {
  const lines = properties.flatMap((property) => linesFor(dialect, property, (table.columns[property] as { spec: ColumnSpec }).spec))
  return [
    `exports.up = (knex) => knex.schema.alterTable('${table.name}', (table) => {`,
    ...lines.map((line) => `  ${line}`),
    '})',
    `exports.down = (knex) => knex.schema.alterTable('${table.name}', (table) => {`,
    `  table.dropColumns(${properties.map((property) => `'${columnIn(table, property)}'`).join(', ')})`,
    '})',
  ].join('\n')
}

function linesFor(dialect: Dialect, property: string, spec: ColumnSpec): string[] {
  const name = columnNameOf(property, spec)
  const value = literalDefault(spec, dialect)
  const { reference } = spec
  const isRequired = !spec.isNullable && value !== undefined
  // Existing rows have no value yet.
  const note = spec.isNullable || isRequired ? '' : ' // fill in the existing rows, then make it NOT NULL'
  const given = value === undefined ? '' : `.defaultTo(${JSON.stringify(value)})`
  return [
    `table.specificType('${name}', '${sqlType(spec, dialect)}')${isRequired ? '.notNullable()' : '.nullable()'}${given}${note}`,
    ...(spec.isUnique ? [`table.unique(['${name}'])`] : spec.isIndexed ? [`table.index(['${name}'])`] : []),
    ...(reference
      ? [
          `table.foreign('${name}').references('${reference.column}').inTable('${reference.table}')${reference.onDelete ? `.onDelete('${reference.onDelete}')` : ''}`,
        ]
      : []),
  ]
}
