import { isPromise } from '../core/maybe-async.js'
import type { Dialect } from '../schema/storage.js'
import { mapDatabaseError, nativeOf, RetryableDatabaseError } from './errors/database-errors.js'
import { type FailingClient, redactErrorsOf } from './errors/redacted-errors.js'
import { type DriverQuery as Query, sendOn } from './knex-internals.js'
import { replaceMethod } from './replace-method.js'
import { type Nested, runInside, Savepoints } from './savepoints.js'

/** The members of a Knex client that this file uses. The client belongs to an instance or to a transaction. */
export interface TransactingClient {
  transaction(container: Container, ...args: unknown[]): KnexTransaction
  query(connection: object, query: Query | string): Promise<Query>
}

type Container = (transactor: unknown) => unknown

/** The members of Knex's Transaction that this file uses. */
interface KnexTransaction extends Nested {
  readonly outerTx: KnexTransaction | null
  readonly trxClient: TransactingClient & FailingClient
  begin(connection: object): unknown
  savepoint(connection: object): unknown
  rollback(connection: object, error: unknown): Promise<unknown>
  rollbackTo(connection: object, error: unknown): Promise<unknown>
  /** Sends BEGIN or SAVEPOINT; with a status, the statement that ends the transaction. Never rejects. */
  query(connection: object, sql: string, status?: number, value?: unknown): Promise<unknown>
  isCompleted(): boolean
}

/** Knex's status for COMMIT and RELEASE. */
const committed = 1

/**
 * Makes transactions of a Knex client refuse statements after the database has ended them. MariaDB rolls back at a deadlock, and
 * SQLite at a full disk or `ON CONFLICT ROLLBACK`; both then run further statements outside of any transaction. PostgreSQL answers
 * the COMMIT of a failed transaction as if it had succeeded. Code that catches the error and continues would save only a part of
 * its changes. So every later statement, COMMIT included, fails with the first error.
 *
 * @returns a function that stops this for new transactions
 */
export function rejectAfterRollback(client: TransactingClient, dialect: Dialect): () => void {
  const states = new WeakMap<KnexTransaction, TransactionState>()

  const watchTransactionsOf = (watchedClient: TransactingClient): (() => void) => {
    const watched = (make: TransactingClient['transaction']): TransactingClient['transaction'] =>
      function (this: TransactingClient, container, ...args) {
        // Knex calls the container later, when `trx` is set.
        const trx: KnexTransaction = make.call(this, (transactor: unknown) => enter(trx, container, transactor), ...args)
        const state = (trx.outerTx && states.get(trx.outerTx)) ?? new TransactionState(dialect)
        states.set(trx, state)
        const savepoint = trx.outerTx ? state.savepoints.add(trx) : undefined
        endInOrder(trx, state.savepoints, () => savepoint?.end())
        // Knex creates the client of the transaction right before it calls one of these two methods.
        const { begin, savepoint: makeSavepoint } = trx
        const watch = () => {
          watchTransactionsOf(trx.trxClient)
          // Listeners of the transaction run before those of the instance.
          redactErrorsOf(trx.trxClient)
          state.watch(trx)
        }
        trx.begin = (connection) => {
          watch()
          return begin.call(trx, connection)
        }
        trx.savepoint = (connection) => {
          watch()
          if (savepoint) savepoint.isOpen = true
          return makeSavepoint.call(trx, connection)
        }
        return trx

        function enter(own: KnexTransaction, fn: Container, transactor: unknown): unknown {
          if (!savepoint) return fn(transactor)
          return runInside(own, () => {
            const result = fn(transactor)
            // Without a promise the application ends the savepoint itself, and it is unknown which code belongs to it.
            if (!isPromise(result)) savepoint.end()
            return result
          })
        }
      }
    return replaceMethod(watchedClient, 'transaction', watched)
  }
  return watchTransactionsOf(client)
}

/** Makes COMMIT and RELEASE wait for the savepoints inside. Calls `ended` when the transaction or savepoint has ended. */
function endInOrder(trx: KnexTransaction, savepoints: Savepoints, ended: () => void): void {
  const { query } = trx
  trx.query = async (connection, sql, status, value) => {
    const send = () => query.call(trx, connection, sql, status, value)
    const undo = (error: unknown) => (trx.outerTx ? trx.rollbackTo(connection, error) : trx.rollback(connection, error))
    const waiting = status === committed ? savepoints.beforeEnd(trx) : undefined
    const answer = await (waiting ? waiting.then(send, undo) : send())
    if (trx.isCompleted()) ended()
    return answer
  }
}

const thrownErrors = new WeakMap<object, unknown>()

/** Records the error that the caller got for a driver's error. A transaction that ended with it throws the same error again. */
export function recordThrownError(error: unknown, thrown: unknown): void {
  const native = nativeOf(error)
  if (typeof native === 'object' && native !== null && native !== thrown) thrownErrors.set(native, thrown)
}

/** The state of a transaction and its savepoints. */
class TransactionState {
  readonly #dialect: Dialect
  /** The error after which the database has rolled the transaction back, or on PostgreSQL refuses all statements. */
  #fatal: { readonly error: object } | undefined
  #last: Promise<unknown> = Promise.resolve()
  readonly savepoints = new Savepoints()

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  watch(trx: KnexTransaction): void {
    const client = trx.trxClient
    const { query } = client
    // Call the method below Knex's own check: that check runs when a statement is queued, not when it is sent.
    const { query: send } = Object.getPrototypeOf(client) as TransactingClient
    client.query = (connection, given) => {
      if (trx.isCompleted()) return query.call(client, connection, given)
      const waiting = isRollback(given) ? undefined : this.savepoints.beforeStatement(trx)
      if (waiting) return waiting.then(() => client.query(connection, given))
      // One at a time: statements that are queued together with a failing one must not be sent before it fails.
      const sent = this.#last.then(() => this.#send(client, connection, given, (it) => send.call(client, connection, it)))
      this.#last = sent.catch(() => {})
      return sent
    }
  }

  async #send(client: TransactingClient, connection: object, given: Query | string, send: Send): Promise<Query> {
    const sql = typeof given === 'string' ? given : given.sql
    const step = stepOf(sql)
    if (this.#fatal && this.#dialect !== 'pg') {
      if (step === 'ROLLBACK') return await send(given)
      // The database has removed the savepoint with the transaction.
      if (step === 'ROLLBACK TO') return { sql, bindings: [], method: 'raw' }
      // A trigger may have raised an error with the same code. Then the transaction is still open.
      if (step === 'COMMIT') await send('ROLLBACK')
      throw this.#errorFor(this.#fatal.error)
    }
    let answer: Query
    try {
      answer = await send(given)
    } catch (error) {
      // On SQLite the transaction may still be open after a failed COMMIT. The next user of the connection would be inside it.
      if (step === 'COMMIT') await send('ROLLBACK').catch(() => {})
      if (step === 'BEGIN' || step === 'COMMIT' || step === 'ROLLBACK') throw error
      if (this.#dialect === 'pg') throw await this.#postgresError(error, sql, send)
      if (await isEnded(error, this.#dialect, (query) => sendOn(client, connection, query))) this.#fatal = { error: error as object }
      throw error
    }
    if (this.#dialect !== 'pg' || !this.#fatal) return answer
    if (step === 'ROLLBACK TO') this.#fatal = undefined
    else if (step === 'COMMIT' && (answer.response as { command?: string } | undefined)?.command === 'ROLLBACK')
      throw this.#errorFor(this.#fatal.error)
    return answer
  }

  #errorFor(error: object): unknown {
    return thrownErrors.get(error) ?? mapDatabaseError(error, this.#dialect)
  }

  /**
   * Returns the error to throw. After a first error PostgreSQL answers every statement with 25P02, which hides whether a retry helps.
   * So this returns the first error instead, if it is retryable or the statement releases a savepoint.
   */
  async #postgresError(error: unknown, sql: string, send: Send): Promise<unknown> {
    const { code } = error as { code?: unknown }
    if (code !== '25P02' || !this.#fatal) {
      if (typeof code === 'string' && sqlState.test(code)) this.#fatal ??= { error: error as object }
      return error
    }
    const first = this.#errorFor(this.#fatal.error)
    const savepoint = /^RELEASE SAVEPOINT (\w+)/.exec(sql)?.[1]
    if (savepoint === undefined) return first instanceof RetryableDatabaseError ? first : error
    // Code outside the savepoint may catch the error and continue, as after any other error inside.
    await send(`ROLLBACK TO SAVEPOINT ${savepoint}`)
    this.#fatal = undefined
    return first
  }
}

type Send = (query: Query | string) => Promise<Query>

const sqlState = /^[0-9A-Z]{5}$/

// ROLLBACK of the whole transaction does not wait for its savepoints.
function isRollback(given: Query | string): boolean {
  return typeof given === 'string' && given.startsWith('ROLLBACK')
}

function stepOf(sql: string): string | undefined {
  return /^(?:BEGIN|COMMIT|ROLLBACK TO|ROLLBACK)\b/.exec(sql)?.[0]
}

/** MariaDB: a deadlock, a row newer than the transaction (innodb_snapshot_isolation), the lock table is full. */
const fatalErrors = new Set([1213, 1020, 1206])
const lockWaitTimeout = 1205

/** Returns whether MariaDB or SQLite has ended the transaction. */
async function isEnded(error: unknown, dialect: Dialect, run: (query: Query) => Promise<Query>): Promise<boolean> {
  const query = (sql: string): Query => ({ sql, bindings: [], method: 'raw' })
  if (dialect === 'mysql') {
    const { errno } = error as { errno?: number }
    if (errno !== lockWaitTimeout) return errno !== undefined && fatalErrors.has(errno)
    // A lock wait timeout rolls back only the statement, unless innodb_rollback_on_timeout is set.
    const { response } = await run(query('select @@innodb_rollback_on_timeout as ends'))
    return Boolean((response as [{ ends: number }[]])[0][0]?.ends)
  }
  // BEGIN fails while the transaction is open. If it succeeds, Knex rolls back the new transaction instead of the ended one.
  return await run(query('BEGIN')).then(
    () => true,
    () => false,
  )
}
