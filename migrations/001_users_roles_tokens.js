/**
 * The library's first tables, as version 0.1.0 created them: domains, users, roles, tokens, settings and the counts of the throttle.
 *
 * Frozen: never edit this file. When a model changes, add a migration.
 *
 * Three parts are the application's, and come from its models: the names of tables and columns, the types of ids and of the columns
 * that refer to them, and the columns that a registered model adds or replaces.
 */
import { boolean, datetime, integer, json, rowColumns, string } from './column-types.js'

const firstTables = {
  domain: {
    columns: {
      ...rowColumns,
      name: { type: string(100), isUnique: true },
      displayName: { type: string(200), isNullable: true },
      active: { type: boolean, default: true },
    },
  },
  user: {
    columns: {
      ...rowColumns,
      passwordHash: { type: string(255), isNullable: true },
      email: { type: string(254), isUnique: true },
      isEnabled: { type: boolean, default: true },
    },
  },
  userRole: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      role: { type: string(100), isIndexed: true },
      domainId: { refersTo: 'domain', onDelete: 'cascade', isNullable: true, isIndexed: true },
      // The id of the domain as text, or '*' for a global role.
      domainKey: { type: string(36), holdsIdOf: 'domain', default: '' },
    },
    uniques: [['userId', 'role', 'domainKey']],
  },
  token: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      token: { type: string(64), isUnique: true },
      kind: { type: string(32), default: 'custom', isIndexed: true },
      description: { type: string(255), isNullable: true },
      expiresAt: { type: datetime, isNullable: true, isIndexed: true },
      revoked: { type: boolean, default: false },
      revokedAt: { type: datetime, isNullable: true },
      lastUsedAt: { type: datetime, isNullable: true },
      rotatedAt: { type: datetime, isNullable: true },
      endsAt: { type: datetime, isNullable: true },
      address: { type: string(64), isNullable: true },
      abilities: { type: json, isNullable: true },
      impersonatorId: { refersTo: 'user', onDelete: 'cascade', isNullable: true },
      boundTo: { type: string(320), isNullable: true },
    },
  },
  userSetting: {
    columns: {
      ...rowColumns,
      userId: { refersTo: 'user', onDelete: 'cascade', isIndexed: true },
      key: { type: string(100) },
      value: { type: json, isNullable: true },
    },
    uniques: [['userId', 'key']],
  },
  throttle: {
    columns: {
      name: { type: string(120) },
      points: { type: integer },
      expiresAt: { type: datetime, isIndexed: true },
    },
  },
}

/** @type {import('./index.js').PackagedMigration['up']} */
export async function up(knex, tables) {
  await tables.create(knex, firstTables)
}

/** @type {import('./index.js').PackagedMigration['down']} */
export async function down(knex, tables) {
  await tables.drop(knex, firstTables)
}
