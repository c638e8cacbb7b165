/** Applies changes to the definition of an SQLite table. */
import type { ColumnSchema, ForeignKeySchema, SchemaChange } from '../../../database/catalogue/schema-types.js'
import { sqlNames } from '../literals.js'
import { checkSql, foreignKeySql } from '../sql.js'
import type { ColumnClause } from './column-clauses.js'
import { type DefinedColumn, type Definition, mentions, renamedIn } from './definition.js'

const isSame = (one: string, other: string): boolean => one.toLowerCase() === other.toLowerCase()
const areSame = (some: readonly string[], others: readonly string[]): boolean =>
  some.length === others.length && some.every((name, i) => isSame(name, others[i] as string))

/** Returns the definition after a change of the table. A plain index is no part of it. */
export function changedDefinition(definition: Definition, change: SchemaChange): Definition {
  switch (change.kind) {
    case 'addColumn':
      return { ...definition, columns: [...definition.columns, definedColumn(change.column)] }
    case 'dropColumn':
      return withoutColumn(definition, change.column.name)
    case 'renameColumn':
      return renamed(definition, change.from, change.to)
    case 'changeColumn':
      return withColumn(definition, change.to.name, (column) => changedColumn(column, change.to))
    case 'changePrimaryKey':
      return withPrimaryKey(definition, change.to)
    case 'addForeignKey':
      return withConstraint(definition, {
        kind: 'foreign',
        sql: foreignKeySql(change.key, 'sqlite'),
        name: change.key.name,
        columns: change.key.columns,
        target: change.key.table,
      })
    case 'dropForeignKey':
      return withoutForeignKey(definition, change.key)
    case 'addCheck':
      return withConstraint(definition, {
        kind: 'check',
        sql: checkSql(change.check, 'sqlite'),
        name: change.check.name,
        columns: [],
        target: undefined,
      })
    case 'dropCheck':
      return withoutCheck(definition, change.check.name, change.check.sql)
    case 'dropIndex':
      return change.index.isConstraint ? withoutUnique(definition, change.index.columns) : definition
    default:
      return definition
  }
}

const withConstraint = (definition: Definition, constraint: Definition['constraints'][number]): Definition => ({
  ...definition,
  constraints: [...definition.constraints, constraint],
})

function withColumn(definition: Definition, name: string, change: (column: DefinedColumn) => DefinedColumn): Definition {
  return { ...definition, columns: definition.columns.map((column) => (isSame(column.name, name) ? change(column) : column)) }
}

const withoutClauses = (column: DefinedColumn, isDropped: (clause: ColumnClause) => boolean): DefinedColumn => ({
  ...column,
  clauses: column.clauses.filter((clause) => !isDropped(clause)),
})

/** Returns a new column. */
function definedColumn({ name, type, isNullable, default: value }: ColumnSchema): DefinedColumn {
  return {
    name,
    type,
    clauses: [{ kind: isNullable ? 'null' : 'not null', sql: isNullable ? 'null' : 'not null' }, ...defaultClause(value)],
  }
}

const defaultClause = (value: string | undefined): ColumnClause[] =>
  value === undefined ? [] : [{ kind: 'default', sql: `default ${value}` }]

// Other clauses, such as COLLATE, stay.
function changedColumn(column: DefinedColumn, to: ColumnSchema): DefinedColumn {
  const kept = column.clauses.filter(({ kind }) => kind !== 'null' && kind !== 'not null' && kind !== 'default')
  const isRowId = kept.some(({ kind }) => kind === 'primary')
  const nullability = definedColumn(to).clauses.filter(({ kind }) => kind !== 'default' && !(isRowId && kind === 'null'))
  return { ...column, type: to.type, clauses: [...nullability, ...defaultClause(to.default), ...kept] }
}

function withoutColumn(definition: Definition, name: string): Definition {
  return {
    ...definition,
    columns: definition.columns.filter((column) => !isSame(column.name, name)),
    constraints: definition.constraints.filter(({ kind, columns, sql }) =>
      kind === 'check' ? !mentions(sql, name) : !columns.some((column) => isSame(column, name)),
    ),
  }
}

/** Returns a definition in which a column has another name, also in keys and expressions. */
function renamed(definition: Definition, from: string, to: string): Definition {
  const inList = (columns: readonly string[]) => columns.map((column) => (isSame(column, from) ? to : column))
  const isExpression = ({ kind, target }: ColumnClause) =>
    kind === 'check' || kind === 'generated' || (target !== undefined && isSame(target, definition.name))
  return {
    ...definition,
    columns: definition.columns.map((column) => ({
      ...column,
      name: isSame(column.name, from) ? to : column.name,
      clauses: column.clauses.map((clause) => (isExpression(clause) ? { ...clause, sql: renamedIn(clause.sql, from, to) } : clause)),
    })),
    constraints: definition.constraints.map((constraint) => ({
      ...constraint,
      columns: inList(constraint.columns),
      sql: renamedConstraint(constraint, definition.name, from, to),
    })),
  }
}

// The columns of another table after REFERENCES keep their names.
function renamedConstraint({ kind, sql, target }: Definition['constraints'][number], table: string, from: string, to: string): string {
  if (kind !== 'foreign' || target === undefined || isSame(target, table)) return renamedIn(sql, from, to)
  const [own = '', ...others] = sql.split(/(?=\breferences\b)/i)
  return renamedIn(own, from, to) + others.join('')
}

/** Returns a change with the names after a rename of a column. */
export function renamedChange(change: SchemaChange, { table, from, to }: Extract<SchemaChange, { kind: 'renameColumn' }>): SchemaChange {
  const inList = (columns: readonly string[]) => columns.map((column) => (column === from ? to : column))
  const inColumn = (column: ColumnSchema) => (column.name === from ? { ...column, name: to } : column)
  switch (change.kind) {
    case 'addColumn':
    case 'dropColumn':
      return change.table === table ? { ...change, column: inColumn(change.column) } : change
    case 'changeColumn':
      return change.table === table ? { ...change, from: inColumn(change.from), to: inColumn(change.to) } : change
    case 'changePrimaryKey':
      return change.table === table ? { ...change, from: inList(change.from), to: inList(change.to) } : change
    case 'addIndex':
    case 'dropIndex':
      return change.table === table ? { ...change, index: { ...change.index, columns: inList(change.index.columns) } } : change
    case 'addCheck':
    case 'dropCheck': {
      const { sql, column } = change.check
      const check = { ...change.check, sql: renamedIn(sql, from, to), ...(column === from ? { column: to } : {}) }
      return change.table === table ? { ...change, check } : change
    }
    case 'addForeignKey':
    case 'dropForeignKey': {
      const { key } = change
      const columns = change.table === table ? inList(key.columns) : key.columns
      return { ...change, key: { ...key, columns, targetColumns: key.table === table ? inList(key.targetColumns) : key.targetColumns } }
    }
    default:
      return change
  }
}

/** Returns a definition in which foreign keys name a renamed column of their target. */
export function withRenamedTarget(definition: Definition, table: string, from: string, to: string): Definition {
  const target = (sql: string) => {
    const [own = '', ...others] = sql.split(/(?=\breferences\b)/i)
    return own + renamedIn(others.join(''), from, to)
  }
  const isTarget = (name: string | undefined) => name !== undefined && isSame(name, table)
  return {
    ...definition,
    columns: definition.columns.map((column) => ({
      ...column,
      clauses: column.clauses.map((clause) => (isTarget(clause.target) ? { ...clause, sql: target(clause.sql) } : clause)),
    })),
    constraints: definition.constraints.map((one) =>
      one.kind === 'foreign' && isTarget(one.target) ? { ...one, sql: target(one.sql) } : one,
    ),
  }
}

function withPrimaryKey(definition: Definition, columns: readonly string[]): Definition {
  const without: Definition = {
    ...definition,
    columns: definition.columns.map((column) => withoutClauses(column, ({ kind }) => kind === 'primary')),
    constraints: definition.constraints.filter(({ kind }) => kind !== 'primary'),
  }
  if (columns.length === 0) return without
  const sql = `primary key (${sqlNames('sqlite', columns)})`
  return { ...without, constraints: [{ kind: 'primary', sql, name: undefined, columns, target: undefined }, ...without.constraints] }
}

function withoutForeignKey(definition: Definition, { columns, table }: ForeignKeySchema): Definition {
  const at = definition.constraints.findIndex(
    ({ kind, columns: own, target }) => kind === 'foreign' && areSame(own, columns) && isSame(target ?? '', table),
  )
  if (at >= 0) return { ...definition, constraints: definition.constraints.toSpliced(at, 1) }
  const isDropped = ({ kind, target }: ColumnClause) => kind === 'references' && isSame(target ?? '', table)
  return withColumn(definition, columns[0] ?? '', (column) => withoutClauses(column, isDropped))
}

function withoutUnique(definition: Definition, columns: readonly string[]): Definition {
  const at = definition.constraints.findIndex(({ kind, columns: own }) => kind === 'unique' && areSame(own, columns))
  if (at >= 0) return { ...definition, constraints: definition.constraints.toSpliced(at, 1) }
  return withColumn(definition, columns[0] ?? '', (column) => withoutClauses(column, ({ kind }) => kind === 'unique'))
}

const compact = (sql: string): string => sql.replaceAll(/[\s"`[\]]/g, '').toLowerCase()

function withoutCheck(definition: Definition, name: string, sql: string): Definition {
  const isDropped = (own: string | undefined, text: string) =>
    name === '' ? own === undefined && compact(text).endsWith(`check(${compact(sql)})`) : own !== undefined && isSame(own, name)
  return {
    ...definition,
    columns: definition.columns.map((column) =>
      withoutClauses(column, (clause) => clause.kind === 'check' && isDropped(clause.name, clause.sql)),
    ),
    constraints: definition.constraints.filter((one) => !(one.kind === 'check' && isDropped(one.name, one.sql))),
  }
}
