import { onCommit } from '../database/transaction.js'
import { currentUserId } from '../policy/context.js'
import type { DomainId, UserId } from '../policy/registered-types.js'
import { type Runtime, runtimeSlot } from '../runtime.js'

/**
 * Events about users, for logs and alerts, emitted after the commit. `by` is the id of the user who caused the event; null for the
 * application itself.
 */
export interface UserEvents {
  /** A new password was stored. Rehashing the same password at sign-in emits nothing. */
  passwordChanged: { userId: UserId; by: UserId | null }
  /** `domainId` is null for a global role. A changed grant emits roleRevoked and roleGranted. */
  roleGranted: { userId: UserId; role: string; domainId: DomainId | null; by: UserId | null }
  roleRevoked: { userId: UserId; role: string; domainId: DomainId | null; by: UserId | null }
}

type EmitUserEvent = <K extends keyof UserEvents>(name: K, payload: UserEvents[K]) => void

const listener = runtimeSlot<EmitUserEvent | null>(() => null)

/** Sets the listener of a runtime. It must not throw. */
export function registerUserEvents(runtime: Runtime, emit: EmitUserEvent): void {
  listener.set(runtime, emit)
}

/** Emits an event after the commit of the given or open transaction; at once without a transaction. */
export function emitAfterCommit<K extends keyof UserEvents>(name: K, about: Omit<UserEvents[K], 'by'>, trx: unknown): void {
  const emit = listener.get()
  if (!emit) return
  const payload = { ...about, by: currentUserId() } as UserEvents[K]
  onCommit(trx, () => emit(name, payload))
}
