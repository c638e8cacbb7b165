import { AsyncLocalStorage } from 'node:async_hooks'
import { ConfigurationError } from '../core/errors.js'

/** What is used of Knex's Transaction; a savepoint is one with an `outerTx`. */
export interface Nested {
  readonly outerTx: Nested | null
}

/** The savepoints whose function the running code is in, innermost first. */
interface Inside {
  readonly trx: Nested
  readonly around: Inside | undefined
}

const storage = new AsyncLocalStorage<Inside>()

/** Runs fn as the code of this savepoint. */
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

/** How long a statement waits for a savepoint: as long as Knex waits for a connection (milliseconds). */
const longestWait = 60_000

/**
 * The savepoints of one transaction. ROLLBACK TO a savepoint also undoes every statement that other code has sent meanwhile on the
 * same connection. So statements of code outside a savepoint wait until it has ended.
 */
export class Savepoints {
  readonly #all = new Set<Savepoint>()

  /** Adds a savepoint that Knex is about to make. */
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

  /** Returns what a statement of `trx` waits for, or undefined where it may be sent now. */
  beforeStatement(trx: Nested): Promise<void> | undefined {
    return this.#until((one) => one.isOpen && isWithin(one.trx, trx) && !isInside(one.trx))
  }

  /** Returns what COMMIT or RELEASE of `trx` waits for: a write in a savepoint may still be refused. */
  beforeEnd(trx: Nested): Promise<void> | undefined {
    return this.#until((one) => isWithin(one.trx, trx) && !isInside(one.trx))
  }

  #until(isInTheWay: (savepoint: Savepoint) => boolean): Promise<void> | undefined {
    if (this.#all.size === 0) return undefined
    const find = () => [...this.#all].find(isInTheWay)
    return find() && waitForEach(find)
  }
}

async function waitForEach(find: () => Savepoint | undefined): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeout = new Promise<never>((_, reject) => {
    const message =
      'This statement waits for a savepoint of its own transaction, and the savepoint does not end. Do not wait inside a transaction() for code outside of it.'
    timer = setTimeout(() => reject(new ConfigurationError(message)), longestWait)
  })
  try {
    for (let savepoint = find(); savepoint; savepoint = find()) await Promise.race([savepoint.ended, timeout])
  } finally {
    clearTimeout(timer)
  }
}
