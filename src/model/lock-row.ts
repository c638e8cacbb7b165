import type { Knex } from 'knex'
import { dialectOf } from '../model/storage.js'

/**
 * Holds a row until the transaction ends, so that of two who look before they write one waits.
 *
 * @param cls the row's model
 * @example await lockRow(trx, registeredModel('domain'), domain.id)
 */
export async function lockRow(trx: Knex.Transaction, cls: object, id: string): Promise<void> {
  const dialect = dialectOf(trx)
  // SQLite has one writer anyway, who must not begin with a read.
  if (dialect === 'sqlite') return
  const row = trx((cls as { getTableName(): string }).getTableName())
    .select('id')
    .where({ id })
  // On PostgreSQL rows that refer to it may be made meanwhile.
  await (dialect === 'pg' ? row.forNoKeyUpdate() : row.forUpdate())
}
