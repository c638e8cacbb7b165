/** Reads the catalogue of SQLite. */
import type { Knex } from 'knex'
import { select } from '../tables/existing-tables.js'
import { valueCheck } from './check-values.js'
import { type DeclaredTable, declaredIn } from './create-table.js'
import { actionNamed, at, byName, grouped, isSet, type Row, sortedBy, type TablesToRead, textRows } from './rows.js'
import type { CheckSchema, ColumnSchema, ForeignKeySchema, IndexSchema, TableSchema } from './schema-types.js'

/** Returns the tables. @throws the driver's error */
export async function readSqlite(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  return await eachDatabase(toRead, async (place) => {
    const byTable = async (sql: string, places: number) => grouped(await read(knex, place, sql, places), (row) => at(row, 0))
    const isTable = `${isOrdinary} and ${place.where}`
    const columns = await byTable(columnsSql(place), 1)
    const indexes = await byTable(indexesSql(place.master, isTable), 1)
    const foreignKeys = await byTable(foreignKeysSql(place.master, isTable), 2)
    return [...columns].map(([name, rows]) => tableOf(place, rows, indexes.get(name) ?? [], foreignKeys.get(name) ?? []))
  })
}

/** Returns the tables with their columns only, in one statement for each attached database. @throws the driver's error */
export async function readSqliteColumns(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  return await eachDatabase(toRead, async (place) => {
    const columns = grouped(await read(knex, place, columnsSql(place), 1), (row) => at(row, 0))
    return [...columns.values()].map((rows) => tableOf(place, rows, [], []))
  })
}

/** The tables to read in an attached database, or in the main one. */
interface Place {
  readonly schema: string | undefined
  readonly master: string
  readonly where: string
  readonly names: readonly string[]
}

async function eachDatabase(
  { tables, schema }: TablesToRead,
  readTables: (place: Place) => Promise<TableSchema[]>,
): Promise<TableSchema[]> {
  if (!tables) return await readTables(placeOf(schema, undefined))
  const found: TableSchema[] = []
  for (const list of grouped(tables, (table) => table.schema ?? '').values()) {
    const names = list.map(({ name }) => name)
    found.push(...(await readTables(placeOf(list[0]?.schema, names))))
  }
  return found
}

function placeOf(schema: string | undefined, names: readonly string[] | undefined): Place {
  const master = `"${(schema ?? 'main').replaceAll('"', '""')}".sqlite_master`
  const where = names ? `lower(m.name) in (${names.map(() => 'lower(?)').join(', ')})` : `m.name not like 'sqlite\\_%' escape '\\'`
  return { schema, master, where, names: names ?? [] }
}

async function read(knex: Knex, { schema = 'main', names }: Place, sql: string, places: number): Promise<Row[]> {
  return textRows(await select(knex, sql, [...Array<string>(places).fill(schema), ...names]))
}

// The pragmas fail for a view over a table that does not exist, and for a virtual table whose module is not loaded.
const isOrdinary = "m.type = 'table' and m.sql not like 'create virtual%'"

const columnsSql = ({ master, where }: Place): string => `
  select m.name as a, x.cid as b, x.name as c, x.type as d, x."notnull" as e, x.dflt_value as f, x.pk as g, x.hidden as h,
    case when coalesce(x.cid, 0) = 0 then m.sql end as i, m.type as j
  from ${master} m left join pragma_table_xinfo(case when ${isOrdinary} then m.name end, ?) x where m.type in ('table', 'view') and ${where}`

const indexesSql = (master: string, where: string): string => `
  select m.name as a, l.name as b, l."unique" as c, l.origin as d, l.partial as e, x.seqno as f, x.cid as g, x.name as h, x."desc" as i,
    (select i.sql from ${master} i where i.type = 'index' and i.name = l.name) as j
  from ${master} m join pragma_index_list(m.name, ?) l join pragma_index_xinfo(l.name) x where x.key = 1 and l.origin <> 'pk' and ${where}`

const foreignKeysSql = (master: string, where: string): string => `
  select m.name as a, f.id as b, f.seq as c, f."table" as d, f."from" as e,
    coalesce(f."to", (select p.name from pragma_table_info(f."table", ?) p where p.pk = f.seq + 1)) as f, f.on_delete as g, f.on_update as h
  from ${master} m join pragma_foreign_key_list(m.name, ?) f where ${where}`

function tableOf({ schema }: Place, rows: readonly Row[], indexes: readonly Row[], foreignKeys: readonly Row[]): TableSchema {
  const [first] = rows
  const sql = rows.find((row) => row[8] !== null)?.[8] ?? undefined
  const isView = at(first, 9) === 'view' || /^create\s+virtual/i.test(sql ?? '')
  const declared = declaredIn(isView ? '' : (sql ?? ''), 'sqlite')
  const existing = rows.filter((row) => row[1] !== null)
  const key = sortedBy(
    existing.filter((row) => at(row, 6) !== '0'),
    6,
  )
  // A primary key of one INTEGER column is the rowid.
  const [id] = key.length === 1 && /^integer$/i.test(at(key[0], 3)) && !/\bwithout\s+rowid\b[^)]*$/i.test(sql ?? '') ? key : []
  const columns = sortedBy(existing, 1)
    .filter((row) => at(row, 7) !== '1')
    .map((row) => columnOf(row, declared, row === id))
  return {
    name: schema === undefined ? at(first, 0) : `${schema}.${at(first, 0)}`,
    ...(isView ? { isView } : {}),
    columns: new Map(columns.map((column) => [column.name, column])),
    primaryKey: key.map((row) => at(row, 2)),
    indexes: byName([...grouped(sortedBy(indexes, 5), (row) => at(row, 1)).values()].map(indexOf)),
    foreignKeys: byName([...grouped(sortedBy(foreignKeys, 2), (row) => at(row, 1)).values()].map(foreignKeyOf)),
    checks: declared.checks.map((check): CheckSchema => ({ ...check, ...valueCheck(check.sql) })),
    ...(sql === undefined ? {} : { sql }),
  }
}

function columnOf(row: Row, declared: DeclaredTable, isRowId: boolean): ColumnSchema {
  const name = at(row, 2)
  const computed = at(row, 7) === '0' ? undefined : (declared.computed.get(name.toLowerCase()) ?? '')
  return {
    name,
    type: at(row, 3).toLowerCase().replaceAll(/\s+/g, ' '),
    isNullable: !isSet(row, 4) && !isRowId,
    ...(row[5] === null || row[5] === undefined ? {} : { default: row[5] }),
    ...(isRowId ? { isGenerated: true } : {}),
    ...(computed === undefined ? {} : { computed }),
  }
}

function indexOf(rows: readonly Row[]): IndexSchema {
  const [first] = rows
  const sql = at(first, 9)
  const isPartial = isSet(first, 4) || rows.some((row) => row[7] === null)
  const isSpecial = isPartial || rows.some((row) => isSet(row, 8)) || /\bcollate\b/i.test(sql)
  return {
    name: at(first, 1),
    columns: rows.flatMap((row) => row[7] ?? []),
    isUnique: isSet(first, 2),
    ...(at(first, 3) === 'u' ? { isConstraint: true } : {}),
    ...(isSpecial && sql !== '' ? { sql } : {}),
    ...(isPartial ? { isPartial: true } : {}),
  }
}

function foreignKeyOf(rows: readonly Row[]): ForeignKeySchema {
  const [first] = rows
  const [onDelete, onUpdate] = [actionNamed(at(first, 6)), actionNamed(at(first, 7))]
  return {
    name: undefined,
    columns: rows.map((row) => at(row, 4)),
    table: at(first, 3),
    targetColumns: rows.map((row) => at(row, 5)),
    ...(onDelete ? { onDelete } : {}),
    ...(onUpdate ? { onUpdate } : {}),
  }
}
