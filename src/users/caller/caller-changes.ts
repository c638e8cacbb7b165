import { onCommit } from '../../database/transaction.js'
import { addWriteListener } from '../../enforce/enforcer.js'
import { setNames } from '../../enforce/evaluate.js'
import { registeredModel } from '../../policy/registered-models.js'
import { userTables } from '../../policy/user-tables.js'
import type { QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { tableOf } from '../../schema/class-statics.js'
import { isId } from '../../schema/ids.js'

/** The change that makes cached callers stale: one user, one session, or possibly every caller. */
export type CallerChange = { readonly userId: string } | { readonly sessionId: string } | 'any'

const listenerOf = runtimeSlot<((change: CallerChange) => void) | null>(() => null)

/** Sets the listener that runs after a commit that makes cached callers stale. */
export function onCallerChange(runtime: Runtime, listener: (change: CallerChange) => void): void {
  listenerOf.set(runtime, listener)
}

const skipsListener: unique symbol = Symbol('told otherwise')

/** Marks a token query that ends no session, or whose caller emits an event that names the user. The listener skips it. */
export function skipCallerChange<Q extends { context(value: object): unknown }>(query: Q): Q {
  return query.context({ [skipsListener]: true }) as Q
}

/** Returns whether a query has this mark, from its context. */
export function skipsCallerChange(context: object): boolean {
  return skipsListener in context
}

// Other token columns, such as lastUsedAt, do not change who is calling.
const callerColumns = new Set(['id', 'userId', 'kind', 'revoked', 'expiresAt', 'endsAt', 'abilities', 'impersonatorId', 'boundTo'])

// Role changes emit their own events, which name the user: see role-events.ts.
addWriteListener((builder, write) => {
  const listener = listenerOf.get()
  if (!listener || write.kind === 'insert') return
  const change = changeBy(builder, write)
  if (change !== null) onCommit(builder.db, () => listener(change))
})

function changeBy(builder: QueryHandle, write: WriteOperation): CallerChange | null {
  const table = tableOf(builder.cls)
  const { user, token, domain } = userTables()
  const id: unknown = write.instance?.$id() ?? write.id
  if (table === user.table) return isId(registeredModel('user'), id) ? { userId: id } : 'any'
  if (table === domain.table) return 'any'
  if (table !== token.table || skipsCallerChange(builder.context)) return null
  if (write.kind === 'update' && !setNames(write.models[0]).some((name) => callerColumns.has(name))) return null
  return isId(registeredModel('token'), id) ? { sessionId: String(id) } : 'any'
}
