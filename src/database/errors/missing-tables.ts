import { ConfigurationError, MissingTableError } from '../../core/errors.js'
import { modelSlot } from '../../runtime.js'

/** Returns whether a model declares a table, or a column of it. `table` is undefined if the driver does not name it. */
export type IsDeclared = (table: string | undefined, column: string | undefined) => boolean

/** How the tables of the library are made. The process that serves requests does not know which history has the migrations. */
export const RUN_MIGRATIONS =
  "Run `npx objection-perms migrate up`. Or run what it runs: `await perms.migrate()` before the server listens, or your own migrations if they contain the library's (permsMigrations())."

const libraryTables = modelSlot<readonly string[]>(() => [])

/** Sets the tables that `perms.migrate()` creates. */
export function registerLibraryTables(tables: readonly string[]): void {
  libraryTables.set(tables)
}

/** Returns whether `perms.migrate()` creates this table. A driver may put the schema before its name. */
export function isLibraryTable(table: string | undefined): boolean {
  return table !== undefined && [table, withoutSchema(table)].some((name) => libraryTables.get().includes(name))
}

/** Returns the error for a declared table that the database does not have. */
export function missingTable(table: string, options: { cause: unknown }): MissingTableError {
  const what = `The database has no table '${table}'.`
  if (!isLibraryTable(table))
    return new MissingTableError(table, `${what} Create it with a migration, or in tests with createTables(knex, [TheModel]).`, options)
  return new MissingTableError(withoutSchema(table), `${what} ${RUN_MIGRATIONS}`, options)
}

/** Returns the error for a declared column that the database does not have. */
export function missingColumn(table: string | undefined, column: string, options: { cause: unknown }): ConfigurationError {
  const what = `The database has no column '${column}'${table === undefined ? '' : ` in the table '${table}'`}, which a model declares.`
  const isOwn = table !== undefined && !isLibraryTable(table)
  return new ConfigurationError(
    isOwn ? `${what} Add it with a migration.` : `${what} ${RUN_MIGRATIONS} Add the columns of your own models with a migration.`,
    options,
  )
}

function withoutSchema(table: string): string {
  return table.slice(table.lastIndexOf('.') + 1)
}
