/**
 * Locks that hold on all nodes of a Galera cluster. A row lock holds on its own node only. When a transaction commits, the nodes
 * compare the rows that it wrote with those of other transactions, and the later one fails with a deadlock. So a transaction that must
 * exclude others on all nodes writes a row that the others write too.
 */
import { createHash } from 'node:crypto'
import type { Knex } from 'knex'
import { modelSlot } from '../runtime.js'

/** The configurations of Knex whose last connection was to a node of a cluster. A transaction shares the configuration of its Knex. */
const clustered = new WeakSet<object>()

/** The client of a Knex instance or of a transaction. */
export interface ClientWithConfig {
  readonly config?: object
}

const lockTable = modelSlot<string | null>(() => null)

/** Sets the table of the library in which locks are written: it has the columns `name`, `points` and `expires_at`. */
export function registerLockTable(table: string): void {
  lockTable.set(table)
}

/** Records whether the server of a new connection is a node of a cluster. */
export function noteClusterNode({ config }: ClientWithConfig, isNode: boolean): void {
  if (config === undefined) return
  if (isNode) clustered.add(config)
  else clustered.delete(config)
}

/** Returns whether the server is a node of a cluster. */
export function isClusterNode({ config }: ClientWithConfig): boolean {
  return config !== undefined && clustered.has(config)
}

/**
 * Makes a transaction exclude those that lock the same name on other nodes of the cluster: the later one fails with a deadlock, and
 * `transaction()` runs it again. Does nothing without a cluster. On its own node, the transaction must hold a lock already.
 *
 * @param name any text; the table stores its hash
 * @example await lockOnAllNodes(trx, `user ${user.id}`)
 */
export async function lockOnAllNodes(trx: Knex, name: string): Promise<void> {
  const table = lockTable.get()
  if (table === null || !isClusterNode(trx.client as ClientWithConfig)) return
  const row = { name: `lock:${createHash('sha256').update(name).digest('hex')}`, points: 0, expires_at: '2000-01-01 00:00:00' }
  await trx(table).insert(row)
  await trx(table).where('name', row.name).delete()
}
