/**
 * Records which tables the library created, in the table `perms_tables`. The library never drops or alters another table.
 *
 * A database of 0.1.0 has no record: there, the tables that its migrations created count as the library's.
 */
import type { Knex } from 'knex'
import { tableExists } from './existing-tables.js'

/** The table of the record. */
export const recordTable = 'perms_tables'

/** Returns the recorded tables, or null if the database has no record yet. */
export async function recordedTables(knex: Knex): Promise<ReadonlySet<string> | null> {
  if (!(await tableExists(knex, recordTable))) return null
  const rows = (await knex(recordTable).select('name')) as object[]
  return new Set(rows.map((row) => String(Object.values(row)[0])))
}

/** Records tables that were just created. Record them afterwards: an interrupted migration must not claim a table of the application. */
export async function recordTables(knex: Knex, tables: readonly string[]): Promise<void> {
  const known = await recordedTables(knex)
  if (known === null) await knex.schema.createTable(recordTable, (table) => void table.string('name', 191).primary())
  const names = tables.filter((name) => !known?.has(name))
  if (names.length > 0) await knex(recordTable).insert(names.map((name) => ({ name })))
}

/** Removes dropped tables from the record, and the record itself when it is empty. */
export async function forgetTables(knex: Knex, tables: readonly string[]): Promise<void> {
  if ((await recordedTables(knex)) === null) return
  await knex(recordTable)
    .whereIn('name', [...tables])
    .delete()
  if ((await recordedTables(knex))?.size === 0) await knex.schema.dropTable(recordTable)
}
