import type { AuthEventName, AuthEvents, OnEvent } from '../auth/events.js'
import { currentActor, runAsActor } from '../policy/context.js'

/** The listeners that `perms.on()` added. */
export class Listeners {
  readonly #known = new Map<string, Set<(payload: never) => unknown>>()

  add<K extends AuthEventName>(name: K, listener: (payload: AuthEvents[K]) => unknown): () => void {
    const known = this.#known.get(name) ?? new Set()
    this.#known.set(name, known)
    known.add(listener)
    return () => known.delete(listener)
  }

  // An error of one listener does not stop the others. Listeners run as the caller, without the bypasses of the code that emits.
  readonly emit: OnEvent = (name, payload) =>
    Promise.allSettled([...(this.#known.get(name) ?? [])].map((listener) => runAsActor(currentActor(), () => listener(payload as never))))
}
