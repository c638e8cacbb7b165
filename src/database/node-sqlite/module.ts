/** The parts of `node:sqlite` that this library uses. The types of Node 20 do not know the module. */
import { isBuiltin } from 'node:module'
import { ConfigurationError } from '../../core/errors.js'

/** A value that SQLite stores. */
export type SqliteValue = null | number | bigint | string | NodeJS.ArrayBufferView

export type SqliteRow = Record<string, SqliteValue>

/** A prepared statement of `node:sqlite`. */
export interface StatementSync {
  all(...bindings: readonly SqliteValue[]): SqliteRow[]
  run(...bindings: readonly SqliteValue[]): { changes: number | bigint; lastInsertRowid: number | bigint }
  setReadBigInts(enabled: boolean): void
  /** Node 22.16 and 23.11 have it. */
  columns?(): readonly unknown[]
}

/** A database of `node:sqlite`. */
export interface DatabaseSync {
  prepare(sql: string): StatementSync
  exec(sql: string): void
  close(): void
  function(name: string, options: object, fn: (...values: never[]) => unknown): void
}

export interface SqliteModule {
  readonly DatabaseSync: new (filename: string, options?: { readOnly?: boolean; defensive?: boolean }) => DatabaseSync
}

/**
 * Returns the module `node:sqlite`.
 *
 * @throws ConfigurationError before Node 22.13, which has no such module
 */
export function loadNodeSqlite(): SqliteModule {
  const found = moduleOrNull()
  if (found) return found
  throw new ConfigurationError(
    `NodeSqliteClient needs node:sqlite, which Node ${process.versions.node} does not have. Use Node 22.13 or later without --no-experimental-sqlite, or the Knex client 'better-sqlite3' or 'sqlite3'.`,
  )
}

/** Returns whether this Node has `node:sqlite`. It does not load the module, which prints a warning on some versions. */
export function hasNodeSqlite(): boolean {
  return isBuiltin('node:sqlite')
}

// A static import would fail on Node 20, with an error that does not name the version.
function moduleOrNull(): SqliteModule | null {
  return hasNodeSqlite() ? (process.getBuiltinModule('node:sqlite') as unknown as SqliteModule) : null
}
