/**
 * Changes of rows in the audit log: which row an entry is about.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { string } from './column-types.js'

/** NULL in entries of events. */
const rowColumns = {
  rowTable: { type: string(128), isNullable: true },
  rowId: { type: string(191), isNullable: true, isIndexed: true },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.addColumns(knex, 'auditLog', rowColumns)
}

/** The columns stay until the migration that created the table drops it: processes that still run may use them. */
export async function down() {}
