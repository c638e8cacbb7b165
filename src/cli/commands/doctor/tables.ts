/** Checks of the tables: missing columns, collations, time zones, and objects that read tables without a policy. */
import type { Knex } from 'knex'
import type { ColumnSchema, TableSchema } from '../../../database/catalogue/schema-types.js'
import { columnIn } from '../../../database/tables/constraints.js'
import { select, sentName } from '../../../database/tables/existing-tables.js'
import type { TableSpec } from '../../../database/tables/tables.js'
import { tableIn } from '../../../insight/lint/indexes.js'
import { findTableDrift } from '../../../migrate/table-drift.js'
import { identifiersOf } from '../../../users/account/identifiers.js'
import { type Check, error, type Finding, warning } from './finding.js'

const UPDATE = 'Run `npx objection-perms migrate up`. If no migration does it yet, write one with `npx objection-perms migrate make NAME`.'

/** Returns the column of a property as the database has it. */
export function columnOfProperty(knex: Knex, table: TableSchema, spec: TableSpec, property: string): ColumnSchema | undefined {
  return table.columns.get(sentName(knex, columnIn(spec, property)).name)
}

/** Reports tables that lag behind their models, so that statements fail. */
export const checkTables: Check = async ({ app, declared }) => {
  const { differences } = await findTableDrift(app.perms.knex, declared)
  return differences.map((what) => error('tables', what, UPDATE))
}

/** Reports text columns that the database compares without regard to case: rules compare exactly. */
export const checkCollation: Check = async ({ app, dialect, declared, schema }) => {
  const { knex } = app.perms
  const identifiers = identifiersOf(app.perms.models.user)
  const defaults = dialect === 'mysql' ? await mariadbCollations(knex) : new Map<string, string>()
  return declared.flatMap(({ spec, declaredBy }) => {
    const table = tableIn(schema, knex, spec.name)
    if (!table) return []
    return Object.keys(spec.columns).flatMap((property): Finding[] => {
      const column = columnOfProperty(knex, table, spec, property)
      if (!column || !isText(column)) return []
      const loose = looseComparison(column, table, defaults)
      if (loose === undefined) return []
      const isIdentifier = declaredBy === app.perms.models.user.name && identifiers.includes(property)
      const why = isIdentifier ? 'two spellings of one account are the same user in the database only' : 'rules and filters compare exactly'
      return [warning('collation', `${spec.name}.${column.name} is compared with ${loose}: ${why}.`, adviceFor(dialect))]
    })
  })
}

const isText = ({ type }: ColumnSchema): boolean => /char|text|citext|enum/i.test(type)

const adviceFor = (dialect: string): string =>
  dialect === 'mysql'
    ? 'Change the column to the collation utf8mb4_nopad_bin, after a look for values that differ in case only.'
    : dialect === 'pg'
      ? 'Change the column to text or varchar with a deterministic collation, after a look for values that differ in case only.'
      : 'Remove COLLATE NOCASE from the column, after a look for values that differ in case only.'

/** Returns how the database compares a column, if not exactly. */
function looseComparison(column: ColumnSchema, table: TableSchema, defaults: ReadonlyMap<string, string>): string | undefined {
  if (/^citext$/i.test(column.type)) return 'the type citext'
  const collation = column.collation ?? defaults.get(table.name)
  if (collation !== undefined) return /_(?:bin|cs)$/.test(collation) ? undefined : `the collation ${collation}`
  const escaped = column.name.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
  return table.sql !== undefined && new RegExp(`["\`\\[]?${escaped}["\`\\]]?[^,]*\\bcollate\\s+["\`]?nocase`, 'i').test(table.sql)
    ? 'COLLATE NOCASE'
    : undefined
}

async function mariadbCollations(knex: Knex): Promise<Map<string, string>> {
  const rows = await select(
    knex,
    'select table_name as a, table_collation as b from information_schema.tables where table_schema = database()',
    [],
  )
  return new Map(rows.map(([table, collation]) => [String(table), String(collation)]))
}

/** Reports columns of PostgreSQL that store a date and time without a time zone. */
export const checkTimeZones: Check = ({ app, dialect, declared, schema }) => {
  if (dialect !== 'pg') return []
  const { knex } = app.perms
  return declared.flatMap(({ spec }) => {
    const table = tableIn(schema, knex, spec.name)
    if (!table) return []
    return Object.entries(spec.columns).flatMap(([property, { spec: declaredColumn }]): Finding[] => {
      const column = columnOfProperty(knex, table, spec, property)
      if (declaredColumn.type !== 'datetime' || !column || !/without time zone/.test(column.type)) return []
      return [
        warning(
          'time zone',
          `${spec.name}.${column.name} is a timestamp without time zone: its meaning depends on the time zone of the connection.`,
          'Change the column to timestamptz.',
        ),
      ]
    })
  })
}

/** Reports views and functions that read tables with a policy. */
export const checkUnguarded: Check = async ({ app }) =>
  (await app.perms.listUnguarded()).map(({ kind, name, reads }) =>
    warning(
      'unguarded',
      `The ${kind} ${name} reads ${reads.length > 0 ? reads.join(', ') : 'tables that its definition does not show'}, and no policy restricts it.`,
      'Use it only inside asSystem(), or define a model with a policy for a view.',
    ),
  )
