import { AsyncLocalStorage } from 'node:async_hooks'
import { ConfigurationError } from '../core/errors.js'

/** The members of Knex's Transaction that this file uses. A transaction with an `outerTx` is a savepoint. */
export interface Nested {
  readonly outerTx: Nested | null
}

/** The savepoints that enclose the running code, innermost first. */
interface Inside {
  readonly trx: Nested
  readonly around: Inside | undefined
}

const storage = new AsyncLocalStorage<Inside>()

/** Runs fn as code inside this savepoint. */
export function runInside<T>(trx: Nested, fn: () => T): T {
  return storage.run({ trx, around: storage.getStore() }, fn)
}

function isInside(trx: Nested): boolean {
  for (let inside = storage.getStore(); inside; inside = inside.around) if (inside.trx === trx) return true
  return false
}

function isWithin(inner: Nested, outer: Nested): boolean {
  for (let trx = inner.outerTx; trx; trx = trx.outerTx) if (trx === outer) return true
  return false
}

/** A savepoint that has not ended. */
interface Savepoint {
  readonly trx: Nested
  /** Whether SAVEPOINT was sent. */
  isOpen: boolean
  readonly ended: Promise<void>
  end(): void
}

/** Milliseconds that a statement waits for a savepoint: as long as Knex waits for a connection by default. */
const longestWait = 60_000

/**
 * The savepoints of one transaction. ROLLBACK TO SAVEPOINT also undoes statements of other code that were sent on the same
 * connection after the savepoint began. So statements of code outside a savepoint wait until it has ended.
 */
export class Savepoints {
  readonly #all = new Set<Savepoint>()

  /** Adds a savepoint before Knex sends SAVEPOINT. */
  add(trx: Nested): Savepoint {
    let resolve: () => void = () => {}
    const ended = new Promise<void>((done) => {
      resolve = done
    })
    const end = () => {
      this.#all.delete(savepoint)
      resolve()
      // The database has ended the savepoints inside it too.
      for (const other of this.#all) if (isWithin(other.trx, trx)) other.end()
    }
    const savepoint: Savepoint = { trx, isOpen: false, ended, end }
    this.#all.add(savepoint)
    return savepoint
  }

  /** Returns a promise that a statement of `trx` must wait for; undefined if it may be sent now. */
  beforeStatement(trx: Nested): Promise<void> | undefined {
    return this.#until(({ isOpen, trx: inner }) => isOpen && isWithin(inner, trx) && !isInside(inner))
  }

  /** Returns a promise that COMMIT or RELEASE of `trx` must wait for, since a savepoint inside may still be rolled back. */
  beforeEnd(trx: Nested): Promise<void> | undefined {
    return this.#until(({ trx: inner }) => isWithin(inner, trx) && !isInside(inner))
  }

  #until(isBlocking: (savepoint: Savepoint) => boolean): Promise<void> | undefined {
    if (this.#all.size === 0) return undefined
    const find = () => [...this.#all].find(isBlocking)
    return find() && waitForEach(find)
  }
}

async function waitForEach(find: () => Savepoint | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    const message =
      'This statement has waited 60 seconds for a savepoint of its transaction to end. Inside transaction(), do not await code that runs outside of it.'
    timer = setTimeout(() => reject(new ConfigurationError(message)), longestWait)
  })
  try {
    for (let savepoint = find(); savepoint; savepoint = find()) await Promise.race([savepoint.ended, timeout])
  } finally {
    clearTimeout(timer)
  }
}
