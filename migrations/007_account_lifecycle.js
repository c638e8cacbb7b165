/**
 * Accounts that wait for their deletion, the reports of deleted ones, and the addresses that soft-deleted users gave up.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { datetime, integer, json, rowColumns, string } from './column-types.js'

const lifecycleTables = {
  accountDeletion: {
    columns: {
      ...rowColumns,
      // Without a foreign key: the report is kept when the user is deleted.
      userId: { hasTypeOf: 'user', isUnique: true },
      state: { type: string(16), isIndexed: true },
      dueAt: { type: datetime, isNullable: true, isIndexed: true },
      // The process that works on the row, and until when others leave it alone.
      lockedBy: { type: string(36), isNullable: true },
      lockedUntil: { type: datetime, isNullable: true },
      attempts: { type: integer, isNullable: true },
      report: { type: json, isNullable: true },
      problem: { type: string(255), isNullable: true },
      freed: { type: json, isNullable: true },
    },
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, lifecycleTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, lifecycleTables)
}
