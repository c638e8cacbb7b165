/** A scratch database that the developer names with --against. */
import { randomBytes } from 'node:crypto'
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { select } from '../../database/tables/existing-tables.js'
import { dialectOf } from '../../schema/storage.js'
import { contentsOf, dropContents } from './contents.js'
import { assertUnreachable } from './mariadb.js'
import { openUrl } from './open.js'
import { createSearchedSchemas } from './search-path.js'

/**
 * Calls a function with the database of a URL, and empties it afterwards.
 *
 * @throws ConfigurationError for a database that is not empty, that is the application's one, or whose user can reach that
 */
export async function withGivenDatabase<T>(knex: Knex, url: string, fn: (scratch: Knex) => Promise<T>): Promise<T> {
  const scratch = await openUrl(knex, url)
  try {
    await assertOther(knex, scratch)
    const [first] = await contentsOf(scratch)
    if (first !== undefined)
      throw new ConfigurationError(
        `The database of --against is not empty: it contains ${first}. Use an empty database for migrations only.`,
      )
    try {
      if (dialectOf(knex) === 'pg') await createSearchedSchemas(scratch)
      return await fn(scratch)
    } finally {
      await dropContents(scratch)
    }
  } finally {
    await scratch.destroy()
  }
}

async function assertOther(knex: Knex, scratch: Knex): Promise<void> {
  if (await isSameDatabase(knex, scratch))
    throw new ConfigurationError('--against is the database of the application. Use another, empty database.')
  if (dialectOf(knex) !== 'mysql') return
  const [[database] = []] = await select(knex, 'select database()', [])
  const isOnSameServer = await sharesLock(knex, scratch, () => '')
  if (isOnSameServer) await assertUnreachable(scratch, String(database))
}

// Two addresses may lead to one server, so their text says nothing. A lock of PostgreSQL belongs to a database, one of MariaDB to a server.
async function isSameDatabase(knex: Knex, scratch: Knex): Promise<boolean> {
  return await sharesLock(knex, scratch, (database) => database)
}

/** Returns whether a lock that one connection holds is held for another one too. A lock writes nothing. */
async function sharesLock(knex: Knex, scratch: Knex, part: (database: string) => string): Promise<boolean> {
  const id = randomBytes(6)
  if (dialectOf(knex) === 'pg') {
    const key = id.readUIntBE(0, 6)
    return await knex.transaction(async (held) => {
      await held.raw(`select pg_advisory_xact_lock(${key})`)
      return await scratch.transaction(async (tried) => {
        const [[isFree] = []] = await select(tried, `select pg_try_advisory_xact_lock(${key})::int::text`, [])
        return String(isFree) !== '1'
      })
    })
  }
  const nameOf = async (connection: Knex) => {
    const [[database] = []] = await select(connection, 'select md5(database())', [])
    return `op ${id.toString('hex')} ${part(String(database))}`
  }
  return await knex.transaction(async (held) => {
    const name = await nameOf(held)
    await select(held, 'select get_lock(?, 0)', [name])
    try {
      const [[isFree] = []] = await select(scratch, 'select is_free_lock(?)', [await nameOf(scratch)])
      return String(isFree) !== '1'
    } finally {
      await select(held, 'select release_lock(?)', [name])
    }
  })
}
