/** Refuses to run the library's migrations in a second history. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { selectFrom, sentName, tableExists } from '../../database/tables/existing-tables.js'
import { TableRecord } from '../../database/tables/table-record.js'
import { libraryName, libraryTable, schemaOfTables } from '../../policy/registered-models.js'

/** A table in which Knex records the migrations that ran. */
export interface HistoryTable {
  readonly tableName: string
  readonly schemaName?: string
}

/** Returns the library's own history of migrations, for `perms.migrate()`. */
export function libraryHistory(): HistoryTable {
  const schema = schemaOfTables()
  return { tableName: libraryName('migrations', 'objection_perms_'), ...(schema === undefined ? {} : { schemaName: schema }) }
}

/** Returns which of these migrations a history has recorded. */
async function recordedIn(knex: Knex, { tableName, schemaName }: HistoryTable, names: readonly string[]): Promise<string[]> {
  if (!(await tableExists(knex, schemaName === undefined ? tableName : `${schemaName}.${tableName}`))) return []
  const history = schemaName === undefined ? knex(tableName) : knex(tableName).withSchema(schemaName)
  const rows: object[] = await history.whereIn('name', [...names]).select('name')
  return rows.map((row) => String(Object.values(row)[0]))
}

/**
 * Throws when a packaged migration that is about to run in a history of the application has run in the library's own one.
 *
 * @throws ConfigurationError
 */
export async function assertNotMigratedAlone(knex: Knex, name: string): Promise<void> {
  const own = libraryHistory()
  if ((await recordedIn(knex, own, [name])).length === 0) return
  throw new ConfigurationError(
    `The migration '${name}' of the library has already run in the history '${own.tableName}', with perms.migrate(). One database has one of the two: ` +
      'keep perms.migrate(), and remove permsMigrations() from the migrations of the application.',
  )
}

/**
 * Throws when `perms.migrate()` would run the packaged migrations again: they have run in the application's history, or the library
 * created the tables of these models with another prefix.
 *
 * @param names the packaged migrations
 * @param tables the tables that they create
 * @throws ConfigurationError
 */
export async function assertOnlyHistory(knex: Knex, names: readonly string[], tables: readonly string[]): Promise<void> {
  const own = libraryHistory()
  const application = applicationHistory(knex)
  if (application.tableName !== own.tableName && (await recordedIn(knex, application, names)).length > 0) {
    throw new ConfigurationError(
      `The migrations of the library have already run in the history '${application.tableName}', through permsMigrations(). ` +
        'Run `knex.migrate.latest()` instead of perms.migrate().',
    )
  }
  if ((await recordedIn(knex, own, names)).length > 0) return
  const marked = await new TableRecord(knex, libraryTable('tables')).markedOf(tables)
  if (marked.length === 0) return
  for (const tableName of await tablesNamedMigrations(knex)) {
    if (tableName === own.tableName || (await recordedIn(knex, { tableName }, names)).length === 0) continue
    const prefix = tableName.replace(/migrations$/, '')
    throw new ConfigurationError(
      `The library created the table '${marked[0]}' by migrations of the history '${tableName}', but the options of initPerms() name the history '${own.tableName}'. ` +
        `Use the earlier options: ${prefix === 'objection_perms_' ? 'no tables.prefix' : `initPerms({ tables: { prefix: '${prefix}' } })`}.`,
    )
  }
}

function applicationHistory(knex: Knex): HistoryTable {
  const { migrations = {} } = (knex.client as { config: Knex.Config }).config
  const { tableName = 'knex_migrations', schemaName } = migrations
  return { tableName, ...(schemaName === undefined ? {} : { schemaName }) }
}

async function tablesNamedMigrations(knex: Knex): Promise<string[]> {
  const { schema } = sentName(knex, libraryTable('tables'))
  const rows = await selectFrom(knex, {
    pg: [
      `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind = 'r' and c.relname like '%migrations'
        and n.nspname = coalesce(?, current_schema())`,
      [schema ?? null],
    ],
    mysql: [
      "select table_name from information_schema.tables where table_schema = coalesce(?, database()) and table_name like '%migrations'",
      [schema ?? null],
    ],
    sqlite: ["select name from sqlite_master where type = 'table' and name like '%migrations'", []],
  })
  return rows.map(([name]) => String(name)).sort()
}
