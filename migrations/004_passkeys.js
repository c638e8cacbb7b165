/**
 * Passkeys, and the challenges of their ceremonies.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { bigint, boolean, datetime, json, rowColumns, string } from './column-types.js'

const passkeyTables = {
  passkey: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      // 1023 bytes in base64url. Such a text is too long for an index of MariaDB: the hash is unique instead.
      credentialId: { type: string(1364) },
      credentialHash: { type: string(64), isUnique: true },
      userHandle: { type: string(86) },
      publicKey: { type: string(2048) },
      counter: { type: bigint },
      transports: { type: json, isNullable: true },
      deviceType: { type: string(16) },
      backedUp: { type: boolean },
      name: { type: string(100) },
      aaguid: { type: string(36) },
      lastUsedAt: { type: datetime, isNullable: true },
    },
  },
  passkeyChallenge: {
    columns: {
      ...rowColumns,
      // NULL for a sign-in: who signs in is not known yet.
      userId: { refersTo: 'user', onDelete: 'cascade', isNullable: true, isIndexed: true },
      challenge: { type: string(64), isUnique: true },
      ceremony: { type: string(32) },
      boundTo: { type: string(64), isNullable: true },
      userHandle: { type: string(86), isNullable: true },
      expiresAt: { type: datetime, isIndexed: true },
      usedAt: { type: datetime, isNullable: true },
    },
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, passkeyTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, passkeyTables)
}
