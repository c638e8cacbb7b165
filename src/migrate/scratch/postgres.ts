/** Temporary databases on PostgreSQL. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { select } from '../../database/tables/existing-tables.js'
import { isLeftOver, MARK, PREFIX, scratchName, scratchPassword } from './names.js'
import { openAs } from './open.js'
import { createSearchedSchemas } from './search-path.js'

/** Calls a function with a database that only a temporary role may use. Drops both afterwards. */
export async function withPostgresDatabase<T>(knex: Knex, fn: (scratch: Knex) => Promise<T>): Promise<T> {
  await dropLeftOver(knex)
  const [name, password] = [scratchName(), scratchPassword()]
  try {
    await create(knex, name, password)
    const scratch = await openAs(knex, { user: name, password, database: name })
    try {
      await createSearchedSchemas(scratch)
      return await fn(scratch)
    } finally {
      await scratch.destroy()
    }
  } finally {
    await drop(knex, name)
  }
}

// The mark belongs to the role, which is made with it in one transaction. The database has the name of its owner.
async function create(knex: Knex, name: string, password: string): Promise<void> {
  try {
    await knex.transaction(async (trx) => {
      await trx.raw(`create role "${name}" login nosuperuser nocreatedb nocreaterole password '${password}'`)
      await trx.raw(`comment on role "${name}" is '${MARK}'`)
      // The owner of a new database must be a role of which the current user is a member.
      await trx.raw(`grant "${name}" to current_user`)
    })
    await knex.raw(`create database "${name}" owner "${name}"`)
  } catch (error) {
    if ((error as { code?: string }).code !== '42501') throw error
    throw new ConfigurationError(
      'The database user may not create the database and the role in which migrations are replayed. Use --against URL, with the URL of an empty database, or a user with CREATEDB and CREATEROLE.',
      { cause: error },
    )
  }
}

async function drop(knex: Knex, name: string): Promise<void> {
  // A user without the right to create roles may not even drop one that does not exist.
  if ((await select(knex, 'select 1 from pg_roles where rolname = ?', [name])).length === 0) return
  await knex.raw(`drop database if exists "${name}" with (force)`)
  await knex.raw(`drop role if exists "${name}"`)
}

async function dropLeftOver(knex: Knex): Promise<void> {
  const sql = "select rolname from pg_roles where starts_with(rolname, ?) and shobj_description(oid, 'pg_authid') = ?"
  for (const [name] of await select(knex, sql, [PREFIX, MARK])) {
    // Several runs may drop it at the same moment: PostgreSQL then reports 'tuple concurrently deleted'. If one remains, the next run drops it.
    if (isLeftOver(String(name))) await drop(knex, String(name)).catch(() => undefined)
  }
}
