/** Reads tables, columns, keys, indexes, foreign keys and checks from the catalogue of a database. */
import type { Knex } from 'knex'
import { type Dialect, dialectOf } from '../../schema/storage.js'
import { sentName } from '../tables/existing-tables.js'
import { readMariadb, readMariadbColumns } from './read-mariadb.js'
import { readPostgres, readPostgresColumns } from './read-postgres.js'
import { readSqlite, readSqliteColumns } from './read-sqlite.js'
import type { TablesToRead } from './rows.js'
import type { DatabaseSchema, TableSchema } from './schema-types.js'

/** Which tables to read. */
export interface ReadOptions {
  /** The tables as models name them: 'userRole' or 'auth.user'. Tables that do not exist are left out. @defaultValue all of them */
  readonly tables?: readonly string[] | undefined
  /** The schema to read all tables of. @defaultValue those that queries search */
  readonly schema?: string | undefined
}

/**
 * Reads the tables of a database. A name has a schema only if queries need it.
 *
 * @param knex an instance or a transaction
 * @returns the tables by their names in the database
 * @throws the driver's error
 * @example (await readSchema(knex, { tables: ['user'] })).tables.get('user')?.columns.get('email')?.type // 'character varying(254)'
 */
export async function readSchema(knex: Knex, options: ReadOptions = {}): Promise<DatabaseSchema> {
  return await readWith({ pg: readPostgres, mysql: readMariadb, sqlite: readSqlite }, knex, options)
}

/**
 * Reads the columns of tables, in one statement for each database of the server. Keys, indexes and checks are missing in the result.
 *
 * @throws the driver's error
 */
export async function readColumns(knex: Knex, options: ReadOptions = {}): Promise<DatabaseSchema> {
  return await readWith({ pg: readPostgresColumns, mysql: readMariadbColumns, sqlite: readSqliteColumns }, knex, options)
}

type Read = (knex: Knex, toRead: TablesToRead) => Promise<TableSchema[]>

async function readWith(read: Readonly<Record<Dialect, Read>>, knex: Knex, { tables, schema }: ReadOptions): Promise<DatabaseSchema> {
  const dialect = dialectOf(knex)
  const toRead = {
    tables: tables && [...new Set(tables)].map((table) => sentName(knex, table)),
    schema: schema === undefined ? undefined : sentName(knex, schema).name,
  }
  const found = toRead.tables?.length === 0 ? [] : await read[dialect](knex, toRead)
  const sorted = [...found].sort((one, other) => (one.name < other.name ? -1 : 1))
  return { dialect, tables: new Map(sorted.map((table) => [table.name, table])) }
}
