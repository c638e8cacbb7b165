import { LruMap } from '../core/lru-map.js'
import { replaceSend } from './knex-internals.js'
import { replaceMethod } from './replace-method.js'

/** A statement of better-sqlite3 or of NodeSqliteClient. */
interface Statement {
  readonly busy: boolean
  safeIntegers(yes: boolean): unknown
}

/** The members of a better-sqlite3 connection that this file uses. */
export interface BetterSqliteConnection {
  prepare(sql: string): Statement
}

/** The members of Knex's client for better-sqlite3 that this file uses. */
export interface BetterSqliteClient {
  connectionSettings?: { options?: { safeIntegers?: boolean } }
}

const maxCached = 300

const isQuery = /^\s*(?:select|insert|update|delete|with)\b/i

/**
 * Caches prepared statements of better-sqlite3 and node:sqlite per connection, which saves two thirds of the time of a small statement. SQLite
 * prepares a statement again by itself after its table has changed. A statement is cached at its second use; a connection caches
 * at most the 300 that it used last. Statements that the application prepares itself are not cached.
 *
 * @returns `treat` enables the cache on a connection; `undo` stops caching
 */
export function cachePreparedStatements(client: BetterSqliteClient): { treat(connection: BetterSqliteConnection): void; undo(): void } {
  let isActive = true
  // Knex prepares the statement synchronously in this method, so a prepare() during this call is Knex's own.
  let isKnex = false
  const undoQuery = replaceSend(
    client,
    (send) =>
      function (connection, query) {
        isKnex = true
        try {
          return send.call(this, connection, query)
        } finally {
          isKnex = false
        }
      },
  )
  const usual = client.connectionSettings?.options?.safeIntegers === true
  const treat = (connection: BetterSqliteConnection) => {
    const cached = new LruMap<string, Statement | null>(maxCached)
    replaceMethod(
      connection,
      'prepare',
      (prepare) =>
        function (this: BetterSqliteConnection, sql) {
          if (!isKnex || !isActive || !isQuery.test(sql)) return prepare.call(this, sql)
          const known = cached.get(sql)
          if (known && !known.busy) {
            // Reset the option, which an earlier query may have changed on this statement.
            known.safeIntegers(usual)
            return known
          }
          const made = prepare.call(this, sql)
          if (!known) cached.set(sql, known === undefined ? null : made)
          return made
        },
    )
  }
  const undo = () => {
    isActive = false
    undoQuery()
  }
  return { treat, undo }
}
