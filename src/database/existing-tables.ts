/** Reads which tables, columns and foreign keys a database has. */
import type { Knex } from 'knex'
import { dialectOf } from '../schema/storage.js'

/** Returns whether a table exists. On PostgreSQL it is looked up like in a query: in each schema of `search_path`. */
export async function tableExists(knex: Knex, table: string): Promise<boolean> {
  const dialect = dialectOf(knex)
  if (dialect === 'pg') {
    const name = knex.raw('??', [table]).toSQL().sql
    const { rows } = (await knex.raw('select to_regclass(?) as found', [name])) as { rows: object[] }
    // Read by position, since knexSnakeCaseMappers() may rename the column of the result.
    return Object.values(rows[0] ?? {})[0] !== null
  }
  const dot = table.lastIndexOf('.')
  if (dot < 0 || dialect === 'sqlite') return await knex.schema.hasTable(table)
  return await knex.schema.withSchema(table.slice(0, dot)).hasTable(table.slice(dot + 1))
}

/** Returns those of these columns that an existing table does not have. */
export async function missingColumnsOf(knex: Knex, table: string, columns: readonly string[]): Promise<string[]> {
  // A query of no rows reads the table like every other query, whatever its schema and the settings of Knex.
  const missing: string[] = []
  for (const column of columns) {
    if (!(await hasColumn(knex, table, column))) missing.push(column)
  }
  return missing
}

async function hasColumn(knex: Knex, table: string, column: string): Promise<boolean> {
  const dialect = dialectOf(knex)
  if (dialect === 'pg') {
    const name = knex.raw('??', [table]).toSQL().sql
    const quoted = knex.raw('??', [column]).toSQL().sql
    const sent = quoted.slice(1, -1)
    const sql = 'select 1 from pg_attribute where attrelid = to_regclass(?) and attname = ? and attnum > 0 and not attisdropped'
    return ((await knex.raw(sql, [name, sent])) as { rows: object[] }).rows.length > 0
  }
  const dot = table.lastIndexOf('.')
  if (dot < 0 || dialect === 'sqlite') return await knex.schema.hasColumn(table, column)
  return await knex.schema.withSchema(table.slice(0, dot)).hasColumn(table.slice(dot + 1), column)
}

/**
 * Returns the SQL type of an existing column of integers on MariaDB, which refuses a foreign key between `int` and the
 * `int unsigned` of Knex's increments(). Returns undefined on other databases and for other columns.
 */
export async function integerTypeOf(knex: Knex, table: string, column: string): Promise<string | undefined> {
  if (dialectOf(knex) !== 'mysql') return undefined
  const dot = table.lastIndexOf('.')
  const sql = `select column_type from information_schema.columns
    where table_schema = coalesce(?, database()) and table_name = ? and column_name = ?`
  const [[row]] = (await knex.raw(sql, [dot < 0 ? null : table.slice(0, dot), table.slice(dot + 1), column])) as [object[]]
  const [type] = Object.values(row ?? {})
  return typeof type === 'string' && /^(?:big)?int\b/.test(type) ? type : undefined
}

/** A foreign key: the table that has it, and the table that it refers to. */
interface ForeignKey {
  readonly from: string
  readonly to: string
}

/**
 * Returns the names of tables, other than these, that have a foreign key to one of these tables.
 *
 * @example await tablesReferringTo(knex, ['user', 'token']) // ['document']
 */
export async function tablesReferringTo(knex: Knex, tables: readonly string[]): Promise<string[]> {
  const names = new Set(tables.map((table) => bare(table).toLowerCase()))
  const isListed = (table: string) => names.has(bare(table).toLowerCase())
  const found = (await foreignKeys(knex)).filter(({ from, to }) => isListed(to) && !isListed(from))
  return [...new Set(found.map(({ from }) => from))].sort()
}

const bare = (table: string): string => table.slice(table.lastIndexOf('.') + 1)

async function foreignKeys(knex: Knex): Promise<ForeignKey[]> {
  const dialect = dialectOf(knex)
  const pairs = (rows: readonly object[]) =>
    rows.map((row) => Object.values(row) as [string, string]).map(([from, to]) => ({ from, to: String(to) }))
  if (dialect === 'pg') {
    const sql = `select f.relname, t.relname as target from pg_constraint c join pg_class f on f.oid = c.conrelid
      join pg_class t on t.oid = c.confrelid where c.contype = 'f' and pg_table_is_visible(t.oid)`
    return pairs(((await knex.raw(sql)) as { rows: object[] }).rows)
  }
  if (dialect === 'mysql') {
    const sql = `select table_name, referenced_table_name as target from information_schema.referential_constraints
      where unique_constraint_schema = database()`
    return pairs(((await knex.raw(sql)) as [object[]])[0])
  }
  const sql = `select m.name, f."table" as target from sqlite_master m join pragma_foreign_key_list(m.name) f where m.type = 'table'`
  return pairs((await knex.raw(sql)) as object[])
}
