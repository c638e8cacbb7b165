/** Reads which tables, columns and foreign keys a database has. Names are looked up as Knex sends them, after its own mappings. */
import type { Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { type Dialect, dialectOf } from '../../schema/storage.js'

/**
 * Creates a schema on PostgreSQL if it does not exist. On MariaDB a schema is a database, which must exist already.
 *
 * @throws ConfigurationError on MariaDB when the database does not exist
 */
export async function createSchema(knex: Knex, schema: string | undefined): Promise<void> {
  if (schema === undefined) return
  const { sql, name } = sentName(knex, schema)
  // Look first: CREATE SCHEMA needs the CREATE privilege even with IF NOT EXISTS.
  const rows = await selectFrom(knex, {
    pg: ['select 1 from pg_namespace where nspname = ?', [name]],
    mysql: ['select 1 from information_schema.schemata where schema_name = ?', [name]],
    sqlite: ['select 1', []],
  })
  if (rows.length > 0) return
  if (dialectOf(knex) === 'pg') await knex.raw(`create schema if not exists ${sql}`)
  else throw new ConfigurationError(`initPerms({ tables: { schema: '${schema}' } }): there is no database '${name}'. Create it first.`)
}

/** Returns whether a table exists. PostgreSQL looks it up as in a query: in each schema of `search_path`. */
export async function tableExists(knex: Knex, table: string): Promise<boolean> {
  return (await existingTables(knex, [table])).length > 0
}

/** Returns those of the given tables that exist, by one statement. */
export async function existingTables(knex: Knex, tables: readonly string[]): Promise<string[]> {
  return await tablesWith(knex, tables, (row, { sql, schema, name }) => ({
    pg: [`select ${row} where to_regclass(?) is not null`, [sql]],
    mysql: [
      `select ${row} from information_schema.tables where table_schema = coalesce(?, database()) and table_name = ?`,
      [schema ?? null, name],
    ],
    sqlite: [`select ${row} from ${schemaOf(schema)}sqlite_master where type = 'table' and lower(name) = lower(?)`, [name]],
  }))
}

/**
 * Returns those of the given tables for which a query has a row, by one statement.
 *
 * @param queryOf returns the query for a table, which selects the number `row`
 */
export async function tablesWith(
  knex: Knex,
  tables: readonly string[],
  queryOf: (row: number, sent: SentName) => Readonly<Record<Dialect, Query>>,
): Promise<string[]> {
  if (tables.length === 0) return []
  const queries = tables.map((table, row) => queryOf(row, sentName(knex, table))[dialectOf(knex)])
  const rows = await select(
    knex,
    queries.map(([sql]) => sql).join(' union all '),
    queries.flatMap(([, bindings]) => bindings),
  )
  const found = new Set(rows.map(([row]) => Number(row)))
  return tables.filter((_, row) => found.has(row))
}

/** Returns the columns of this list that an existing table lacks. */
export async function missingColumnsOf(knex: Knex, table: string, columns: readonly string[]): Promise<string[]> {
  const { sql, schema, name } = sentName(knex, table)
  const rows = await selectFrom(knex, {
    pg: ['select attname from pg_attribute where attrelid = to_regclass(?) and attnum > 0 and not attisdropped', [sql]],
    mysql: [
      'select column_name from information_schema.columns where table_schema = coalesce(?, database()) and table_name = ?',
      [schema ?? null, name],
    ],
    sqlite: ['select name from pragma_table_info(?, ?)', [name, schema ?? 'main']],
  })
  // The other databases ignore the case of column names.
  const spelled = dialectOf(knex) === 'pg' ? (column: string) => column : (column: string) => column.toLowerCase()
  const existing = new Set(rows.map(([column]) => spelled(String(column))))
  return columns.filter((column) => !existing.has(spelled(sentName(knex, column).name)))
}

/**
 * Returns the SQL type of an existing integer column on MariaDB, and undefined on other databases and for other columns. A foreign
 * key needs the same type: MariaDB rejects `int` for a reference to `int unsigned`, the type of Knex's increments().
 */
export async function integerTypeOf(knex: Knex, table: string, column: string): Promise<string | undefined> {
  if (dialectOf(knex) !== 'mysql') return undefined
  const { schema, name } = sentName(knex, table)
  const sql = `select column_type from information_schema.columns
    where table_schema = coalesce(?, database()) and table_name = ? and column_name = ?`
  const [[type] = []] = await select(knex, sql, [schema ?? null, name, sentName(knex, column).name])
  return typeof type === 'string' && /^(?:big)?int\b/.test(type) ? type : undefined
}

/**
 * Returns the names of the other tables that have a foreign key to one of the given tables.
 *
 * @example await tablesReferringTo(knex, ['user', 'token']) // ['document']
 */
export async function tablesReferringTo(knex: Knex, tables: readonly string[]): Promise<string[]> {
  if (tables.length === 0) return []
  const sent = tables.map((table) => sentName(knex, table))
  const list = (placeholder: string) => sent.map(() => placeholder).join(', ')
  const names = sent.map(({ name }) => name.toLowerCase())
  const places = sent.flatMap(({ schema, name }) => [schema ?? null, name])
  const regclasses = sent.map(({ sql }) => sql)
  const rows = await selectFrom(knex, {
    // A table that does not exist is NULL, for which `not in` would never be true.
    pg: [
      `select distinct conrelid::regclass::text from pg_constraint where contype = 'f'
        and confrelid in (${list('to_regclass(?)')}) and (conrelid in (${list('to_regclass(?)')})) is not true`,
      [...regclasses, ...regclasses],
    ],
    mysql: [
      `select distinct if(constraint_schema = database(), table_name, concat(constraint_schema, '.', table_name))
        from information_schema.referential_constraints
        where (unique_constraint_schema, referenced_table_name) in (${list('(coalesce(?, database()), ?)')})
        and (constraint_schema, table_name) not in (${list('(coalesce(?, database()), ?)')})`,
      [...places, ...places],
    ],
    sqlite: [
      `select distinct m.name from sqlite_master m join pragma_foreign_key_list(m.name) f
        where m.type = 'table' and lower(f."table") in (${list('?')}) and lower(m.name) not in (${list('?')})`,
      [...names, ...names],
    ],
  })
  return rows.map(([name]) => String(name)).sort()
}

/** A name as Knex sends it: as SQL with quotes, and its parts without quotes. */
export interface SentName {
  readonly sql: string
  readonly schema: string | undefined
  readonly name: string
}

/** Returns a table or column as Knex sends it, after wrapIdentifier() of its configuration. */
export function sentName(knex: Knex, name: string): SentName {
  const { sql } = knex.raw('??', [name]).toSQL()
  const parts = sql.split('.').map((part) => part.replace(/^["`]|["`]$/g, ''))
  return { sql, schema: parts.length > 1 ? parts.slice(0, -1).join('.') : undefined, name: parts.at(-1) as string }
}

const schemaOf = (schema: string | undefined): string => (schema === undefined ? '' : `"${schema}".`)

/** A query and its bindings. */
export type Query = readonly [sql: string, bindings: readonly Knex.RawBinding[]]

/** Runs the query of the database's dialect. @returns the values of each row */
export async function selectFrom(knex: Knex, queries: Readonly<Record<Dialect, Query>>): Promise<unknown[][]> {
  return await select(knex, ...queries[dialectOf(knex)])
}

/**
 * Runs a query. It is sent as a subquery, because Knex's builder returns an array of rows on each driver. The result of a raw query is
 * an object on PostgreSQL, whose keys the application's postProcessResponse() may rename.
 *
 * @returns the values of each row, because postProcessResponse() may rename the columns of a result
 */
export async function select(knex: Knex, sql: string, bindings: readonly Knex.RawBinding[]): Promise<unknown[][]> {
  const rows: object[] = await knex.select('*').from(knex.raw(`(${sql}) as perms_rows`, [...bindings]))
  return rows.map((row) => Object.values(row))
}

/**
 * Returns whether a unique index on this column alone covers all rows of a table. On PostgreSQL, an index on an expression of the
 * column counts too.
 */
export async function hasUniqueIndex(knex: Knex, table: string, column: string): Promise<boolean> {
  const { sql, schema, name } = sentName(knex, table)
  const rows = await selectFrom(knex, {
    pg: [
      `select 1 from pg_index i where i.indrelid = to_regclass(?) and i.indisunique and i.indpred is null and i.indnkeyatts = 1
        and (exists (select 1 from pg_attribute a where a.attrelid = i.indrelid and a.attnum = i.indkey[0] and a.attname = ?)
        or strpos(coalesce(pg_get_expr(i.indexprs, i.indrelid), ''), ?) > 0)`,
      [sql, column, column],
    ],
    mysql: [
      `select index_name from information_schema.statistics where table_schema = coalesce(?, database()) and table_name = ?
        and non_unique = 0 group by index_name having count(*) = 1 and max(column_name) = ?`,
      [schema ?? null, name, column],
    ],
    sqlite: [
      `select 1 from pragma_index_list(?) l where l."unique" = 1 and l.partial = 0
        and (select group_concat(coalesce(c.name, '')) from pragma_index_info(l.name) c) = ?`,
      [name, column],
    ],
  })
  return rows.length > 0
}
