/**
 * Second factors, invitations and the audit log, as version 0.1.0 created them, and the columns of tokens that they need.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 */
import { boolean, datetime, integer, json, rowColumns, string } from './column-types.js'

/** Tables that were created before 0.1.0 lack them. */
const tokenColumns = {
  abilities: { type: json, isNullable: true },
  impersonatorId: { refersTo: 'user', onDelete: 'cascade', isNullable: true },
  boundTo: { type: string(320), isNullable: true },
}

const furtherTables = {
  secondFactor: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      secret: { type: string(255) },
      confirmedAt: { type: datetime, isNullable: true },
      lastStep: { type: integer, isNullable: true },
    },
    uniques: [['userId']],
  },
  invitation: {
    columns: {
      ...rowColumns,
      email: { type: string(254), isIndexed: true },
      role: { type: string(100) },
      domainId: { refersTo: 'domain', onDelete: 'cascade', isIndexed: true },
      invitedById: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      token: { type: string(64), isUnique: true },
      expiresAt: { type: datetime },
      acceptedAt: { type: datetime, isNullable: true },
      revoked: { type: boolean, default: false },
    },
  },
  auditLog: {
    columns: {
      ...rowColumns,
      event: { type: string(64), isIndexed: true },
      // Without foreign keys: rows are kept when the user or the domain is deleted.
      actorId: { hasTypeOf: 'user', isNullable: true, isIndexed: true },
      impersonatorId: { hasTypeOf: 'user', isNullable: true, isIndexed: true },
      subjectId: { hasTypeOf: 'user', isNullable: true, isIndexed: true },
      domainId: { hasTypeOf: 'domain', isNullable: true },
      address: { type: string(64), isNullable: true },
      details: { type: json, isNullable: true },
    },
    indexes: [['createdAt'], ['domainId', 'createdAt']],
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.addColumns(knex, 'token', tokenColumns)
  await tables.create(knex, furtherTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, furtherTables)
}
