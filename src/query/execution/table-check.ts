/** The check of the tables that statements of models wait for: `initPerms({ checkTables: 'refuse' })`. */
import type { Knex } from 'knex'
import { joinAmbient, registeredKnex } from '../../database/transaction.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'

/**
 * Checks the tables before a statement.
 *
 * @param knex what the statement runs on
 * @returns undefined once the tables are known to be as the models declare them; else a promise that rejects if they are not
 */
export type TableCheck = (knex: Knex) => Promise<void> | undefined

const current = runtimeSlot<TableCheck | null>(() => null)

/** Sets the check that the statements of a runtime wait for. */
export function setTableCheck(runtime: Runtime, check: TableCheck): void {
  current.set(runtime, check)
}

/**
 * Calls fn after the check of the tables. Calls it at once without a check, and after a successful one.
 *
 * @param knexOf returns what the statement runs on. It is called only if there is a check
 */
export function afterTableCheck<T>(knexOf: () => Knex | null, fn: () => Promise<T>): Promise<T> {
  const check = current.get()
  if (check === null) return fn()
  // A model without a Knex instance of its own uses that of the runtime.
  const used = knexOf() ?? registeredKnex()
  const pending = used === null ? undefined : check(joinAmbient(used))
  return pending ? pending.then(fn) : fn()
}
