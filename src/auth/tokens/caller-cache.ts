import { ConfigurationError } from '../../core/errors.js'
import { inTransaction } from '../../database/transaction.js'
import type { CallerChange } from '../../users/caller-changes.js'
import type { User } from '../../users/user.js'
import type { Caller } from './load-caller.js'

type Load = (sessionId: string) => Promise<Caller | null>

/** The longest that an ended session, or a role that was taken back, may go on. */
const MOST_SECONDS = 300

/** Callers at once; beyond it, the one that was loaded first is loaded anew. */
const MAX_CALLERS = 10_000

/** A load under way, and what has changed since it began. */
interface Loading {
  readonly users: Set<string>
  isStale: boolean
}

/**
 * Keeps callers for some seconds, so that most requests load nothing. A caller may be out of date for as long where another
 * process, or SQL that passes the models by, ended the session, disabled the user or took a role back.
 */
export class CallerCache {
  readonly #load: Load
  readonly #life: number
  readonly #known = new Map<string, { readonly caller: Caller; readonly until: number }>()
  readonly #loading = new Map<Loading, string>()

  /** @throws ConfigurationError for anything but 1 to 300 seconds */
  constructor(seconds: number, load: Load) {
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > MOST_SECONDS)
      throw new ConfigurationError(`cacheCallers: ${seconds}: a whole number of seconds from 1 to ${MOST_SECONDS}, or leave it out.`)
    this.#life = seconds * 1000
    this.#load = load
  }

  /** Loads as the loader does. Each call returns a user of its own: what one request does to it, another does not see. */
  readonly load: Load = async (sessionId) => {
    // Inside a transaction the database shows an older state, or one that may be rolled back.
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

  /** Drops what a change makes out of date, loads under way included: they may have read the state before it. */
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

// A password is proved against the hash that is stored, never against one of some seconds ago.
function withoutHash(user: User): User {
  Reflect.deleteProperty(user, 'passwordHash')
  return user
}
