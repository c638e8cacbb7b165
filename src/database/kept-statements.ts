import { replaceMethod } from './replace-method.js'

/** A statement of better-sqlite3. */
interface Statement {
  readonly busy: boolean
  safeIntegers(yes: boolean): unknown
}

/** What is used of a connection of better-sqlite3. */
export interface BetterSqliteConnection {
  prepare(sql: string): Statement
}

/** What is used of Knex's client for it. */
export interface BetterSqliteClient {
  _query(connection: object, query: object): Promise<unknown>
  connectionSettings?: { options?: { safeIntegers?: boolean } }
}

const mostKept = 300

const isQuery = /^\s*(?:select|insert|update|delete|with)\b/i

/**
 * Has better-sqlite3 prepare a statement once per connection and then only execute it, which is a third of the cost of a small
 * one: what names are to PostgreSQL. SQLite itself prepares anew what a changed table has spoiled. A text is kept when it
 * comes the second time, at most 300 a connection; what the application prepares by hand is left alone.
 *
 * @returns `treat` a connection; `undo` it all
 */
export function keepStatements(client: BetterSqliteClient): { treat(connection: BetterSqliteConnection): void; undo(): void } {
  let isActive = true
  // Knex prepares before anything that it waits for: whatever is prepared meanwhile is Knex's.
  let isKnex = false
  const undoQuery = replaceMethod(
    client,
    '_query',
    (query) =>
      function (this: BetterSqliteClient, connection, given) {
        isKnex = true
        try {
          return query.call(this, connection, given)
        } finally {
          isKnex = false
        }
      },
  )
  const usual = client.connectionSettings?.options?.safeIntegers === true
  const treat = (connection: BetterSqliteConnection) => {
    const kept = new Map<string, Statement | null>()
    replaceMethod(
      connection,
      'prepare',
      (prepare) =>
        function (this: BetterSqliteConnection, sql) {
          if (!isKnex || !isActive || !isQuery.test(sql)) return prepare.call(this, sql)
          const known = kept.get(sql)
          if (known && !known.busy) {
            // An option of one query sticks to the statement.
            known.safeIntegers(usual)
            return known
          }
          const made = prepare.call(this, sql)
          if (known === undefined && kept.size >= mostKept) kept.clear()
          if (!known) kept.set(sql, known === undefined ? null : made)
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
