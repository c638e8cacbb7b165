/** Temporary databases in which migrations are replayed. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../core/errors.js'
import { dialectOf } from '../schema/storage.js'
import { withGivenDatabase } from './scratch/given-database.js'
import { withMariadbDatabase } from './scratch/mariadb.js'
import { openMemory } from './scratch/open.js'
import { withPostgresDatabase } from './scratch/postgres.js'

/** Where the scratch database is. */
export interface ScratchOptions {
  /** The URL of an empty database of the same kind, for users who may not create databases and roles. It is empty again afterwards. */
  readonly against?: string | undefined
}

/**
 * Calls a function with a Knex instance on an empty database. The instance has the settings of the application's one, such as its
 * naming of identifiers and its search path.
 *
 * SQLite uses memory. PostgreSQL and MariaDB get a temporary database on the same server, and a temporary role that owns this database
 * and has no privileges in the application's one. Both are dropped afterwards, also those that a killed process left.
 *
 * @param knex the Knex instance of the application: nothing is written to its database
 * @returns the result of the function
 * @throws ConfigurationError when the database user may create no databases or roles; for a database in `against` that is not empty,
 *   or that is the application's one
 * @example await withScratchDatabase(knex, {}, async (scratch) => await scratch.migrate.latest({ directory: './migrations' }))
 */
export async function withScratchDatabase<T>(knex: Knex, options: ScratchOptions, fn: (scratch: Knex) => Promise<T>): Promise<T> {
  const dialect = dialectOf(knex)
  const { against } = options
  if (dialect === 'sqlite') {
    if (against !== undefined)
      throw new ConfigurationError('--against is for PostgreSQL and MariaDB: SQLite replays migrations in memory. Leave the option out.')
    const scratch = openMemory(knex)
    try {
      return await fn(scratch)
    } finally {
      await scratch.destroy()
    }
  }
  if (against !== undefined) return await withGivenDatabase(knex, against, fn)
  return dialect === 'pg' ? await withPostgresDatabase(knex, fn) : await withMariadbDatabase(knex, fn)
}
