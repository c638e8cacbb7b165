/**
 * With whom single rows of the application are shared.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { datetime, rowColumns, string } from './column-types.js'

const shareTables = {
  rowShare: {
    columns: {
      ...rowColumns,
      // The row is in a table of the application, so there is no foreign key.
      rowTable: { type: string(191) },
      rowId: { type: string(255) },
      relation: { type: string(64) },
      userId: { refersTo: 'user', onDelete: 'cascade', isNullable: true, isIndexed: true },
      role: { type: string(100), isNullable: true },
      domainId: { refersTo: 'domain', onDelete: 'cascade', isNullable: true, isIndexed: true },
      // Unique indexes treat NULLs as different: the subject as text.
      subjectKey: { type: string(160) },
      expiresAt: { type: datetime, isNullable: true, isIndexed: true },
      sharedById: { refersTo: 'user', onDelete: 'set null', isNullable: true, isIndexed: true },
    },
    uniques: [['rowTable', 'rowId', 'subjectKey']],
    indexes: [['subjectKey', 'rowTable']],
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, shareTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, shareTables)
}
