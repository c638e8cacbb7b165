import { onCommit } from '../database/transaction.js'
import { currentUserId } from '../policy/context.js'
import { type Runtime, runtimeSlot } from '../runtime.js'

/** What happens to users, for logs and alarms: told once it is committed. `by` is who did it; null for the application itself. */
export interface UserEvents {
  /** A new password, by whichever path; not the same one hashed anew at sign-in. */
  passwordChanged: { userId: string; by: string | null }
  /** `domainId` is null for everywhere. A grant that changes is one taken back and one given. */
  roleGranted: { userId: string; role: string; domainId: string | null; by: string | null }
  roleRevoked: { userId: string; role: string; domainId: string | null; by: string | null }
}

type Tell = <K extends keyof UserEvents>(name: K, payload: UserEvents[K]) => void

const listener = runtimeSlot<Tell | null>(() => null)

/** Sets the listener of a runtime. It must not throw. */
export function registerUserEvents(runtime: Runtime, emit: Tell): void {
  listener.set(runtime, emit)
}

/** Tells of it once the transaction that it is part of is committed; at once where there is none. */
export function emitAfterCommit<K extends keyof UserEvents>(name: K, about: Omit<UserEvents[K], 'by'>, trx: unknown): void {
  const emit = listener.get()
  if (!emit) return
  const payload = { ...about, by: currentUserId() } as unknown as UserEvents[K]
  onCommit(trx, () => emit(name, payload))
}
