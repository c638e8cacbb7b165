/**
 * The devices on which a user need not show the second factor again.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { datetime, rowColumns, string } from './column-types.js'

const deviceTables = {
  trustedDevice: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      token: { type: string(64), isUnique: true },
      // A keyed hash of the password's hash: a changed password ends the trust, whoever changes it.
      passwordMark: { type: string(64) },
      description: { type: string(255), isNullable: true },
      address: { type: string(64), isNullable: true },
      lastUsedAt: { type: datetime, isNullable: true },
      expiresAt: { type: datetime, isIndexed: true },
    },
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, deviceTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, deviceTables)
}
