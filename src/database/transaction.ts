import { AsyncLocalStorage } from 'node:async_hooks'
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { currentRuntime } from '../runtime.js'
import { dialectOf } from '../schema/storage.js'
import { mapDatabaseError, RetryableDatabaseError } from './database-errors.js'

interface Ambient {
  readonly trx: Knex.Transaction
  /** The Knex instance that the transaction was begun on: another database's queries do not join. */
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
 * The transaction that a query on `knex` joins by itself, or `knex` where there is none. What still runs after a rollback gets
 * that transaction too, which refuses: it was part of what was undone.
 */
export function joinAmbient(knex: Knex): Knex {
  if (isTransaction(knex)) return knex
  const ambient = storage.getStore()
  return ambient && ambient.root === knex ? (notCommitted(ambient.trx) ?? knex) : knex
}

const failed = new WeakSet<object>()

function enter<T>(trx: Knex.Transaction, root: Knex, fn: () => Promise<T>): Promise<T> {
  // Knex goes on where BEGIN has failed: there is nothing to be in.
  if (trx.isCompleted()) return trx.executionPromise as Promise<never>
  const fail = () => void failed.add(trx)
  trx.executionPromise.catch(fail)
  return storage.run({ trx, root }, () => {
    const result = fn()
    result.catch(fail)
    return result
  })
}

// After a savepoint that was released the transaction around it goes on; after a commit there is none.
function notCommitted(trx: Knex.Transaction): Knex.Transaction | undefined {
  let open: Knex.Transaction | undefined = trx
  while (open?.isCompleted() && !failed.has(open)) open = open.parentTransaction
  return open
}

/** The Knex instance behind a transaction that queries join by themselves; any other instance is its own. */
export function rootOf(knex: Knex): Knex {
  const ambient = storage.getStore()
  return ambient?.trx === knex ? ambient.root : knex
}

/** Whether the code that runs now is inside `transaction()`. */
export function inTransaction(knex: Knex | null = registeredKnex()): boolean {
  return knex !== null && joinAmbient(knex) !== knex
}

/** Runs fn outside the ambient transaction: what it writes stays although that is rolled back. */
export function outsideTransaction<T>(fn: () => Promise<T>): Promise<T> {
  return storage.run(null, fn)
}

/** Runs fn so that queries join a transaction that somebody else began and ends. */
export function withTransaction<T>(trx: Knex.Transaction, root: Knex, fn: () => Promise<T>): Promise<T> {
  return enter(trx, root, fn)
}

const undoings = new WeakMap<object, (() => void)[]>()

/**
 * Has `undo` run where the transaction that a write joins is rolled back, so that rows in memory do not say what the
 * database does not. Nothing happens outside a transaction.
 *
 * @param trx the transaction given to the write, if any; else the ambient one
 */
export function onRollback(trx: unknown, undo: () => void): void {
  const ambient = storage.getStore()?.trx
  const joined = isTransaction(trx) ? trx : trx === undefined && ambient?.isCompleted() === false ? ambient : null
  if (!joined) return
  let undos = undoings.get(joined)
  if (!undos) {
    undos = []
    undoings.set(joined, undos)
    // A COMMIT that failed is no call of rollback(), and a rollback without a reason is no rejection.
    joined.executionPromise.catch(() => runUndos(joined))
    // Knex itself calls this where a transaction's function throws.
    const { rollback } = joined
    joined.rollback = ((error?: unknown) => {
      runUndos(joined)
      return rollback.call(joined, error)
    }) as typeof rollback
  }
  undos.push(undo)
}

function runUndos(trx: object): void {
  for (const undo of undoings.get(trx)?.splice(0).reverse() ?? []) undo()
}

/**
 * Runs `then` once what a write has done is committed, with all transactions around it; never where one of them is rolled
 * back; at once outside a transaction. It must not throw.
 *
 * @param trx the transaction given to the write, if any; else the ambient one
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
  // What comes of it belongs to no transaction that may be open around.
  committed(joined).then(
    () => storage.run(null, then),
    () => {},
  )
}

export interface TransactionOptions {
  /** Another Knex instance than the one given to initPerms. */
  knex?: Knex | undefined
  /** How often a deadlock or a serialization failure is tried again; 3 when not said, 0 for never. */
  retries?: number | undefined
  isolationLevel?: Knex.IsolationLevels | undefined
  /** Whether an error is worth a further try; given by the error mapper. */
  isRetryable?: ((error: unknown) => boolean) | undefined
}

/**
 * Runs fn in a transaction that every query inside joins by itself. Inside another one it is a savepoint.
 * fn may run again after a deadlock: what it does besides the database should bear that.
 *
 * @param fn what to do; its result is awaited inside
 * @returns what fn returned, once committed
 * @throws what fn threw, once rolled back; or, where fn caught it, the error at which the database undid it all: a deadlock on
 * MariaDB, any error on PostgreSQL. To go on after an error, put a transaction() around what may fail.
 * @example
 * await transaction(async () => {
 *   const user = await User.create({ email, password })
 *   await UserRole.create({ user, role: Role.USER })
 * })
 */
export async function transaction<T>(fn: (trx: Knex.Transaction) => Promise<T> | T, options: TransactionOptions = {}): Promise<T> {
  const root = options.knex ?? registeredKnex()
  if (!root) throw new ConfigurationError('transaction(): there is no database yet; call initPerms({ knex, ... }) first.')
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
      // What a savepoint wrote goes with the transaction around it.
      if (isNested && begun) for (const undo of undoings.get(begun) ?? []) onRollback(base, undo)
      return result
    } catch (error) {
      throw isCommitting ? mapDatabaseError(error, dialectOf(root)) : error
    }
  }
  if (isNested) return await attempt()
  return await tryAgain(attempt, (error) => isRetryable(error, options), options.retries)
}

const mostRetries = 3

async function tryAgain<T>(
  attempt: () => Promise<T>,
  isWorthIt: (error: unknown) => boolean,
  retries = mostRetries,
  failed = 0,
): Promise<T> {
  for (let failures = failed; ; failures += 1) {
    try {
      return await attempt()
    } catch (error) {
      if (failures >= retries || !isWorthIt(error)) throw error
      await pause(failures)
    }
  }
}

const undoneCodes = new Set(['40001', '40P01', 'ER_LOCK_DEADLOCK', 'ER_CHECKREAD'])

function isUndone(error: unknown): boolean {
  return undoneCodes.has((error as { code?: string } | null | undefined)?.code ?? '')
}

/**
 * Sends one statement again, three times at most, after it fell to a deadlock or a serialization failure: outside a transaction the
 * database has undone all that it did.
 *
 * @param error what the driver said of the first time
 * @param send sends the statement, and does nothing else; not in a transaction
 * @throws the driver's error, where it is another one or there is no end to it
 */
export async function sendAgain<T>(error: unknown, send: () => PromiseLike<T>): Promise<T> {
  if (!isUndone(error)) throw error
  await pause(0)
  return await tryAgain(async () => await send(), isUndone, mostRetries, 1)
}

// Of statements that went past the models: PostgreSQL's deadlock, serialization failure and lock timeout, a statement name
// that a changed table made stale (which only the whole transaction can be tried again for), and the same of the others.
const retryableCodes = new Set([
  ...['40001', '40P01', '55P03', '0A000', '26000', '42P05'],
  ...['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT', 'SQLITE_BUSY', 'SQLITE_BUSY_SNAPSHOT'],
])

function isRetryable(error: unknown, options: TransactionOptions): boolean {
  if (options.isRetryable?.(error) || error instanceof RetryableDatabaseError) return true
  for (let e = error; typeof e === 'object' && e !== null; ) {
    const { code, nativeError, cause } = e as { code?: unknown; nativeError?: unknown; cause?: unknown }
    if (typeof code === 'string' && retryableCodes.has(code)) return true
    e = nativeError ?? cause
  }
  return false
}

// Two that collided must not collide again: a random pause, longer each time (milliseconds).
function pause(attempt: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.random() * 20 * 2 ** attempt))
}

/** Whether this is a transaction rather than an instance, or nothing. */
export function isTransaction(knex: unknown): knex is Knex.Transaction {
  return (knex as { isTransaction?: boolean } | null | undefined)?.isTransaction === true
}
