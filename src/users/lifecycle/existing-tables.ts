import type { Knex } from 'knex'
import { tableExists } from '../../database/tables/existing-tables.js'
import { runtimeSlot } from '../../runtime.js'

const known = runtimeSlot(() => new Set<string>())

/**
 * Returns whether a table exists. A database of an earlier version lacks some tables of the library, and a model of the application may not be
 * migrated yet. Caches only "exists". An error of the look-up is passed on: an unknown state is no permission.
 */
export async function existsNow(db: Knex, table: string): Promise<boolean> {
  if (known.get().has(table)) return true
  if (!(await tableExists(db, table))) return false
  known.get().add(table)
  return true
}
