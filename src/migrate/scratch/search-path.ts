/** The schemas of PostgreSQL that an application's settings name. */
import type { Knex } from 'knex'
import { select } from '../../database/tables/existing-tables.js'

/**
 * Creates a schema for new tables if the search path names only schemas that do not exist, and the schema of Knex's own tables: in the
 * application's database, somebody created them before the first migration.
 */
export async function createSearchedSchemas(scratch: Knex): Promise<void> {
  const { searchPath, migrations } = (scratch.client as { config: Knex.Config }).config
  const names = [searchPath ?? []].flat().filter((name) => name !== '$user')
  const [[current] = []] = await select(scratch, 'select current_schema()', [])
  const missing = current === null && names[0] !== undefined ? [names[0]] : []
  for (const name of [...missing, migrations?.schemaName].filter((one) => one !== undefined))
    await scratch.raw('create schema if not exists ??', [name])
}
