import { ConfigurationError } from '../model/errors.js'
import type { User } from '../users/user.js'
import type { Caller } from './load-caller.js'

type Load = (sessionId: string) => Promise<Caller | null>

/** The longest that an ended session, or a role that was taken back, may go on. */
const MOST_SECONDS = 300

/** Callers at once; beyond it, the one that was loaded first is loaded anew. */
const MAX_CALLERS = 10_000

/**
 * Remembers callers for some seconds, so that most requests load nothing. Until they are over, a caller may be what is no more
 * true: ended elsewhere, disabled, without a role that was taken back.
 */
export class CallerCache {
  readonly #load: Load
  readonly #life: number
  readonly #known = new Map<string, { readonly caller: Caller; readonly until: number }>()

  /** @throws ConfigurationError for anything but 1 to 300 seconds */
  constructor(seconds: number, load: Load) {
    if (!Number.isInteger(seconds) || seconds < 1 || seconds > MOST_SECONDS)
      throw new ConfigurationError(`cacheCallers: ${seconds}: a whole number of seconds from 1 to ${MOST_SECONDS}, or leave it out.`)
    this.#life = seconds * 1000
    this.#load = load
  }

  /** As the loader, but a row of its own for each: what one request does to it, another does not see. */
  readonly load: Load = async (sessionId) => {
    const known = this.#known.get(sessionId)
    if (known && known.until > Date.now()) return { user: known.caller.user.getClone(), session: known.caller.session }
    this.#known.delete(sessionId)
    const caller = await this.#load(sessionId)
    if (!caller) return null
    if (this.#known.size >= MAX_CALLERS) this.#known.delete(this.#known.keys().next().value as string)
    this.#known.set(sessionId, {
      caller: { user: withoutHash(caller.user.getClone()), session: caller.session },
      until: Date.now() + this.#life,
    })
    return caller
  }

  /** What this process itself has done to a user is seen at once. */
  forget(userId: string): void {
    for (const [id, { caller }] of this.#known) if (caller.user.id === userId) this.#known.delete(id)
  }
}

// A password is proved against the hash that is stored, never against one of some seconds ago.
function withoutHash(user: User): User {
  Reflect.deleteProperty(user, 'passwordHash')
  return user
}
