import { fileURLToPath } from 'node:url'
import Knex, { type Knex as KnexInstance } from 'knex'
import { createTables, type Perms } from 'objection-perms'
import { Critter, UserDocument } from './models.js'
import { SettingsError } from './settings.js'

/**
 * A Knex instance for the address of a database.
 *
 * @param url `postgres://`, `postgresql://`, `mysql://`, `mariadb://`; anything else is SQLite: a file's path, `sqlite:` and a
 *   path, `file:` URLs, `:memory:`
 * @throws SettingsError for any other scheme
 */
export function connect(url: string): KnexInstance {
  if (/^postgres(ql)?:\/\//i.test(url)) return Knex({ client: 'pg', connection: url })
  if (/^(mysql|mariadb):\/\//i.test(url)) return Knex({ client: 'mysql2', connection: url.replace(/^mariadb:/i, 'mysql:') })
  const scheme = /^([a-z][a-z0-9+.-]+):\/\//i.exec(url)?.[1]?.toLowerCase()
  if (scheme !== undefined && scheme !== 'sqlite' && scheme !== 'file') {
    throw new SettingsError(`DATABASE_URL begins with ${scheme}://; use postgres://, mysql://, mariadb://, or a file for SQLite.`)
  }
  return Knex({ client: 'sqlite3', connection: { filename: sqliteFile(url) }, useNullAsDefault: true })
}

function sqliteFile(url: string): string {
  if (/^file:\/\//i.test(url)) return fileURLToPath(url)
  const path = url.replace(/^(sqlite|file):(\/\/(?=.))?/i, '')
  return path === '' || path === 'memory:' ? ':memory:' : path
}

/**
 * Makes the tables that are missing. An application in production writes migrations for its own tables and columns.
 *
 * @throws SettingsError where there is no such database
 */
export async function makeTables(perms: Perms): Promise<void> {
  const { schema } = perms.knex
  await perms.knex.raw('select 1').catch(({ message, code }: { message: string; code?: string }) => {
    throw new SettingsError(`The database of DATABASE_URL cannot be opened: ${message || code}`)
  })
  await perms.migrate()
  await createTables(perms.knex, [UserDocument, Critter])
  // A database from the time before the zoo's own User lacks its columns.
  if (await schema.hasColumn('user', 'email_verified_at')) return
  await schema.alterTable('user', (table) => {
    for (const name of ['last_login_at', 'email_verified_at']) table.datetime(name, { precision: 3 })
  })
}
