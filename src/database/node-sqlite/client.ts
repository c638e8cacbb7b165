/// <reference path="./knex-dialect.d.ts" />
import type { Knex } from 'knex'
import BetterSqliteDialect from 'knex/lib/dialects/better-sqlite3/index.js'
import { NodeSqliteConnection } from './connection.js'
import { loadNodeSqlite } from './module.js'

interface Settings {
  readonly filename?: string
  readonly options?: { readonly readonly?: boolean; readonly safeIntegers?: boolean }
}

/**
 * A Knex client for SQLite that uses `node:sqlite` of Node 22.13 or later. It needs no driver from npm, and no compiler. Statements,
 * results and errors are those of the client `better-sqlite3`; the connection may have the same `options: { readonly, safeIntegers }`.
 *
 * @throws ConfigurationError before Node 22.13, when Knex is created
 * @example
 * const knex = Knex({ client: NodeSqliteClient, connection: { filename: 'app.db' }, useNullAsDefault: true })
 */
export const NodeSqliteClient: typeof Knex.Client = class NodeSqliteClient extends BetterSqliteDialect {
  override initializeDriver(): void {
    this.driver = loadNodeSqlite()
  }

  override async acquireRawConnection(): Promise<NodeSqliteConnection> {
    const { filename = '', options = {} } = this.connectionSettings as Settings
    const connection = new NodeSqliteConnection(filename, options)
    return typeof options.safeIntegers === 'boolean' ? connection.defaultSafeIntegers(options.safeIntegers) : connection
  }
}

// Knex reads it from the prototype, also in transactions.
Object.assign(NodeSqliteClient.prototype, { driverName: 'node-sqlite' })
