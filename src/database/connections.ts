import type { Knex } from 'knex'
import { type Dialect, dialectOf } from '../schema/storage.js'
import { noteClusterNode } from './cluster-lock.js'
import { type FailingClient, redactErrorsOf, redactTimeouts } from './errors/redacted-errors.js'
import { markDisposed, sendOn } from './knex-internals.js'
import { nameStatements, type PgConnection } from './named-statements.js'
import { keepNumberedTexts } from './numbered-placeholders.js'
import { readDatesAndDatetimes } from './pg-values.js'
import { type BetterSqliteClient, type BetterSqliteConnection, cachePreparedStatements } from './prepared-statements.js'
import { replaceMethod } from './replace-method.js'
import { rejectAfterRollback, type TransactingClient } from './transaction-state.js'

export interface ConnectionOptions {
  /**
   * Whether PostgreSQL statements are prepared with a name, once per connection. Set it to false behind a pooler that gives each
   * transaction another server connection and does not support named statements.
   *
   * @defaultValue true
   */
  namedStatements?: boolean | undefined
}

/** The members of a Knex client that this file uses. */
interface KnexClient {
  readonly config?: object
  readonly driverName?: string
  acquireConnection(): Promise<object>
  positionBindings(sql: string): string
  releaseConnection(connection: object): Promise<void>
}

const longestWaitForLock = 5000

/**
 * Configures each connection of a Knex instance before its first use, including connections that are already in the pool:
 *
 * - SQLite enforces foreign keys and waits 5 seconds for a locked file.
 * - MariaDB uses UTC and returns big numbers exactly.
 * - PostgreSQL prepares statements by name.
 * - A transaction that the database has ended refuses further statements.
 * - Errors of statements contain no bound values.
 *
 * @param knex an instance, not a transaction
 * @returns a function that stops this for new connections and stops naming statements
 * @throws ConfigurationError for a Knex client that is not supported
 * @example const undo = prepareConnections(knex, { namedStatements: false })
 */
export function prepareConnections(knex: Knex, options: ConnectionOptions = {}): () => void {
  const dialect = dialectOf(knex)
  const client = knex.client as KnexClient
  const state = { isActive: true }
  const ready = new WeakSet<object>()
  const naming = dialect === 'pg' && options.namedStatements !== false ? nameStatements(() => state.isActive) : null
  const undoNumbering = dialect === 'pg' ? keepNumberedTexts(client) : null
  const prepares = client.driverName === 'better-sqlite3' || client.driverName === 'node-sqlite'
  const keeping = prepares ? cachePreparedStatements(client as BetterSqliteClient) : null
  const undoRejecting = rejectAfterRollback(knex.client as TransactingClient, dialect)
  const undoRedacting = redactErrorsOf(knex.client as FailingClient)
  redactTimeouts()

  // All queries and transactions get their connection here, also from a custom pool.
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
      // The connection is half configured.
      markDisposed(connection, error)
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
    undoNumbering?.()
    undoRejecting()
    undoRedacting()
    undoAcquiring()
  }
}

async function prepare(client: KnexClient, connection: object, dialect: Dialect): Promise<void> {
  const run = async (sql: string) => (await sendOn(client, connection, { sql, bindings: [], method: 'raw' })).response
  if (dialect === 'sqlite') {
    // The sqlite3 driver may reorder statements that are sent together. A savepoint after the ROLLBACK of its transaction would
    // begin a transaction that never ends.
    if (client.driverName === 'sqlite3') (connection as { serialize(): void }).serialize()
    await run('PRAGMA foreign_keys = ON')
    const [row] = (await run('PRAGMA busy_timeout')) as { timeout?: number }[]
    if (!((row?.timeout ?? 0) >= longestWaitForLock)) await run(`PRAGMA busy_timeout = ${longestWaitForLock}`)
  } else if (dialect === 'mysql') {
    // The driver needs UTC for Date values, and the session for NOW() and TIMESTAMP columns.
    Object.assign((connection as { config: object }).config, { timezone: 'Z', supportBigNumbers: true })
    await run("SET time_zone = '+00:00'")
    const [[galera]] = (await run("SHOW VARIABLES LIKE 'wsrep_on'")) as [{ Value?: string }[]]
    noteClusterNode(client, galera?.Value === 'ON')
  } else {
    readDatesAndDatetimes(connection)
  }
}
