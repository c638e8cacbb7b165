/**
 * When and how the user of a session last proved to be present: columns of tokens.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { datetime, string } from './column-types.js'

/** NULL in sessions of earlier versions, which keep working beside: such a session never counts as recent. */
const sessionColumns = {
  authTime: { type: datetime, isNullable: true },
  // Separated by spaces.
  amr: { type: string(255), isNullable: true },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.addColumns(knex, 'token', sessionColumns)
}

/** The columns stay until the first migration drops the table: processes that still run may use them. */
export async function down() {}
