/** The calls of Knex's schema builder for changes that it can express. */
import type { ColumnSchema, ForeignKeySchema, IndexSchema, SchemaChange, TableSchema } from '../../database/catalogue/schema-types.js'
import { type CodeContext, indented } from './code.js'
import { codeString } from './literals.js'
import { checkSql } from './sql.js'
import { fullType } from './types.js'

/** A part of Knex's builder cannot express the change: raw SQL is needed. */
class NeedsSql extends Error {}

/**
 * Returns the lines of a change.
 *
 * @returns undefined for a change that needs raw SQL: of another kind, or with an unusual name or value
 */
export function builderLines(change: SchemaChange, context: CodeContext): string[] | undefined {
  try {
    return linesOf(change, context)
  } catch (error) {
    if (error instanceof NeedsSql) return undefined
    throw error
  }
}

function linesOf(change: SchemaChange, context: CodeContext): string[] | undefined {
  const { knex } = context
  switch (change.kind) {
    case 'createTable':
      return [
        `await ${knex}.schema.createTable(${tableName(change.table.name, context)}, (table) => {`,
        ...tableLines(change.table, context).map(indented),
        '})',
      ]
    case 'dropTable':
      return [`await ${knex}.schema.dropTable(${tableName(change.table.name, context)})`]
    case 'addColumn':
      return altered(change.table, [columnLine(change.column, context)], context)
    case 'dropColumn':
      return context.dialect === 'sqlite'
        ? undefined
        : altered(change.table, [`table.dropColumn(${columnName(change.column.name, context)})`], context)
    case 'renameColumn':
      // Knex's own rename on MariaDB reads the column first, which fails with mappers of names.
      return context.dialect === 'mysql'
        ? undefined
        : altered(change.table, [`table.renameColumn(${columnName(change.from, context)}, ${columnName(change.to, context)})`], context)
    case 'addIndex':
      return altered(change.table, [indexLine(change.index, context)], context)
    case 'dropIndex':
      return altered(change.table, [dropIndexLine(change.index, context)], context)
    case 'addForeignKey':
      return altered(change.table, [foreignKeyLine(change.key, context)], context)
    case 'dropForeignKey': {
      const { columns, name } = change.key
      return altered(change.table, [`table.dropForeign(${list(columns, context)}, ${constraintName(name, context)})`], context)
    }
    default:
      return undefined
  }
}

function altered(table: string, lines: readonly string[], context: CodeContext): string[] {
  return [`await ${context.knex}.schema.alterTable(${tableName(table, context)}, (table) => {`, ...lines.map(indented), '})']
}

function tableLines(table: TableSchema, context: CodeContext): string[] {
  const { primaryKey, primaryKeyName, columns } = table
  const isInColumn = context.dialect === 'sqlite' && [...columns.values()].some(({ isGenerated }) => isGenerated)
  const name =
    primaryKeyName === undefined || context.dialect === 'mysql' ? '' : `, { constraintName: ${constraintName(primaryKeyName, context)} }`
  return [
    ...[...columns.values()].map((column) => columnLine(column, context)),
    ...(primaryKey.length > 0 && !isInColumn ? [`table.primary(${list(primaryKey, context)}${name})`] : []),
    ...table.indexes.map((index) => indexLine(index, context)),
    ...table.foreignKeys.map((key) => foreignKeyLine(key, context)),
    ...table.checks.map((check) => {
      // Knex writes the name of a check without quotes.
      if (!/^[a-z_][a-z0-9_]*$/.test(check.name)) throw new NeedsSql()
      const sql = plainSql(checkSql({ ...check, name: '' }, context.dialect).replace(/^check \((.*)\)$/s, '$1'))
      return `table.check(${codeString(sql)}, [], ${codeString(check.name)})`
    }),
  ]
}

function columnLine(column: ColumnSchema, context: CodeContext): string {
  const name = columnName(column.name, context)
  if (column.computed !== undefined) throw new NeedsSql()
  if (column.isGenerated && context.dialect === 'sqlite') return `table.specificType(${name}, 'integer primary key autoincrement not null')`
  const type = `table.specificType(${name}, ${codeString(plainSql(fullType(column, context.dialect)))})`
  return `${type}${column.isNullable ? '.nullable()' : '.notNullable()'}${defaultCall(column, context)}`
}

function defaultCall({ default: value }: ColumnSchema, { knex, dialect }: CodeContext): string {
  if (value === undefined) return ''
  const sql = plainSql(value)
  const text = (dialect === 'pg' ? /^'([^']*)'(?:::[a-z ]+)?$/ : /^'([^']*)'$/).exec(sql)
  return text ? `.defaultTo(${codeString(text[1] as string)})` : `.defaultTo(${knex}.raw(${codeString(sql)}))`
}

function indexLine({ name, columns, isUnique, isConstraint, sql }: IndexSchema, context: CodeContext): string {
  if (sql !== undefined) throw new NeedsSql()
  const columnList = list(columns, context)
  if (!isUnique) return `table.index(${columnList}, ${constraintName(name, context)})`
  const isIndex = context.dialect === 'pg' && !isConstraint
  return `table.unique(${columnList}, { indexName: ${constraintName(name, context)}${isIndex ? ', useConstraint: false' : ''} })`
}

function dropIndexLine({ name, columns, isConstraint }: IndexSchema, context: CodeContext): string {
  return `table.${isConstraint ? 'dropUnique' : 'dropIndex'}(${list(columns, context)}, ${constraintName(name, context)})`
}

function foreignKeyLine({ name, columns, table, targetColumns, onDelete, onUpdate }: ForeignKeySchema, context: CodeContext): string {
  const actions = `${onDelete ? `.onDelete('${onDelete}')` : ''}${onUpdate ? `.onUpdate('${onUpdate}')` : ''}`
  const key = `table.foreign(${list(columns, context)}${name === undefined ? '' : `, ${constraintName(name, context)}`})`
  return `${key}.references(${list(targetColumns, context)}).inTable(${tableName(table, context)})${actions}`
}

const list = (columns: readonly string[], context: CodeContext): string =>
  `[${columns.map((column) => columnName(column, context)).join(', ')}]`

function columnName(name: string, { naming }: CodeContext): string {
  return naming.code(name) ?? needsSql()
}

function tableName(name: string, { naming }: CodeContext): string {
  return naming.tableCode(name) ?? needsSql()
}

function constraintName(name: string | undefined, { naming }: CodeContext): string {
  return (name === undefined ? undefined : naming.constraintCode(name)) ?? needsSql()
}

// Knex changes question marks and backslashes in the SQL of definitions.
function plainSql(sql: string): string {
  return /[?\\]/.test(sql) ? needsSql() : sql
}

function needsSql(): never {
  throw new NeedsSql()
}
