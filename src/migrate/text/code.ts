/** Pieces of the code of a migration. */
import type { Dialect } from '../../schema/storage.js'
import { codeString, inComment } from './literals.js'
import type { Naming } from './names.js'

/** Statements of code that belong together, with the comment above them. */
export interface Block {
  readonly comments?: readonly string[]
  readonly lines: readonly string[]
  /** Whether the lines stand in a comment. */
  readonly isDisabled?: boolean | undefined
}

/** The settings that the code of a step depends on. */
export interface CodeContext {
  readonly dialect: Dialect
  readonly naming: Naming
  /** The name of the Knex instance or transaction in the code. */
  readonly knex: string
  /** The library's tables. `perms.migrate()` may have created their columns already. */
  readonly libraryTables: ReadonlySet<string>
  readonly isDown: boolean
}

/** Returns the call that sends SQL. */
export const rawLine = ({ knex }: CodeContext, sql: string): string => `await ${knex}.raw(${codeString(sql)})`

/** Returns lines inside a condition. */
export function inside(condition: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : [`if (${condition}) {`, ...lines.map(indented), '}']
}

/** Indents a line of code by one level. */
export const indented = (line: string): string => (line === '' ? line : `  ${line}`)

/**
 * Returns whether the steps of a table may have been made before: on MariaDB by a run that stopped, and on tables of the library by
 * `perms.migrate()`, which creates them from the present models.
 */
export function isRepeatable(table: string, { dialect, libraryTables }: CodeContext): boolean {
  return dialect === 'mysql' || libraryTables.has(table)
}

/** Returns the call that tells whether a table has a column. On PostgreSQL, Knex takes the name in the database. */
export function hasColumn(table: string, column: string, { knex }: CodeContext): string {
  const [name, schema] = table.split('.').reverse() as [string, string | undefined]
  return `${knex}.schema${schema === undefined ? '' : `.withSchema(${codeString(schema)})`}.hasColumn(${codeString(name)}, ${codeString(column)})`
}

/**
 * Returns the lines of a rename that may have been made before. A new database has the new column from the present models, and the old
 * one from an earlier migration: the old one goes, if no row has a value in it.
 *
 * @param rename the lines that rename the column
 * @param drop the lines that drop the old one
 */
export function renameLines(
  { table, from, to }: { readonly table: string; readonly from: string; readonly to: string },
  { rename, drop }: { readonly rename: readonly string[]; readonly drop: readonly string[] },
  context: CodeContext,
): string[] {
  if (!context.libraryTables.has(table)) return inside(`await ${hasColumn(table, from, context)}`, rename)
  const [tableName, column] = [context.naming.tableCode(table), context.naming.code(from)]
  const rows = `${context.knex}(${tableName ?? codeString(table)}).whereNotNull(${column ?? codeString(from)})`
  const message = `${inComment(table)} has values in ${inComment(from)}, which is to be renamed, although ${inComment(to)} exists. Drop one of the two columns.`
  return inside(`await ${hasColumn(table, from, context)}`, [
    `if (!(await ${hasColumn(table, to, context)})) {`,
    ...rename.map(indented),
    `} else if (await ${rows}.first()) {`,
    `  throw new Error(${codeString(message)})`,
    '} else {',
    ...drop.map(indented),
    '}',
  ])
}
