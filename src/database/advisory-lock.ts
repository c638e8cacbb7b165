import type { Knex } from 'knex'
import { dialectOf } from '../schema/storage.js'
import { isTransaction } from './transaction.js'

/** Seconds to wait for another process. */
const LOCK_TIMEOUT = 60

interface RawConnection {
  query(sql: string, done: (error: unknown) => void): unknown
}

/** What Knex's clients have for connections beside the pool. */
interface RawClient {
  acquireRawConnection(): Promise<RawConnection>
  destroyRawConnection(connection: RawConnection): Promise<void>
}

/**
 * Runs fn in one process at a time, as far as they share the database; on SQLite, which has one writer, at once. The lock is held on a
 * connection of its own, beside the pool, and goes with it.
 *
 * Knex's own lock does not wait, and its tables cannot be made by two at once.
 */
export async function withAdvisoryLock<T>(knex: Knex, fn: () => Promise<T>): Promise<T> {
  const dialect = dialectOf(knex)
  if (dialect === 'sqlite' || isTransaction(knex)) return await fn()
  const client = (knex as unknown as { client: RawClient }).client
  const connection = await client.acquireRawConnection()
  const ask = (sql: string) =>
    new Promise<void>((resolve, reject) => connection.query(sql, (error) => (error ? reject(error as Error) : resolve())))
  try {
    if (dialect === 'pg') {
      // Of a transaction, which poolers keep on one connection.
      await ask('begin')
      await ask(`set local lock_timeout = '${LOCK_TIMEOUT}s'`)
      await ask("select pg_advisory_xact_lock(hashtext('objection-perms migrations'))")
    } else {
      // Names are the whole server's.
      await ask(`select get_lock(concat('objection-perms ', md5(database())), ${LOCK_TIMEOUT})`)
    }
    return await fn()
  } finally {
    await client.destroyRawConnection(connection)
  }
}
