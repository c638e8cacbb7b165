import type { Knex } from 'knex'
import type { TestDatabase } from './databases.js'

/**
 * Returns the columns, keys, indexes and foreign keys of all tables of a database, as the database itself describes them. The marks of
 * tables that migrations created are left out.
 *
 * @param isIncluded chooses tables by name
 */
export async function describeTables(
  knex: Knex,
  dialect: TestDatabase['dialect'],
  isIncluded: (table: string) => boolean,
): Promise<Record<string, string[]>> {
  const described: Record<string, string[]> = {}
  for (const [table, line] of await lines[dialect](knex)) if (isIncluded(table)) described[table] = [...(described[table] ?? []), line]
  for (const list of Object.values(described)) list.sort()
  return described
}

type Line = readonly [table: string, line: string]

const lines: Record<TestDatabase['dialect'], (knex: Knex) => Promise<Line[]>> = {
  async sqlite(knex) {
    const rows = await knex.raw("select tbl_name, sql from sqlite_master where sql is not null and name not like 'objection_perms_%'")
    // One line for each column: a later migration adds columns at the end of the table.
    return (rows as { tbl_name: string; sql: string }[]).flatMap(({ tbl_name, sql }) =>
      sql.split(/, (?=`|constraint )|(?<=^CREATE TABLE `\w+` )\(|\)$/).map((line): Line => [tbl_name, line]),
    )
  },
  async mysql(knex) {
    const [tables] = await knex.raw('show tables')
    const described = (tables as object[]).map(async (row): Promise<Line[]> => {
      const name = String(Object.values(row)[0])
      const [[shown]] = await knex.raw('show create table ??', [name])
      return String(shown['Create Table'])
        .split('\n')
        .map((line) => [name, line.replace(/,$/, '').replace(/ COMMENT='[^']*'| AUTO_INCREMENT=\d+/g, '')])
    })
    return (await Promise.all(described)).flat()
  },
  async pg(knex) {
    const { rows } = await knex.raw(`
      select c.relname as table, format('%s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
          case when a.attnotnull then ' not null' else '' end,
          coalesce(' default ' || pg_get_expr(d.adbin, d.adrelid), case when a.attidentity <> '' then ' identity' end, '')) as line
        from pg_attribute a join pg_class c on c.oid = a.attrelid left join pg_attrdef d on d.adrelid = c.oid and d.adnum = a.attnum
        where c.relkind = 'r' and a.attnum > 0 and c.relnamespace::regnamespace::text not in ('pg_catalog', 'information_schema')
      union all select tablename, indexdef from pg_indexes where schemaname not in ('pg_catalog', 'information_schema')
      union all select conrelid::regclass::text, conname || ' ' || pg_get_constraintdef(oid) from pg_constraint where contype = 'f'`)
    return (rows as { table: string; line: string }[]).map(({ table, line }) => [table.replace(/^.*\.|"/g, ''), line])
  },
}
