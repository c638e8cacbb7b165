/**
 * Accounts of users at identity providers, and the sign-ins with a provider that have begun.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { datetime, rowColumns, string, text } from './column-types.js'

const identityTables = {
  identity: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      provider: { type: string(64) },
      issuer: { type: string(255) },
      subject: { type: string(255) },
      label: { type: string(320), isNullable: true },
      lastUsedAt: { type: datetime, isNullable: true },
      tokens: { type: text, isNullable: true },
    },
    uniques: [['issuer', 'subject']],
  },
  providerSignIn: {
    columns: {
      ...rowColumns,
      provider: { type: string(64) },
      state: { type: string(64), isUnique: true },
      binding: { type: string(64), isNullable: true },
      challenge: { type: string(64), isNullable: true },
      details: { type: text },
      userId: { refersTo: 'user', onDelete: 'cascade', isNullable: true, isIndexed: true },
      code: { type: string(64), isNullable: true, isUnique: true },
      expiresAt: { type: datetime, isIndexed: true },
      usedAt: { type: datetime, isNullable: true },
      exchangedAt: { type: datetime, isNullable: true },
    },
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, identityTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, identityTables)
}
