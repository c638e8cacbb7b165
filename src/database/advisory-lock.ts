import type { Knex } from 'knex'
import { dialectOf } from '../schema/storage.js'
import { isTransaction } from './transaction.js'

/** Seconds to wait until another process releases the lock. */
const LOCK_TIMEOUT = 60

interface RawConnection {
  query(sql: string, done: (error: unknown) => void): unknown
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
 * @throws the driver's error when the lock is not free within 60 seconds
 * @example await withAdvisoryLock(knex, () => knex.migrate.latest())
 */
export async function withAdvisoryLock<T>(knex: Knex, fn: () => Promise<T>): Promise<T> {
  const dialect = dialectOf(knex)
  if (dialect === 'sqlite' || isTransaction(knex)) return await fn()
  const client = knex.client as RawClient
  const connection = await client.acquireRawConnection()
  const send = (sql: string) =>
    new Promise<void>((resolve, reject) => connection.query(sql, (error) => (error ? reject(error as Error) : resolve())))
  try {
    if (dialect === 'pg') {
      // Connection poolers keep a transaction on one connection, so the lock belongs to a transaction.
      await send('begin')
      await send(`set local lock_timeout = '${LOCK_TIMEOUT}s'`)
      await send("select pg_advisory_xact_lock(hashtext('objection-perms migrations'))")
    } else {
      // Lock names are shared by all databases of the server.
      await send(`select get_lock(concat('objection-perms ', md5(database())), ${LOCK_TIMEOUT})`)
    }
    return await fn()
  } finally {
    await client.destroyRawConnection(connection)
  }
}
