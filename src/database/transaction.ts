import { AsyncLocalStorage } from 'node:async_hooks'
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { currentRuntime } from '../runtime.js'
import { dialectOf } from '../schema/storage.js'
import { type ClientWithConfig, isClusterNode } from './cluster-lock.js'
import { mapDatabaseError, RetryableDatabaseError } from './errors/database-errors.js'

interface Ambient {
  readonly trx: Knex.Transaction
  /** The Knex instance on which the transaction began. Queries of other instances do not join it. */
  readonly root: Knex
}

const storage = new AsyncLocalStorage<Ambient | null>()

/**
 * Returns the Knex instance of the current runtime, or null before initPerms.
 *
 * @throws NoRuntimeError when several runtimes are alive and the context names none
 */
export function registeredKnex(): Knex | null {
  return currentRuntime()?.knex ?? null
}

/**
 * Returns the transaction that a query on `knex` joins, or `knex` outside a transaction. Code that still runs after a rollback gets
 * the ended transaction, which refuses statements: they were meant to be part of it.
 */
export function joinAmbient(knex: Knex): Knex {
  if (isTransaction(knex)) return knex
  const ambient = storage.getStore()
  return ambient && ambient.root === knex ? (notCommitted(ambient.trx) ?? knex) : knex
}

const failed = new WeakSet<object>()

function enter<T>(trx: Knex.Transaction, root: Knex, fn: () => Promise<T>): Promise<T> {
  // Knex calls this even when BEGIN failed: return its rejected promise.
  if (trx.isCompleted()) return trx.executionPromise as Promise<never>
  const fail = () => void failed.add(trx)
  trx.executionPromise.catch(fail)
  return storage.run({ trx, root }, () => {
    const result = fn()
    result.catch(fail)
    return result
  })
}

// After a released savepoint, queries join the enclosing transaction. After a commit there is nothing to join.
function notCommitted(trx: Knex.Transaction): Knex.Transaction | undefined {
  let open: Knex.Transaction | undefined = trx
  while (open?.isCompleted() && !failed.has(open)) open = open.parentTransaction
  return open
}

/** Returns the Knex instance on which the current transaction began. Returns any other instance unchanged. */
export function rootOf(knex: Knex): Knex {
  const ambient = storage.getStore()
  return ambient?.trx === knex ? ambient.root : knex
}

/** Returns whether the running code is inside `transaction()`. */
export function inTransaction(knex: Knex | null = registeredKnex()): boolean {
  return knex !== null && joinAmbient(knex) !== knex
}

/** Runs fn outside the current transaction: its writes remain when that transaction is rolled back. */
export function outsideTransaction<T>(fn: () => Promise<T>): Promise<T> {
  return storage.run(null, fn)
}

/** Runs fn so that queries join a transaction that other code began and will end. */
export function withTransaction<T>(trx: Knex.Transaction, root: Knex, fn: () => Promise<T>): Promise<T> {
  return enter(trx, root, fn)
}

const undoings = new WeakMap<object, (() => void)[]>()

/**
 * Calls `undo` if the transaction of a write is rolled back, so that rows in memory match the database again. Does nothing
 * outside a transaction.
 *
 * @param trx the transaction passed to the write. Default: the current one.
 */
export function onRollback(trx: unknown, undo: () => void): void {
  const ambient = storage.getStore()?.trx
  const joined = isTransaction(trx) ? trx : trx === undefined && ambient?.isCompleted() === false ? ambient : null
  if (!joined) return
  let undos = undoings.get(joined)
  if (!undos) {
    undos = []
    undoings.set(joined, undos)
    // A failed COMMIT rejects without a call of rollback(). A rollback() without an error does not reject. So watch both.
    joined.executionPromise.catch(() => runUndos(joined))
    // Knex also calls rollback() when the function of a transaction throws.
    const { rollback } = joined
    joined.rollback = (error?: unknown) => {
      runUndos(joined)
      return rollback.call(joined, error)
    }
  }
  undos.push(undo)
}

function runUndos(trx: object): void {
  for (const undo of undoings.get(trx)?.splice(0).reverse() ?? []) undo()
}

/**
 * Calls `then` after a write and all enclosing transactions are committed; immediately outside a transaction. If one of them is
 * rolled back, `then` is not called. `then` must not throw.
 *
 * @param trx the transaction passed to the write. Default: the current one.
 */
export function onCommit(trx: unknown, then: () => void): void {
  const ambient = storage.getStore()?.trx
  const joined = isTransaction(trx) ? trx : ambient?.isCompleted() === false ? ambient : null
  if (!joined) {
    then()
    return
  }
  const committed = async ({ executionPromise, parentTransaction }: Knex.Transaction): Promise<void> => {
    await executionPromise
    if (parentTransaction) await committed(parentTransaction)
  }
  // Run outside any transaction that may be open here.
  committed(joined).then(
    () => storage.run(null, then),
    () => {},
  )
}

export interface TransactionOptions {
  /** The Knex instance. @defaultValue the instance passed to initPerms() */
  knex?: Knex | undefined
  /** How often fn runs again after a deadlock or a serialization failure. @defaultValue 3, and 10 in a Galera cluster */
  retries?: number | undefined
  /** The isolation level. A savepoint has the level of its transaction. @defaultValue the default of the database */
  isolationLevel?: Knex.IsolationLevels | undefined
}

/**
 * Runs fn in a transaction, which all queries inside join automatically. Inside another transaction() it is a savepoint.
 * fn may run again after a deadlock, so its effects outside the database must be safe to repeat.
 *
 * @param fn awaited inside the transaction
 * @returns the result of fn, after the commit
 * @throws the error of fn, after the rollback. If fn caught an error at which the database rolled back (a deadlock on MariaDB, any
 * error on PostgreSQL), that error. To continue after an error, wrap the statement that may fail in its own transaction().
 * @example
 * await transaction(async () => {
 *   const user = await User.create({ email, password })
 *   await UserRole.create({ user, role: Role.USER })
 * })
 */
export async function transaction<T>(fn: (trx: Knex.Transaction) => Promise<T> | T, options: TransactionOptions = {}): Promise<T> {
  const root = options.knex ?? registeredKnex()
  if (!root) throw new ConfigurationError('transaction(): there is no database yet. Call initPerms({ knex, ... }) first.')
  const base = joinAmbient(root)
  const isNested = base !== root || isTransaction(root)
  const attempt = async (): Promise<T> => {
    let begun: Knex.Transaction | undefined
    let isCommitting = false
    try {
      const result = await base.transaction(
        async (trx) => {
          begun = trx
          const value = await enter(trx, root, async () => await fn(trx))
          isCommitting = true
          return value
        },
        options.isolationLevel && !isNested ? { isolationLevel: options.isolationLevel } : undefined,
      )
      // A rollback of the enclosing transaction also undoes the writes of this savepoint.
      if (isNested && begun) for (const undo of undoings.get(begun) ?? []) onRollback(base, undo)
      return result
    } catch (error) {
      throw isCommitting ? mapDatabaseError(error, dialectOf(root)) : error
    }
  }
  if (isNested) return await attempt()
  return await retry(attempt, isRetryable, options.retries ?? retriesOn(root.client as ClientWithConfig))
}

// In a cluster, all transactions that wait for a row fail together when another node commits a change of it.
function retriesOn(client: ClientWithConfig): number {
  return isClusterNode(client) ? 10 : 3
}

async function retry<T>(attempt: () => Promise<T>, shouldRetry: (error: unknown) => boolean, retries: number, failed = 0): Promise<T> {
  for (let failures = failed; ; failures += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (failures >= retries || !shouldRetry(error)) throw error
      await pause(failures)
    }
  }
}

const undoneCodes = new Set(['40001', '40P01', 'ER_LOCK_DEADLOCK', 'ER_CHECKREAD'])

function isUndone(error: unknown): boolean {
  return undoneCodes.has((error as { code?: string } | null | undefined)?.code ?? '')
}

/**
 * Sends a statement again after a deadlock or a serialization failure, as often as `transaction()` does. Only for a statement outside a
 * transaction, which the database has then undone completely.
 *
 * @param client the client of the statement's Knex instance
 * @param error the driver's error of the first attempt
 * @param send sends the statement and has no other effect
 * @throws the driver's error, if it is another one or occurs again each time
 */
export async function retryStatement<T>(client: ClientWithConfig, error: unknown, send: () => PromiseLike<T>): Promise<T> {
  if (!isUndone(error)) throw error
  await pause(0)
  return await retry(async () => await send(), isUndone, retriesOn(client), 1)
}

// Codes of errors that the models did not map, since the statement was raw SQL: deadlock, serialization failure, lock timeout, and
// on PostgreSQL a statement name that a changed table made invalid.
const retryableCodes = new Set([
  ...['40001', '40P01', '55P03', '0A000', '26000', '42P05'],
  ...['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'],
])

function isRetryable(error: unknown): boolean {
  if (error instanceof RetryableDatabaseError) return true
  for (let e = error; typeof e === 'object' && e !== null; ) {
    const { code, nativeError, cause } = e as { code?: unknown; nativeError?: unknown; cause?: unknown }
    if (typeof code === 'string' && retryableCodes.has(code)) return true
    e = nativeError ?? cause
  }
  return false
}

const longestPause = 320

// Waits a random time (milliseconds), longer after each attempt, so that two transactions do not collide again.
function pause(attempt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * Math.min(20 * 2 ** attempt, longestPause)))
}

/** Returns whether a value is a transaction, and not a Knex instance or undefined. */
export function isTransaction(knex: unknown): knex is Knex.Transaction {
  return (knex as { isTransaction?: boolean } | null | undefined)?.isTransaction === true
}
