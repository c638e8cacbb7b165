import type { Knex } from 'knex'
import { type Dialect, dialectOf } from '../schema/storage.js'
import { refuseAfterEnd, type TransactingClient } from './ended-transactions.js'
import { type BetterSqliteClient, type BetterSqliteConnection, keepStatements } from './kept-statements.js'
import { nameStatements, type PgConnection } from './named-statements.js'
import { readDatesAndDatetimes, type TypedConnection } from './pg-values.js'
import { type FailingClient, redactErrorsOf, redactTimeouts } from './redacted-errors.js'
import { replaceMethod } from './replace-method.js'

export interface ConnectionOptions {
  /**
   * Whether PostgreSQL statements are prepared with a name, once per connection; true when not said. Switch it off
   * behind a pooler that hands each transaction another server connection and cannot follow named statements.
   */
  namedStatements?: boolean | undefined
}

/** What is used of a Knex client; `_query` sends one statement on one connection, without an event for it. */
interface KnexClient {
  readonly driverName?: string
  acquireConnection(): Promise<object>
  releaseConnection(connection: object): Promise<void>
  _query(connection: object, query: { sql: string; bindings: unknown[]; method: string }): Promise<{ response: unknown }>
}

const longestWaitForLock = 5000

/**
 * Sees to it that every connection of this Knex behaves as the library needs, each before its first use: foreign keys are
 * enforced on SQLite, and a locked file is waited for (5 s); MariaDB speaks UTC and keeps big numbers exact;
 * PostgreSQL prepares statements by name; a transaction that the database has ended takes no further statement; errors of
 * statements carry no bound values. Connections
 * that are in the pool already are treated too, and those of a pool of the application's own.
 *
 * @param knex the instance itself, not a transaction
 * @returns undoes it: connections made later are left alone, and naming stops
 * @throws ConfigurationError for a client that is not supported
 * @example const undo = prepareConnections(knex, { namedStatements: false })
 */
export function prepareConnections(knex: Knex, options: ConnectionOptions = {}): () => void {
  const dialect = dialectOf(knex)
  const client = knex.client as KnexClient
  const state = { isActive: true }
  const ready = new WeakSet<object>()
  const naming = dialect === 'pg' && options.namedStatements !== false ? nameStatements(() => state.isActive) : null
  const keeping = client.driverName === 'better-sqlite3' ? keepStatements(client as BetterSqliteClient) : null
  const undoRefusing = refuseAfterEnd(knex.client as TransactingClient, dialect)
  const undoRedacting = redactErrorsOf(knex.client as FailingClient)
  redactTimeouts()

  // Every query and every transaction takes its connection here, whatever pool it comes from.
  const undoAcquiring = replaceMethod(
    client,
    'acquireConnection',
    (acquire) =>
      function (this: KnexClient): Promise<object> {
        return acquire.call(this).then((connection) => (ready.has(connection) ? connection : makeReady(this, connection)))
      },
  )

  async function makeReady(on: KnexClient, connection: object): Promise<object> {
    try {
      await prepare(on, connection, dialect)
    } catch (error) {
      // Not to be handed out again half prepared: Knex throws a connection so marked away.
      Object.assign(connection, { __knex__disposed: error })
      await on.releaseConnection(connection)
      throw error
    }
    naming?.(connection as PgConnection)
    keeping?.treat(connection as BetterSqliteConnection)
    ready.add(connection)
    return connection
  }

  return () => {
    state.isActive = false
    keeping?.undo()
    undoRefusing()
    undoRedacting()
    undoAcquiring()
  }
}

async function prepare(client: KnexClient, connection: object, dialect: Dialect): Promise<void> {
  const run = async (sql: string) => (await client._query(connection, { sql, bindings: [], method: 'raw' })).response
  if (dialect === 'sqlite') {
    // The sqlite3 driver runs what was sent at once in any order: a savepoint after the rollback of the transaction around it
    // would begin a transaction that nobody ends.
    if (client.driverName === 'sqlite3') (connection as { serialize(): void }).serialize()
    await run('PRAGMA foreign_keys = ON')
    const [row] = (await run('PRAGMA busy_timeout')) as { timeout?: number }[]
    if (!((row?.timeout ?? 0) >= longestWaitForLock)) await run(`PRAGMA busy_timeout = ${longestWaitForLock}`)
  } else if (dialect === 'mysql') {
    // Both halves: how the driver reads and writes a Date, and what NOW() and TIMESTAMP columns mean.
    Object.assign((connection as { config: object }).config, { timezone: 'Z', supportBigNumbers: true })
    await run("SET time_zone = '+00:00'")
  } else {
    readDatesAndDatetimes(connection as TypedConnection)
  }
}
