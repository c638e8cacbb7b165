import { isPromise } from '../core/maybe-async.js'
import type { Dialect } from '../schema/storage.js'
import { mapDatabaseError, nativeOf, RetryableDatabaseError } from './database-errors.js'
import { type FailingClient, redactErrorsOf } from './redacted-errors.js'
import { replaceMethod } from './replace-method.js'
import { type Nested, runInside, Savepoints } from './savepoints.js'

interface Query {
  readonly sql: string
  readonly bindings: readonly unknown[]
  readonly method: 'raw'
  readonly response?: unknown
}

/** What is used of a Knex client, that of an instance or that of a transaction. */
export interface TransactingClient {
  transaction(container: Container, ...args: unknown[]): KnexTransaction
  query(connection: object, query: Query | string): Promise<Query>
  _query(connection: object, query: Query): Promise<Query>
}

type Container = (transactor: unknown) => unknown

/** What is used of Knex's Transaction. */
interface KnexTransaction extends Nested {
  readonly outerTx: KnexTransaction | null
  readonly trxClient: TransactingClient
  begin(connection: object): unknown
  savepoint(connection: object): unknown
  rollback(connection: object, error: unknown): Promise<unknown>
  rollbackTo(connection: object, error: unknown): Promise<unknown>
  /** Sends BEGIN, SAVEPOINT, or with a status what ends it. Never rejects. */
  query(connection: object, sql: string, status?: number, value?: unknown): Promise<unknown>
  isCompleted(): boolean
}

/** Knex's status for COMMIT and RELEASE. */
const keeping = 1

/**
 * Has every transaction of a Knex client end where the database has ended it. MariaDB undoes all of it at a deadlock, SQLite
 * at a full disk or `ON CONFLICT ROLLBACK`, and then take each further statement as one outside of any transaction; PostgreSQL
 * answers the COMMIT of a transaction that failed as if all were well. Who caught the error and went on would keep a half: what
 * comes after it is refused, the COMMIT too, with the same error.
 *
 * @returns undoes it for transactions begun later
 */
export function refuseAfterEnd(client: TransactingClient, dialect: Dialect): () => void {
  const courses = new WeakMap<KnexTransaction, TransactionState>()

  const watchTransactionsOf = (one: TransactingClient): (() => void) => {
    const watched = (make: TransactingClient['transaction']): TransactingClient['transaction'] =>
      function (this: TransactingClient, container, ...args) {
        // Knex calls it later.
        const trx: KnexTransaction = make.call(this, (transactor: unknown) => enter(trx, container, transactor), ...args)
        const course = (trx.outerTx && courses.get(trx.outerTx)) ?? new TransactionState(dialect)
        courses.set(trx, course)
        const savepoint = trx.outerTx ? course.savepoints.add(trx) : undefined
        endInOrder(trx, course.savepoints, () => savepoint?.end())
        // Knex makes the transaction's client right before its first statement, which is one of these.
        const { begin, savepoint: makeSavepoint } = trx
        const watch = () => {
          watchTransactionsOf(trx.trxClient)
          // Listeners of the transaction hear of an error before those of the instance.
          redactErrorsOf(trx.trxClient as unknown as FailingClient)
          course.watch(trx)
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
            // Without a promise the application ends the savepoint by hand, and which code belongs to it is not known.
            if (!isPromise(result)) savepoint.end()
            return result
          })
        }
      }
    return replaceMethod(one, 'transaction', watched)
  }
  return watchTransactionsOf(client)
}

/** Has COMMIT and RELEASE wait for the savepoints inside, and calls `ended` once the transaction or savepoint is over. */
function endInOrder(trx: KnexTransaction, savepoints: Savepoints, ended: () => void): void {
  const { query } = trx
  trx.query = async (connection, sql, status, value) => {
    const send = () => query.call(trx, connection, sql, status, value)
    const undo = (error: unknown) => (trx.outerTx ? trx.rollbackTo(connection, error) : trx.rollback(connection, error))
    const waiting = status === keeping ? savepoints.beforeEnd(trx) : undefined
    const answer = await (waiting ? waiting.then(send, undo) : send())
    if (trx.isCompleted()) ended()
    return answer
  }
}

const answers = new WeakMap<object, unknown>()

/** Remembers what the caller was told of a driver's error: a transaction that ended at it says the same. */
export function noteAnswer(error: unknown, answer: unknown): void {
  const native = nativeOf(error)
  if (typeof native === 'object' && native !== null && native !== answer) answers.set(native, answer)
}

/** What is known of one transaction, its savepoints included. */
class TransactionState {
  readonly #dialect: Dialect
  /** For which error the database has undone it all, or on PostgreSQL refuses all. */
  #end: { readonly error: object } | undefined
  #last: Promise<unknown> = Promise.resolve()
  readonly savepoints = new Savepoints()

  constructor(dialect: Dialect) {
    this.#dialect = dialect
  }

  watch(trx: KnexTransaction): void {
    const client = trx.trxClient
    const { query } = client
    // Underneath Knex's check of whether the transaction is over, which looks at when a statement is given, not at when it is sent.
    const { query: send } = Object.getPrototypeOf(client) as TransactingClient
    client.query = (connection, given) => {
      if (trx.isCompleted()) return query.call(client, connection, given)
      const waiting = isRollback(given) ? undefined : this.savepoints.beforeStatement(trx)
      if (waiting) return waiting.then(() => client.query(connection, given))
      // In a row, as on the wire: what was given at once with a statement that fails must not be on its way by then.
      const sent = this.#last.then(() => this.#send(client, connection, given, (it) => send.call(client, connection, it)))
      this.#last = sent.catch(() => {})
      return sent
    }
  }

  async #send(client: TransactingClient, connection: object, given: Query | string, send: Send): Promise<Query> {
    const sql = typeof given === 'string' ? given : given.sql
    const step = stepOf(sql)
    if (this.#end && this.#dialect !== 'pg') {
      if (step === 'ROLLBACK') return await send(given)
      // The savepoint is gone with the rest.
      if (step === 'ROLLBACK TO') return { sql, bindings: [], method: 'raw' }
      // An error of that name may have come from elsewhere, a trigger for example: then there is something to undo.
      if (step === 'COMMIT') await send('ROLLBACK')
      throw this.#answerTo(this.#end.error)
    }
    let answer: Query
    try {
      answer = await send(given)
    } catch (error) {
      // What could not be committed may be open still, on SQLite: the next user of the connection would be inside.
      if (step === 'COMMIT') await send('ROLLBACK').catch(() => {})
      if (step === 'BEGIN' || step === 'COMMIT' || step === 'ROLLBACK') throw error
      if (this.#dialect === 'pg') throw await this.#refusalOfPostgres(error, sql, send)
      if (await isEnded(error, this.#dialect, (query) => client._query(connection, query))) this.#end = { error: error as object }
      throw error
    }
    if (this.#dialect !== 'pg' || !this.#end) return answer
    if (step === 'ROLLBACK TO') this.#end = undefined
    else if (step === 'COMMIT' && (answer.response as { command?: string } | undefined)?.command === 'ROLLBACK')
      throw this.#answerTo(this.#end.error)
    return answer
  }

  #answerTo(error: object): unknown {
    return answers.get(error) ?? mapDatabaseError(error, this.#dialect)
  }

  /** PostgreSQL refuses by itself what comes after an error, and says no more of it: whether it was worth another try, say. */
  async #refusalOfPostgres(error: unknown, sql: string, send: Send): Promise<unknown> {
    const { code } = error as { code?: unknown }
    if (code !== '25P02' || !this.#end) {
      if (typeof code === 'string' && sqlState.test(code)) this.#end ??= { error: error as object }
      return error
    }
    const first = this.#answerTo(this.#end.error)
    const savepoint = /^RELEASE SAVEPOINT (\w+)/.exec(sql)?.[1]
    if (savepoint === undefined) return first instanceof RetryableDatabaseError ? first : error
    // Who catches it outside of the savepoint goes on, as after any other error inside.
    await send(`ROLLBACK TO SAVEPOINT ${savepoint}`)
    this.#end = undefined
    return first
  }
}

type Send = (query: Query | string) => Promise<Query>

const sqlState = /^[0-9A-Z]{5}$/

// What is undone as a whole does not wait for a part of it.
function isRollback(given: Query | string): boolean {
  return typeof given === 'string' && given.startsWith('ROLLBACK')
}

function stepOf(sql: string): string | undefined {
  return /^(?:BEGIN|COMMIT|ROLLBACK TO|ROLLBACK)\b/.exec(sql)?.[0]
}

/** Deadlock, a row that is newer than the transaction (innodb_snapshot_isolation), no room for locks. */
const fatalErrors = new Set([1213, 1020, 1206])
const lockWaitTimeout = 1205

/** Returns whether the transaction has ended, on MariaDB and SQLite. */
async function isEnded(error: unknown, dialect: Dialect, ask: (query: Query) => Promise<Query>): Promise<boolean> {
  const query = (sql: string): Query => ({ sql, bindings: [], method: 'raw' })
  if (dialect === 'mysql') {
    const { errno } = error as { errno?: number }
    if (errno !== lockWaitTimeout) return errno !== undefined && fatalErrors.has(errno)
    // That undoes the statement alone, unless the server is told otherwise.
    const { response } = await ask(query('select @@innodb_rollback_on_timeout as ends'))
    return Boolean((response as [{ ends: number }[]])[0][0]?.ends)
  }
  // One inside another is refused. One that is not is for Knex to roll back, in place of the one that is gone.
  return await ask(query('BEGIN')).then(
    () => true,
    () => false,
  )
}
