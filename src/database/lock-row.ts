import type { Knex } from 'knex'
import { tableOf } from '../schema/class-statics.js'
import { columnOf } from '../schema/definition/definition.js'
import { dialectOf } from '../schema/storage.js'
import { lockOnAllNodes } from './cluster-lock.js'

/**
 * Locks one row until the transaction ends: a second transaction that locks the same row waits for the first. In a Galera cluster, one of
 * two transactions on different nodes fails with a deadlock instead, when it commits.
 *
 * @param cls the row's model
 * @example await lockRow(trx, registeredModel('domain'), domain.id)
 */
export async function lockRow(trx: Knex.Transaction, cls: object, id: string): Promise<void> {
  const dialect = dialectOf(trx)
  // SQLite has one writer and needs no lock. A SELECT here could also make a later write of this transaction fail.
  if (dialect === 'sqlite') return
  const key = columnOf(cls, 'id')
  const row = trx(tableOf(cls))
    .select(key)
    .where({ [key]: id })
  // FOR NO KEY UPDATE lets other transactions insert rows that refer to this row.
  await (dialect === 'pg' ? row.forNoKeyUpdate() : row.forUpdate())
  await lockOnAllNodes(trx, nameOfRow(cls, id))
}

/** Returns the name of the lock of a row, for code that has locked the row with a query of its own. */
export const nameOfRow = (cls: object, id: string): string => `${tableOf(cls)} ${id}`
