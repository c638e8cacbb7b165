/** Reads the catalogue of MariaDB. */
import type { Knex } from 'knex'
import { select } from '../tables/existing-tables.js'
import { valueCheck } from './check-values.js'
import { declaredIn } from './create-table.js'
import { actionNamed, at, byName, grouped, isSet, type Row, sortedBy, type TablesToRead, textRows } from './rows.js'
import type { CheckSchema, ColumnSchema, ForeignKeySchema, IndexSchema, TableSchema } from './schema-types.js'

/** Returns the tables. @throws the driver's error */
export async function readMariadb(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  return await eachDatabase(toRead, async (place) => {
    const byTable = async (sql: string) => grouped(await read(knex, place, sql), (row) => at(row, 0))
    const columns = await byTable(columnsSql(whereOf(place, 't')))
    const indexes = await byTable(indexesSql(whereOf(place, 's')))
    const foreignKeys = await byTable(foreignKeysSql(whereOf(place, 'r', 'constraint')))
    const checks = await byTable(checksSql(whereOf(place, 'c', 'constraint')))
    const fullName = (table: string) => (place.schema === undefined ? table : `${place.schema}.${table}`)
    for (const [table, rows] of checks) checks.set(table, await withAllCharacters(knex, fullName(table), rows))
    return [...columns].map(([table, rows]) =>
      tableOf({
        columns: rows,
        indexes: indexes.get(table) ?? [],
        foreignKeys: foreignKeys.get(table) ?? [],
        checks: checks.get(table) ?? [],
      }),
    )
  })
}

/** Returns the tables with their columns only, in one statement for each database. @throws the driver's error */
export async function readMariadbColumns(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  return await eachDatabase(toRead, async (place) => {
    const columns = grouped(await read(knex, place, columnsSql(whereOf(place, 't'))), (row) => at(row, 0))
    return [...columns.values()].map((rows) => tableOf({ columns: rows, indexes: [], foreignKeys: [], checks: [] }))
  })
}

/** The tables to read in a database of the server: the connection's, unless `schema` names it. */
interface Place {
  readonly schema: string | undefined
  readonly names: readonly string[] | undefined
}

// The catalogue is fast only for one database at a time.
async function eachDatabase(
  { tables, schema }: TablesToRead,
  readTables: (place: Place) => Promise<TableSchema[]>,
): Promise<TableSchema[]> {
  if (!tables) return await readTables({ schema, names: undefined })
  const found: TableSchema[] = []
  for (const list of grouped(tables, (table) => table.schema ?? '').values())
    found.push(...(await readTables({ schema: list[0]?.schema, names: list.map(({ name }) => name) })))
  return found
}

async function read(knex: Knex, { schema, names }: Place, sql: string): Promise<Row[]> {
  return textRows(await select(knex, sql, [schema ?? null, ...(names ?? [])]))
}

function whereOf({ names }: Place, alias: string, column = 'table'): string {
  const isOfDatabase = `${alias}.${column}_schema = coalesce(?, database())`
  return names ? `${isOfDatabase} and ${alias}.table_name in (${names.map(() => '?').join(', ')})` : isOfDatabase
}

// The catalogue writes a question mark for each byte of a character outside of the Basic Multilingual Plane.
async function withAllCharacters(knex: Knex, table: string, checks: readonly Row[]): Promise<Row[]> {
  if (!checks.some((row) => at(row, 3).includes('?'))) return [...checks]
  const [[created]] = (await knex.raw(`show create table ${table.split('.').map(identifier).join('.')}`)) as [object[]]
  const declared = declaredIn(String(Object.values(created ?? {})[1]), 'mysql').checks
  return checks.map(([name = null, constraint = null, level = null, clause = null]) => [
    ...[name, constraint, level],
    declared.find((check) => check.name === constraint)?.sql ?? clause,
  ])
}

const nameOf = (schema: string, table: string): string => `if(${schema} = database(), ${table}, concat(${schema}, '.', ${table}))`

const columnsSql = (where: string): string => `
  select t.table_name as a, ${nameOf('t.table_schema', 't.table_name')} as b, t.table_type as c, c.ordinal_position as d,
    c.column_name as e, c.column_type as f, if(c.is_nullable = 'YES', 1, 0) as g, c.column_default as h, c.extra as i,
    c.generation_expression as j, if(c.collation_name = t.table_collation, null, c.collation_name) as k
  from information_schema.tables t
  left join information_schema.columns c on c.table_schema = t.table_schema and c.table_name = t.table_name
  where t.table_type <> 'SEQUENCE' and ${where}`

const indexesSql = (where: string): string => `
  select s.table_name as a, s.index_name as b, if(s.non_unique = 0, 1, 0) as c, s.seq_in_index as d, s.column_name as e,
    s.sub_part as f, s.index_type as g, s.collation as h
  from information_schema.statistics s where ${where}`

const foreignKeysSql = (where: string): string => `
  select r.table_name as a, r.constraint_name as b, ${nameOf('k.referenced_table_schema', 'k.referenced_table_name')} as c,
    r.delete_rule as d, r.update_rule as e, k.ordinal_position as f, k.column_name as g, k.referenced_column_name as h
  from information_schema.referential_constraints r
  join information_schema.key_column_usage k on k.constraint_schema = r.constraint_schema and k.constraint_name = r.constraint_name
    and k.table_name = r.table_name and k.table_schema = r.constraint_schema
  where ${where}`

const checksSql = (where: string): string => `
  select c.table_name as a, c.constraint_name as b, c.level as c, c.check_clause as d
  from information_schema.check_constraints c where ${where}`

interface Rows {
  readonly columns: readonly Row[]
  readonly indexes: readonly Row[]
  readonly foreignKeys: readonly Row[]
  readonly checks: readonly Row[]
}

function tableOf(rows: Rows): TableSchema {
  const [first] = rows.columns
  const name = at(first, 1)
  const json = new Set(rows.checks.filter(isJsonCheck).map((row) => at(row, 1).toLowerCase()))
  const columns = sortedBy(
    rows.columns.filter((row) => row[3] !== null),
    3,
  ).map((row) => columnOf(row, json))
  const { PRIMARY: key = [], ...indexes } = Object.fromEntries(grouped(sortedBy(rows.indexes, 3), (row) => at(row, 1)))
  const foreignKeys = [...grouped(sortedBy(rows.foreignKeys, 5), (row) => at(row, 1)).values()]
  return {
    name,
    ...(at(first, 2).endsWith('VIEW') ? { isView: true } : {}),
    columns: new Map(columns.map((column) => [column.name, column])),
    primaryKey: key.map((row) => at(row, 4)),
    primaryKeyName: key.length > 0 ? 'PRIMARY' : undefined,
    indexes: byName(Object.values(indexes).map((list) => indexOf(list, name))),
    foreignKeys: byName(foreignKeys.map(foreignKeyOf)),
    checks: rows.checks.filter((row) => at(row, 2) === 'Table').map(checkOf),
  }
}

// MariaDB's type json is longtext with this check.
function isJsonCheck(row: Row): boolean {
  return at(row, 2) === 'Column' && /^json_valid\(/i.test(at(row, 3))
}

function columnOf(row: Row, json: ReadonlySet<string>): ColumnSchema {
  const name = at(row, 4)
  const [value, extra, computed] = [row[7] ?? 'NULL', at(row, 8).toLowerCase(), row[9] ?? '']
  const isGenerated = extra.includes('auto_increment')
  const onUpdate = /on update \S+/.exec(extra)?.[0]
  // The clause ON UPDATE follows the default in DDL too.
  const expression = [value === 'NULL' ? (onUpdate === undefined ? undefined : 'NULL') : value, onUpdate]
    .filter((part) => part !== undefined)
    .join(' ')
  const isJson = json.has(name.toLowerCase())
  return {
    name,
    type: isJson ? 'json' : at(row, 5),
    isNullable: isSet(row, 6),
    ...(expression !== '' && computed === '' && !isGenerated ? { default: expression } : {}),
    ...(isGenerated ? { isGenerated } : {}),
    ...(computed === '' ? {} : { computed }),
    ...(isJson || row[10] === null ? {} : { collation: at(row, 10) }),
  }
}

const identifier = (name: string): string => `\`${name.replaceAll('`', '``')}\``

function indexOf(rows: readonly Row[], table: string): IndexSchema {
  const [first] = rows
  const [name, isUnique, method] = [at(first, 1), isSet(first, 2), at(first, 6)]
  const columns = rows.map((row) => at(row, 4))
  // A unique index on long text is a hash.
  const isPartial = rows.some((row) => row[5] !== null) || (method !== 'BTREE' && method !== 'HASH')
  const isSpecial = isPartial || rows.some((row) => at(row, 7) === 'D')
  const parts = rows.map(
    (row) => `${identifier(at(row, 4))}${row[5] === null ? '' : `(${at(row, 5)})`}${at(row, 7) === 'D' ? ' desc' : ''}`,
  )
  const kind = method === 'FULLTEXT' || method === 'SPATIAL' ? `${method.toLowerCase()} ` : isUnique ? 'unique ' : ''
  const sql = `create ${kind}index ${identifier(name)} on ${table.split('.').map(identifier).join('.')} (${parts.join(', ')})`
  return {
    name,
    columns,
    isUnique,
    ...(isUnique ? { isConstraint: true } : {}),
    ...(isSpecial ? { sql } : {}),
    ...(isPartial ? { isPartial: true } : {}),
  }
}

function foreignKeyOf(rows: readonly Row[]): ForeignKeySchema {
  const [first] = rows
  // RESTRICT is the same as NO ACTION, and the default.
  const action = (position: number) => {
    const name = actionNamed(at(first, position))
    return name === 'restrict' ? undefined : name
  }
  const [onDelete, onUpdate] = [action(3), action(4)]
  return {
    name: at(first, 1),
    columns: rows.map((row) => at(row, 6)),
    table: at(first, 2),
    targetColumns: rows.map((row) => at(row, 7)),
    ...(onDelete ? { onDelete } : {}),
    ...(onUpdate ? { onUpdate } : {}),
  }
}

function checkOf(row: Row): CheckSchema {
  const sql = at(row, 3)
  return { name: at(row, 1), sql, ...valueCheck(sql, true) }
}
