/** Repeats statements and transactions that the database aborted because of a deadlock. */
import { hasOwnConnection, type OpenKnexBuilder } from '../../database/knex-internals.js'
import { retryStatement } from '../../database/transaction.js'
import { queryValuesOf } from '../objection-internals.js'

type Then = (done?: (result: unknown) => unknown, failed?: (error: unknown) => unknown) => Promise<unknown>

// A deadlock undoes a statement outside a transaction completely, so the same statement can be sent again without its hooks.
export function retryOnDeadlock(built: OpenKnexBuilder): void {
  Object.defineProperty(built, 'then', retryingThen)
}

// Not enumerable: where(builder) reads enumerable keys as columns and calls function values.
const retryingThen = { value: thenOrRetry, configurable: true, writable: true, enumerable: false }

function thenOrRetry(this: OpenKnexBuilder, done?: Parameters<Then>[0], failed?: Parameters<Then>[1]): Promise<unknown> {
  const { then: send } = Object.getPrototypeOf(this) as { then: Then }
  return send.call(this, done, (error) => {
    const isAlone = this.client.transacting !== true && !hasOwnConnection(this)
    const again = () => new Promise((resolve, reject) => send.call(this, resolve, reject))
    return (isAlone ? retryStatement(this.client, error, again) : Promise.reject(error)).then(done, failed)
  })
}

/** @returns a function that restores the own properties of the rows to their present values */
export function restorerOf(rows: readonly object[]): () => void {
  const before = rows.map((row) => ({ ...row }))
  const queries = rows.map((row) => ({ ...queryValuesOf(row) }))
  return () => {
    rows.forEach((row, i) => {
      Object.assign(queryValuesOf(row) ?? {}, queries[i])
      const own = before[i] as object
      for (const name of Object.keys(row)) if (!Object.hasOwn(own, name)) Reflect.deleteProperty(row, name)
      Object.assign(row, own)
    })
  }
}
