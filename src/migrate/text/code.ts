/** Pieces of the code of a migration. */
import type { Dialect } from '../../schema/storage.js'
import { codeString } from './literals.js'
import type { Naming } from './names.js'

/** Statements of code that belong together, with the comment above them. */
export interface Block {
  readonly comments?: readonly string[]
  readonly lines: readonly string[]
  /** Whether the lines stand in a comment. */
  readonly isDisabled?: boolean | undefined
}

/** What the code of a step depends on. */
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
