import type { Knex } from 'knex'
import type { Dialect } from './releases.js'

/** Rows by table, in the order of their keys. */
export type Rows = ReadonlyMap<string, readonly Record<string, unknown>[]>

const queries = {
  sqlite: "select name as name from sqlite_master where type = 'table' and name not like 'sqlite_%'",
  pg: "select table_name as name from information_schema.tables where table_schema = 'public'",
  mysql: 'select table_name as name from information_schema.tables where table_schema = database()',
}

/** Reads every table of a database except the history of migrations. */
export async function readAllRows(knex: Knex, dialect: Dialect): Promise<Rows> {
  const answer = await knex.raw(queries[dialect])
  const rows = (dialect === 'pg' ? answer.rows : dialect === 'mysql' ? answer[0] : answer) as { name: string }[]
  return await readRows(
    knex,
    rows.map(({ name }) => name).filter((name) => !name.startsWith('objection_perms_migrations')),
  )
}

/** Reads the named tables. */
export async function readRows(knex: Knex, tables: Iterable<string>): Promise<Rows> {
  const keyOf = (row: Record<string, unknown>) => String(row['id'] ?? row['key'] ?? JSON.stringify(row))
  const read = async (table: string) => {
    const rows = (await knex(table).select('*')) as Record<string, unknown>[]
    return [table, rows.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1))] as const
  }
  return new Map(await Promise.all([...tables].map(read)))
}
