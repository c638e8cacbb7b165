import { ConfigurationError } from '../../core/errors.js'
import { inTransaction } from '../../database/transaction.js'
import { forgetText, type RowState } from '../../record/row-state.js'
import type { CallerChange } from '../../users/caller/caller-changes.js'
import type { User } from '../../users/user.js'
import type { Caller } from './load-caller.js'

type Load = (sessionId: string) => Promise<Caller | null>

/** The maximum time for which an ended session or a revoked role may remain in effect. */
const MAX_SECONDS = 300

/** The maximum number of cached callers. Beyond it the oldest entry is dropped. */
const MAX_CALLERS = 10_000

/** A running load, and the changes since it began. */
interface Loading {
  readonly users: Set<string>
  isStale: boolean
}

/**
 * Caches callers for some seconds, so that most requests run no query. After a change by another process, or by SQL outside the
 * models, a caller may be stale for that time.
 */
export class CallerCache {
  readonly #load: Load
  readonly #life: number
  readonly #known = new Map<string, { readonly caller: Caller; readonly until: number }>()
  readonly #loading = new Map<Loading, string>()

  /** @throws ConfigurationError for anything but 1 to 300 seconds */
  constructor(seconds: number, load: Load) {
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > MAX_SECONDS)
      throw new ConfigurationError(
        `cacheCallers: ${seconds}: must be a whole number of seconds from 1 to ${MAX_SECONDS}. Change it or leave it out.`,
      )
    this.#life = seconds * 1000
    this.#load = load
  }

  /** Loads a caller, from the cache if possible. Each call returns its own copy of the user, so that requests do not share changes. */
  readonly load: Load = async (sessionId) => {
    // Inside a transaction the database shows an older state, or one that may be rolled back: do not cache it.
    if (inTransaction()) return await this.#load(sessionId)
    const known = this.#known.get(sessionId)
    if (known && known.until > Date.now()) return { user: known.caller.user.getClone(), session: known.caller.session }
    this.#known.delete(sessionId)
    const loading: Loading = { users: new Set(), isStale: false }
    this.#loading.set(loading, sessionId)
    try {
      const until = Date.now() + this.#life
      const caller = await this.#load(sessionId)
      if (caller && !loading.isStale && !loading.users.has(caller.user.id)) this.#keep(sessionId, caller, until)
      return caller
    } finally {
      this.#loading.delete(loading)
    }
  }

  #keep(sessionId: string, { user, session }: Caller, until: number): void {
    if (this.#known.size >= MAX_CALLERS) this.#known.delete(this.#known.keys().next().value as string)
    this.#known.set(sessionId, { caller: { user: withoutHash(user.getClone()), session }, until })
  }

  /** Drops the callers that a change makes stale, including running loads, which may have read the previous state. */
  forget(change: CallerChange): void {
    if (change === 'any') {
      this.#known.clear()
      for (const loading of this.#loading.keys()) loading.isStale = true
    } else if ('sessionId' in change) {
      this.#known.delete(change.sessionId)
      for (const [loading, id] of this.#loading) if (id === change.sessionId) loading.isStale = true
    } else {
      for (const [id, { caller }] of this.#known) if (caller.user.id === change.userId) this.#known.delete(id)
      for (const loading of this.#loading.keys()) loading.users.add(change.userId)
    }
  }
}

/** Removes the hash of the password: passwords are checked against the stored hash, never against one in memory. */
export function withoutHash(user: User): User {
  ;(user as User & RowState)[forgetText]('passwordHash')
  return user
}
