/** Reads the catalogue of PostgreSQL. */
import type { Knex } from 'knex'
import { select } from '../tables/existing-tables.js'
import { valueCheck } from './check-values.js'
import { actionNamed, at, byName, grouped, isSet, type Row, sortedBy, type TablesToRead, textRows } from './rows.js'
import type { CheckSchema, ColumnSchema, ForeignKeySchema, IndexSchema, TableSchema } from './schema-types.js'

/** Returns the tables. @throws the driver's error */
export async function readPostgres(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  const columns = await readColumns(knex, toRead)
  const ids = [...columns.keys()]
  if (ids.length === 0) return []
  const list = ids.map(() => '?').join(', ')
  const indexes = grouped(textRows(await select(knex, indexesSql(list), ids)), (row) => at(row, 0))
  const constraints = grouped(textRows(await select(knex, constraintsSql(list), ids)), (row) => at(row, 0))
  return [...columns].map(([id, rows]) => tableOf(rows, indexes.get(id) ?? [], constraints.get(id) ?? []))
}

/** Returns the tables with their columns only, in one statement. @throws the driver's error */
export async function readPostgresColumns(knex: Knex, toRead: TablesToRead): Promise<TableSchema[]> {
  return [...(await readColumns(knex, toRead)).values()].map((rows) => tableOf(rows, [], []))
}

/** Returns the rows of columns by the id of their table. */
async function readColumns(knex: Knex, { tables, schema }: TablesToRead): Promise<Map<string, Row[]>> {
  const [where, bindings] = tables
    ? [`c.oid in (${tables.map(() => 'to_regclass(?)').join(', ')})`, tables.map(({ sql }) => sql)]
    : schema === undefined
      ? ["pg_table_is_visible(c.oid) and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' and not c.relispartition", []]
      : ['n.nspname = ? and not c.relispartition', [schema]]
  return grouped(textRows(await select(knex, columnsSql(where), bindings)), (row) => at(row, 0))
}

const nameOf = (relation: string, namespace: string): string =>
  `case when pg_table_is_visible(${relation}.oid) then '' else ${namespace}.nspname || '.' end || ${relation}.relname`

const columnsSql = (where: string): string => `
  select c.oid::text as a, ${nameOf('c', 'n')} as b, c.relkind::text as c, t.attnum::text as d, t.attname::text as e,
    format_type(t.atttypid, t.atttypmod) as f, t.attnotnull::int::text as g, pg_get_expr(d.adbin, d.adrelid) as h,
    t.attidentity::text as i, t.attgenerated::text as j
  from pg_class c join pg_namespace n on n.oid = c.relnamespace
  left join pg_attribute t on t.attrelid = c.oid and t.attnum > 0 and not t.attisdropped
  left join pg_attrdef d on d.adrelid = c.oid and d.adnum = t.attnum
  where c.relkind in ('r', 'p', 'v', 'm', 'f') and ${where}`

const indexesSql = (list: string): string => `
  select i.indrelid::text as a, c.relname::text as b, i.indisunique::int::text as c, (o.oid is not null)::int::text as d,
    pg_get_indexdef(i.indexrelid) as e, (i.indpred is not null or i.indexprs is not null or m.amname <> 'btree')::int::text as f,
    (i.indnatts > i.indnkeyatts or k.option <> 0 or not p.opcdefault)::int::text as g, k.position::text as h, t.attname::text as i
  from pg_index i join pg_class c on c.oid = i.indexrelid join pg_am m on m.oid = c.relam
  left join pg_constraint o on o.conindid = i.indexrelid and o.conrelid = i.indrelid and o.contype in ('u', 'x')
  cross join lateral unnest(i.indkey::int2[], i.indoption::int2[], i.indclass::oid[]) with ordinality k(attnum, option, class, position)
  left join pg_opclass p on p.oid = k.class
  left join pg_attribute t on t.attrelid = i.indrelid and t.attnum = k.attnum and k.attnum > 0
  where not i.indisprimary and k.position <= i.indnkeyatts and i.indrelid in (${list})`

const constraintsSql = (list: string): string => `
  select o.conrelid::text as a, o.conname::text as b, o.contype::text as c, ${nameOf('f', 'n')} as d, o.confdeltype::text as e,
    o.confupdtype::text as f, pg_get_constraintdef(o.oid) as g, k.position::text as h, t.attname::text as i, r.attname::text as j
  from pg_constraint o left join pg_class f on f.oid = nullif(o.confrelid, 0) left join pg_namespace n on n.oid = f.relnamespace
  left join lateral unnest(o.conkey, o.confkey) with ordinality k(own, other, position) on true
  left join pg_attribute t on t.attrelid = o.conrelid and t.attnum = k.own
  left join pg_attribute r on r.attrelid = o.confrelid and r.attnum = k.other
  where o.contype in ('p', 'f', 'c') and o.conrelid in (${list})`

const viewKinds = new Set(['v', 'm', 'f'])

function tableOf(columnRows: readonly Row[], indexRows: readonly Row[], constraintRows: readonly Row[]): TableSchema {
  const [first] = columnRows
  const columns = sortedBy(
    columnRows.filter((row) => row[3] !== null),
    3,
  ).map(columnOf)
  const constraints = [...grouped(sortedBy(constraintRows, 7), (row) => at(row, 1)).values()]
  const ofType = (type: string) => constraints.filter(([row]) => at(row, 2) === type)
  const [key] = ofType('p')
  return {
    name: at(first, 1),
    ...(viewKinds.has(at(first, 2)) ? { isView: true } : {}),
    columns: new Map(columns.map((column) => [column.name, column])),
    primaryKey: key?.map((row) => at(row, 8)) ?? [],
    primaryKeyName: key && at(key[0], 1),
    indexes: byName([...grouped(sortedBy(indexRows, 7), (row) => at(row, 1)).values()].map(indexOf)),
    foreignKeys: byName(ofType('f').map(foreignKeyOf)),
    checks: ofType('c').map(([row]) => checkOf(row)),
  }
}

function columnOf(row: Row): ColumnSchema {
  const value = row[7] ?? undefined
  const isComputed = at(row, 9) !== ''
  // A serial column has an ordinary default, which takes the next value of a sequence.
  const isGenerated = at(row, 8) !== '' || (!isComputed && value?.startsWith('nextval(') === true)
  return {
    name: at(row, 4),
    type: at(row, 5),
    isNullable: !isSet(row, 6),
    ...(value !== undefined && !isGenerated && !isComputed ? { default: value } : {}),
    ...(isGenerated ? { isGenerated: true } : {}),
    ...(isComputed ? { computed: value ?? '' } : {}),
  }
}

function indexOf(rows: readonly Row[]): IndexSchema {
  const [first] = rows
  const isPartial = isSet(first, 5)
  const isSpecial = isPartial || rows.some((row) => isSet(row, 6))
  return {
    name: at(first, 1),
    columns: rows.flatMap((row) => row[8] ?? []),
    isUnique: isSet(first, 2),
    ...(isSet(first, 3) ? { isConstraint: true } : {}),
    ...(isSpecial ? { sql: at(first, 4) } : {}),
    ...(isPartial ? { isPartial: true } : {}),
  }
}

const actionLetters: Readonly<Record<string, string>> = { c: 'cascade', n: 'set null', r: 'restrict', d: 'set default' }

function foreignKeyOf(rows: readonly Row[]): ForeignKeySchema {
  const [first] = rows
  const onDelete = actionNamed(actionLetters[at(first, 4)] ?? '')
  const onUpdate = actionNamed(actionLetters[at(first, 5)] ?? '')
  return {
    name: at(first, 1),
    columns: rows.map((row) => at(row, 8)),
    table: at(first, 3),
    targetColumns: rows.map((row) => at(row, 9)),
    ...(onDelete ? { onDelete } : {}),
    ...(onUpdate ? { onUpdate } : {}),
  }
}

function checkOf(row: Row | undefined): CheckSchema {
  const sql = at(row, 6).replace(/^CHECK \(([\s\S]*)\)(?: NOT VALID| NO INHERIT)*$/, '$1')
  return { name: at(row, 1), sql, ...valueCheck(sql) }
}
