import type { Model } from 'objection'
import { onCommit } from '../../database/transaction.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'

/** A change of a user's password or identifiers. */
export interface AccountChange {
  readonly user: Model
  /** The values of the identifiers before the change. */
  readonly before: object
  /** The identifiers that changed, such as `email`. */
  readonly identifiers: readonly string[]
  readonly changesPassword: boolean
}

const listener = runtimeSlot<((change: AccountChange) => void) | null>(() => null)

/** Sets the listener of a runtime. It must not throw. */
export function onAccountChange(runtime: Runtime, listen: (change: AccountChange) => void): void {
  listener.set(runtime, listen)
}

/** Tells the listener after the commit of the given or open transaction. */
export function reportAccountChange(change: AccountChange, trx: unknown): void {
  const listen = listener.get()
  if (listen) onCommit(trx, () => listen(change))
}
