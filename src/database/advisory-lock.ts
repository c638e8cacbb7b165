import type { Knex } from 'knex'
import { ServiceUnavailableError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { dialectOf } from '../schema/storage.js'
import { isTransaction } from './transaction.js'

/** Seconds to wait until another process releases the lock. */
const LOCK_TIMEOUT = 60

interface RawConnection {
  query(sql: string, done: (error: unknown, result: unknown) => void): unknown
}

/** The methods of Knex clients for connections outside the pool. */
interface RawClient {
  acquireRawConnection(): Promise<RawConnection>
  destroyRawConnection(connection: RawConnection): Promise<void>
}

/**
 * Runs fn in one process at a time among those that share the database. SQLite has one writer and needs no lock. The lock belongs
 * to a connection outside the pool and is released when that connection closes.
 *
 * Knex's migration lock is not enough: it fails instead of waiting, and two processes cannot create its tables at the same time.
 *
 * @throws ServiceUnavailableError when the lock is not free within 60 seconds
 * @example await withAdvisoryLock(knex, () => knex.migrate.latest())
 */
export async function withAdvisoryLock<T>(knex: Knex, fn: () => Promise<T>): Promise<T> {
  const dialect = dialectOf(knex)
  if (dialect === 'sqlite' || isTransaction(knex)) return await fn()
  const client = knex.client as RawClient
  const connection = await client.acquireRawConnection()
  const send = (sql: string) =>
    new Promise<unknown>((resolve, reject) => connection.query(sql, (error, result) => (error ? reject(error as Error) : resolve(result))))
  try {
    if (!(dialect === 'pg' ? await lockPostgres(send) : await lockMariadb(send)))
      throw new ServiceUnavailableError(message('database.migrating', { seconds: LOCK_TIMEOUT }))
    return await fn()
  } finally {
    await client.destroyRawConnection(connection)
  }
}

type Send = (sql: string) => Promise<unknown>

/** Asks again and again, because a pooler gives each waiting transaction a server connection: fn could get none. */
async function lockPostgres(send: Send): Promise<boolean> {
  const end = performance.now() + LOCK_TIMEOUT * 1000
  for (;;) {
    // Poolers keep a transaction on one connection, so the lock belongs to a transaction.
    await send('begin')
    const result = await send("select pg_try_advisory_xact_lock(hashtext('objection-perms migrations')) as locked")
    if ((result as { rows: { locked: boolean }[] }).rows[0]?.locked) return true
    await send('rollback')
    if (performance.now() > end) return false
    await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 100))
  }
}

async function lockMariadb(send: Send): Promise<boolean> {
  // Lock names are shared by all databases of the server.
  const rows = await send(`select get_lock(concat('objection-perms ', md5(database())), ${LOCK_TIMEOUT}) as locked`)
  return (rows as { locked: number | null }[])[0]?.locked === 1
}
