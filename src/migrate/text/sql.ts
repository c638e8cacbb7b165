/** The SQL of changes on PostgreSQL and MariaDB, and the parts of definitions that all databases share. */
import type {
  CheckSchema,
  ColumnSchema,
  ForeignKeySchema,
  IndexSchema,
  SchemaChange,
  TableSchema,
} from '../../database/catalogue/schema-types.js'
import type { Dialect } from '../../schema/storage.js'
import { sqlName, sqlNames, sqlString, sqlTable } from './literals.js'
import { conversionIn } from './steps.js'
import { fullType, shortType } from './types.js'

/** Returns the definition of a column: its name, type, default and NOT NULL. */
export function columnSql(column: ColumnSchema, dialect: Dialect): string {
  const value = column.default === undefined ? '' : ` default ${safeSql(column.default, dialect)}`
  return `${sqlName(dialect, column.name)} ${fullType(column, dialect)}${column.isNullable ? ' null' : ' not null'}${value}`
}

/** Returns a foreign key as a constraint of a table. */
export function foreignKeySql({ name, columns, table, targetColumns, onDelete, onUpdate }: ForeignKeySchema, dialect: Dialect): string {
  const constraint = name === undefined ? '' : `constraint ${sqlName(dialect, name)} `
  const actions = `${onDelete ? ` on delete ${onDelete}` : ''}${onUpdate ? ` on update ${onUpdate}` : ''}`
  return `${constraint}foreign key (${sqlNames(dialect, columns)}) references ${sqlTable(dialect, table)} (${sqlNames(dialect, targetColumns)})${actions}`
}

/** Returns a CHECK constraint of a table. */
export function checkSql({ name, sql, column, values }: CheckSchema, dialect: Dialect): string {
  const list =
    column !== undefined && values
      ? `${sqlName(dialect, column)} in (${values.map((value) => sqlString(dialect, value)).join(', ')})`
      : safeSql(sql, dialect)
  return `${name === '' ? '' : `constraint ${sqlName(dialect, name)} `}check (${list})`
}

/** Returns the CREATE INDEX statement of an index. */
export function indexSql(table: string, { name, columns, isUnique, sql }: IndexSchema, dialect: Dialect, ifMissing = ''): string {
  if (sql !== undefined) return safeSql(sql, dialect)
  return `create ${isUnique ? 'unique ' : ''}index ${ifMissing}${sqlName(dialect, name)} on ${sqlTable(dialect, table)} (${sqlNames(dialect, columns)})`
}

/** Returns the statements that create a table. */
export function createTableSql(table: TableSchema, dialect: Dialect): string[] {
  const { name, primaryKey, primaryKeyName } = table
  const key = primaryKeyName === undefined || dialect === 'mysql' ? '' : `constraint ${sqlName(dialect, primaryKeyName)} `
  const isRowId = dialect === 'sqlite' && [...table.columns.values()].some(({ isGenerated }) => isGenerated)
  const parts = [
    ...[...table.columns.values()].map((column) => (isRowId && column.isGenerated ? rowIdSql(column) : columnSql(column, dialect))),
    ...(primaryKey.length > 0 && !isRowId ? [`${key}primary key (${sqlNames(dialect, primaryKey)})`] : []),
    ...table.foreignKeys.map((one) => foreignKeySql(one, dialect)),
    ...table.checks.map((check) => checkSql(check, dialect)),
  ]
  return [
    `create table ${sqlTable(dialect, name)} (${parts.join(', ')})`,
    ...table.indexes.map((index) =>
      index.isConstraint && dialect === 'pg' ? uniqueSql(name, index, dialect) : indexSql(name, index, dialect),
    ),
  ]
}

// AUTOINCREMENT keeps SQLite from reusing the id of a deleted row.
const rowIdSql = ({ name }: ColumnSchema): string => `${sqlName('sqlite', name)} integer primary key autoincrement not null`

const uniqueSql = (table: string, { name, columns }: IndexSchema, dialect: Dialect): string =>
  `alter table ${sqlTable(dialect, table)} add constraint ${sqlName(dialect, name)} unique (${sqlNames(dialect, columns)})`

/**
 * Returns the statements of a change.
 *
 * @param isRepeatable whether the change may have been made before: by `perms.migrate()`, or by a run that stopped on MariaDB, which
 *   has no transactions for DDL
 */
export function changeSql(change: SchemaChange, dialect: Dialect, isRepeatable: boolean): string[] {
  const [ifExists, ifMissing] = isRepeatable ? ['if exists ', 'if not exists '] : ['', '']
  if (change.kind === 'createTable') return createTableSql(change.table, dialect)
  if (change.kind === 'dropTable') return [`drop table ${ifExists}${sqlTable(dialect, change.table.name)}`]
  const alter = `alter table ${sqlTable(dialect, change.table)}`
  const name = (text: string) => sqlName(dialect, text)
  switch (change.kind) {
    case 'addColumn':
      return [`${alter} add column ${columnSql(change.column, dialect)}`]
    case 'dropColumn':
      return [`${alter} drop column ${name(change.column.name)}`]
    case 'renameColumn':
      return [`${alter} rename column ${name(change.from)} to ${name(change.to)}`]
    case 'changeColumn':
      return changeColumnSql(change, dialect)
    case 'changePrimaryKey':
      return changePrimaryKeySql(change, dialect)
    case 'addIndex':
      return [
        change.index.isConstraint && dialect === 'pg' && !isRepeatable
          ? uniqueSql(change.table, change.index, dialect)
          : indexSql(change.table, change.index, dialect, ifMissing),
      ]
    case 'dropIndex':
      return dropIndexSql(change.table, change.index, dialect, ifExists)
    case 'dropForeignKey':
      return [dropConstraintSql(alter, change.key.name ?? '', dialect, ifExists)]
    case 'addForeignKey': {
      const before = isRepeatable && change.key.name !== undefined ? [dropConstraintSql(alter, change.key.name, dialect, ifExists)] : []
      return [...before, `${alter} add ${foreignKeySql(change.key, dialect)}`]
    }
    case 'dropCheck':
      return [`${alter} drop constraint ${ifExists}${name(change.check.name)}`]
    case 'addCheck': {
      const before = isRepeatable ? [`${alter} drop constraint ${ifExists}${name(change.check.name)}`] : []
      return [...before, `${alter} add ${checkSql(change.check, dialect)}`]
    }
  }
}

const dropConstraintSql = (alter: string, name: string, dialect: Dialect, ifExists: string): string =>
  `${alter} drop ${dialect === 'mysql' ? 'foreign key' : 'constraint'} ${ifExists}${sqlName(dialect, name)}`

function dropIndexSql(table: string, { name, isConstraint }: IndexSchema, dialect: Dialect, ifExists: string): string[] {
  if (dialect === 'mysql') return [`drop index ${ifExists}${sqlName(dialect, name)} on ${sqlTable(dialect, table)}`]
  if (isConstraint) return [`alter table ${sqlTable(dialect, table)} drop constraint ${ifExists}${sqlName(dialect, name)}`]
  // An index lies in the schema of its table.
  const schema = table.split('.').slice(0, -1)
  return [`drop index ${ifExists}${[...schema, name].map((part) => sqlName(dialect, part)).join('.')}`]
}

type Change<K extends SchemaChange['kind']> = Extract<SchemaChange, { kind: K }>

function changeColumnSql(change: Change<'changeColumn'>, dialect: Dialect): string[] {
  const { table, from, to } = change
  if (dialect === 'mysql') return [`alter table ${sqlTable(dialect, table)} modify column ${columnSql(to, dialect)}`]
  const alter = `alter table ${sqlTable(dialect, table)} alter column ${sqlName(dialect, to.name)}`
  const conversion = conversionIn(change, dialect)
  const using = conversion?.expression ? ` using ${conversion.expression(sqlName(dialect, to.name))}` : ''
  const isDefaultChanged = from.default !== to.default || (conversion !== undefined && from.default !== undefined)
  return [
    // The database would have to convert the default too.
    ...(isDefaultChanged && from.default !== undefined ? [`${alter} drop default`] : []),
    ...(conversion ? [`${alter} type ${shortType(to, dialect)}${using}`] : []),
    ...(isDefaultChanged && to.default !== undefined ? [`${alter} set default ${safeSql(to.default, dialect)}`] : []),
    ...(from.isNullable === to.isNullable ? [] : [`${alter} ${to.isNullable ? 'drop' : 'set'} not null`]),
    ...identitySql(change, alter),
  ]
}

function identitySql({ table, from, to }: Change<'changeColumn'>, alter: string): string[] {
  if (Boolean(from.isGenerated) === Boolean(to.isGenerated)) return []
  if (!to.isGenerated) return [`${alter} drop identity if exists`, `${alter} drop default`]
  const [tableSql, column] = [sqlTable('pg', table), sqlName('pg', to.name)]
  return [
    `${alter} add generated by default as identity`,
    `select setval(pg_get_serial_sequence(${sqlString('pg', tableSql)}, ${sqlString('pg', to.name)}), coalesce(max(${column}), 0) + 1, false) from ${tableSql}`,
  ]
}

function changePrimaryKeySql({ table, from, to }: Change<'changePrimaryKey'>, dialect: Dialect): string[] {
  const alter = `alter table ${sqlTable(dialect, table)}`
  if (dialect === 'mysql') {
    const drop = from.length > 0 ? ['drop primary key'] : []
    const add = to.length > 0 ? [`add primary key (${sqlNames(dialect, to)})`] : []
    return [`${alter} ${[...drop, ...add].join(', ')}`]
  }
  const name = sqlName(dialect, `${table.split('.').at(-1)}_pkey`)
  return [
    ...(from.length > 0 ? [`${alter} drop constraint ${name}`] : []),
    ...(to.length > 0 ? [`${alter} add constraint ${name} primary key (${sqlNames(dialect, to)})`] : []),
  ]
}

/**
 * Returns SQL of a catalogue without question marks on PostgreSQL, where Knex takes each for a placeholder. They occur in literals and
 * in operators.
 */
export function safeSql(sql: string, dialect: Dialect): string {
  if (dialect !== 'pg' || !sql.includes('?')) return sql
  return sql
    .split(/('(?:[^']|'')*')/)
    .map((part, i) =>
      i % 2 === 1 && part.includes('?') ? sqlString('pg', part.slice(1, -1).replaceAll("''", "'")) : part.replaceAll('?', '\\?'),
    )
    .join('')
}
