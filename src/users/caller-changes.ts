import { onCommit } from '../database/transaction.js'
import { addWriteListener } from '../enforce/enforcer.js'
import { setNames } from '../enforce/evaluate.js'
import { userTables } from '../policy/user-tables.js'
import type { GuardedBuilder, WriteOperation } from '../query/policy-enforcer.js'
import { type Runtime, runtimeSlot } from '../runtime.js'

/** What changed: one user, one session, or possibly any of them. */
export type CallerChange = { readonly userId: string } | { readonly sessionId: string } | 'any'

const listenerOf = runtimeSlot<((change: CallerChange) => void) | null>(() => null)

/** Sets the listener that is called, after the commit, when cached callers are out of date. */
export function onCallerChange(runtime: Runtime, listener: (change: CallerChange) => void): void {
  listenerOf.set(runtime, listener)
}

const isTold: unique symbol = Symbol('told otherwise')

/** Marks a write of many tokens that ends no session, or whose sessions are told by an event. */
export function endsNoSession<Q extends { context(value: object): unknown }>(query: Q): Q {
  return query.context({ [isTold]: true }) as Q
}

// A token's other columns, such as lastUsedAt, do not change who is calling.
const decisive = new Set(['id', 'userId', 'kind', 'revoked', 'expiresAt', 'endsAt', 'abilities', 'impersonatorId', 'boundTo'])

// Roles have events of their own, with the user in them: see role-events.ts.
addWriteListener((builder, write) => {
  const listener = listenerOf.get()
  if (!listener || write.kind === 'insert') return
  const change = changeBy(builder, write)
  if (change !== null) onCommit(builder.db, () => listener(change))
})

function changeBy(builder: GuardedBuilder, write: WriteOperation): CallerChange | null {
  const table = (builder.cls as unknown as { getTableName(): string }).getTableName()
  const { user, token, domain } = userTables()
  const id: unknown = write.instance?.$id() ?? write.id
  if (table === user.table) return typeof id === 'string' ? { userId: id } : 'any'
  if (table === domain.table) return 'any'
  if (table !== token.table || isTold in builder.context) return null
  if (write.kind === 'update' && !setNames(write.models[0]).some((name) => decisive.has(name))) return null
  return typeof id === 'string' ? { sessionId: id } : 'any'
}
