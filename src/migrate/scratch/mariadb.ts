/** Temporary databases on MariaDB. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { select } from '../../database/tables/existing-tables.js'
import { isLeftOver, MARK, PREFIX, scratchName, scratchPassword } from './names.js'
import { openAs } from './open.js'

/** Calls a function with a database that only a temporary user may use. Drops both afterwards. */
export async function withMariadbDatabase<T>(knex: Knex, fn: (scratch: Knex) => Promise<T>): Promise<T> {
  const [place] = await select(knex, "select database() as a, substring_index(user(), '@', -1) as b", [])
  const [database, host] = (place ?? []).map(String) as [string, string]
  await dropLeftOver(knex, host)
  const [name, password] = [scratchName(), scratchPassword()]
  try {
    await create(knex, { name, password, host })
    const scratch = await openAs(knex, { user: name, password, database: name })
    try {
      await assertUnreachable(scratch, database)
      return await fn(scratch)
    } finally {
      await scratch.destroy()
    }
  } finally {
    await drop(knex, name, host)
  }
}

interface NewDatabase {
  readonly name: string
  readonly password: string
  /** The host of the user, as the server sees this process: a user for any host would come after an anonymous user for this host. */
  readonly host: string
}

async function create(knex: Knex, { name, password, host }: NewDatabase): Promise<void> {
  const [charset] = await select(knex, 'select @@character_set_database as a, @@collation_database as b', [])
  const [characterSet, collation] = (charset ?? []).map(String)
  try {
    await knex.raw(`create database \`${name}\` character set ${characterSet} collate ${collation} comment '${MARK}'`)
    await knex.raw(`create user ${userOf(name, host)} identified by '${password}'`)
    // An underscore in the name of a GRANT stands for any character.
    await knex.raw(`grant all privileges on \`${name.replaceAll('_', '\\_')}\`.* to ${userOf(name, host)}`)
  } catch (error) {
    if (!missingPrivileges.has((error as { code?: string }).code ?? '')) throw error
    throw new ConfigurationError(
      'The database user may not create the database and the user with which migrations are replayed. Use --against URL, with the URL of an empty database, or a user with the privileges CREATE, CREATE USER and GRANT OPTION.',
      { cause: error },
    )
  }
}

const missingPrivileges = new Set([
  'ER_DBACCESS_DENIED_ERROR',
  'ER_SPECIFIC_ACCESS_DENIED_ERROR',
  'ER_ACCESS_DENIED_ERROR',
  'ER_TABLEACCESS_DENIED_ERROR',
  'ER_CANT_CREATE_USER_WITH_GRANT',
])

const userOf = (name: string, host: string): string => `'${name}'@'${host.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`

/**
 * Throws if a migration could write to a database by its name. The privileges of a server may cover every user, such as those of an
 * anonymous user.
 */
export async function assertUnreachable(scratch: Knex, database: string): Promise<void> {
  const rows = await select(scratch, 'select 1 from information_schema.schemata where schema_name = ?', [database])
  if (rows.length === 0) return
  throw new ConfigurationError(
    `The user of the scratch database could read or write the database '${database}' of the application. Use --against URL, with the URL of an empty database and a user who may use only that database.`,
  )
}

// The database has the mark, so it is dropped last.
async function drop(knex: Knex, name: string, host: string): Promise<void> {
  await knex.raw(`drop user if exists ${userOf(name, host)}`).catch((error: { code?: string }) => {
    // create() has failed for the same reason, and says so.
    if (!missingPrivileges.has(error.code ?? '')) throw error
  })
  await knex.raw(`drop database if exists \`${name}\``).catch((error: { code?: string }) => {
    if (!missingPrivileges.has(error.code ?? '')) throw error
  })
}

async function dropLeftOver(knex: Knex, host: string): Promise<void> {
  const sql = 'select schema_name from information_schema.schemata where left(schema_name, ?) = ? and schema_comment = ?'
  // Several runs may drop it at the same moment. If one remains, the next run drops it.
  for (const [name] of await select(knex, sql, [PREFIX.length, PREFIX, MARK]))
    if (isLeftOver(String(name))) await drop(knex, String(name), host).catch(() => undefined)
}
