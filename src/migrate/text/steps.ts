/** The steps of a migration: the changes of a schema in an order in which rows survive, and what each may lose. */
import type { ColumnSchema, DatabaseSchema, SchemaChange } from '../../database/catalogue/schema-types.js'
import type { Dialect } from '../../schema/storage.js'
import { type Conversion, conversionOf } from './conversions.js'
import { withKeyTypes } from './key-types.js'
import { inComment } from './literals.js'
import { shapeOf, shortType } from './types.js'

/** A change of the migration. */
export interface Step {
  readonly change: SchemaChange
  /** The values that the step loses, with the name of the table. */
  readonly loss?: string | undefined
  /** Whether the step stands in a comment, because it loses something. */
  readonly isDisabled?: boolean
  /** The column is new, and rows have no value yet: the developer fills them in. */
  readonly needsValues?: boolean
}

/** The settings that the steps of a migration depend on. */
export interface StepsOptions {
  readonly dialect: Dialect
  /** The schema before the migration. */
  readonly from: DatabaseSchema
  readonly allowLoss: boolean
}

/** Returns the steps of `up`. */
export function stepsUp(changes: readonly SchemaChange[], options: StepsOptions): Step[] {
  return withKeyTypes(changes, options.from).flatMap((change) => stepsOf(change, options))
}

/** Returns the steps of `down`: the opposites of steps that ran, in reverse. @param after the schema after `up` */
export function stepsDown(up: readonly Step[], after: DatabaseSchema): Step[] {
  const changes = up.filter(({ isDisabled }) => !isDisabled).map(({ change }) => opposite(change))
  const dropped = new Set(changes.flatMap((change) => (change.kind === 'dropColumn' ? [`${change.table}.${change.column.name}`] : [])))
  const isNeeded = (change: SchemaChange) => change.kind !== 'changeColumn' || !dropped.has(`${change.table}.${change.from.name}`)
  return changes
    .filter(isNeeded)
    .reverse()
    .flatMap((change) => [{ change }, ...indexOfKey(change, after)])
}

// MariaDB makes an index for a foreign key whose columns have none, and keeps it.
function indexOfKey(change: SchemaChange, { dialect, tables }: DatabaseSchema): Step[] {
  if (dialect !== 'mysql' || change.kind !== 'dropForeignKey') return []
  const { table } = change
  const { name, columns } = change.key
  const { indexes = [], primaryKey = [] } = tables.get(table) ?? {}
  const isServed = [primaryKey, ...indexes.map((index) => index.columns)].some((list) => columns.every((column, i) => list[i] === column))
  return isServed ? [] : [{ change: { kind: 'dropIndex', table, index: { name: name ?? '', columns, isUnique: false } } }]
}

function stepsOf(change: SchemaChange, options: StepsOptions): Step[] {
  const { allowLoss } = options
  const losing = (loss: string): Step => ({ change, loss, isDisabled: !allowLoss })
  if (change.kind === 'dropTable') return [losing(`the table ${inComment(change.table.name)} with its rows`)]
  if (change.kind === 'dropColumn') {
    const { table, column } = change
    const drop = losing(`the values of ${nameOf(table, column)}`)
    return allowLoss || !needsValue(table, column, options) ? [drop] : [nullable(table, column), drop]
  }
  if (change.kind === 'addColumn' && !change.column.isNullable && change.column.default === undefined && !change.column.isGenerated) {
    const { table, column } = change
    const added = { ...column, isNullable: true }
    return [
      { change: { ...change, column: added } },
      { change: { kind: 'changeColumn', table, from: added, to: column }, needsValues: true },
    ]
  }
  if (change.kind === 'changeColumn') return stepsOfColumn(change, options)
  return [{ change }]
}

const nameOf = (table: string, column: ColumnSchema): string => `${inComment(table)}.${inComment(column.name)}`

// While the drop stands in a comment, the models write rows without the column.
function needsValue(table: string, column: ColumnSchema, { from }: StepsOptions): boolean {
  const isKey = from.tables.get(table)?.primaryKey.includes(column.name) === true
  return !column.isNullable && column.default === undefined && !column.isGenerated && column.computed === undefined && !isKey
}

const nullable = (table: string, column: ColumnSchema): Step => ({
  change: { kind: 'changeColumn', table, from: column, to: { ...column, isNullable: true } },
})

type ColumnChange = Extract<SchemaChange, { kind: 'changeColumn' }>

/** Returns how the values of a column change their type; undefined when the type stays. */
export function conversionIn({ from, to }: Pick<ColumnChange, 'from' | 'to'>, dialect: Dialect): Conversion | undefined {
  return shortType(from, dialect) === shortType(to, dialect) ? undefined : conversionOf(from, to, dialect)
}

// A lossy change of the type waits in a comment, and the rest of the change does not.
function stepsOfColumn(change: ColumnChange, { dialect, allowLoss }: StepsOptions): Step[] {
  const { table, from, to } = change
  const conversion = conversionIn(change, dialect)
  if (!conversion?.loss) return [{ change }]
  const loss = `${nameOf(table, from)} from ${shortType({ type: from.type }, dialect)} to ${shortType({ type: to.type }, dialect)}: ${conversion.loss}`
  if (allowLoss) return [{ change, loss }]
  const isOtherFamily = shapeOf(from.type, dialect).family !== shapeOf(to.type, dialect).family
  const rest = { ...to, type: from.type, collation: from.collation, default: isOtherFamily ? from.default : to.default }
  const isSame = rest.isNullable === from.isNullable && rest.default === from.default
  const typed: Step = { change: { ...change, from: isSame ? from : rest }, loss, isDisabled: true }
  return isSame ? [typed] : [{ change: { kind: 'changeColumn', table, from, to: rest } }, typed]
}

/** Returns the change that undoes a change. */
function opposite(change: SchemaChange): SchemaChange {
  switch (change.kind) {
    case 'createTable':
      return { ...change, kind: 'dropTable' }
    case 'dropTable':
      return { ...change, kind: 'createTable' }
    case 'addColumn':
      return { ...change, kind: 'dropColumn' }
    case 'dropColumn':
      return { ...change, kind: 'addColumn' }
    case 'renameColumn':
      return { ...change, from: change.to, to: change.from }
    case 'changeColumn':
      return { ...change, from: change.to, to: change.from }
    case 'changePrimaryKey':
      return { ...change, from: change.to, to: change.from }
    case 'addIndex':
      return { ...change, kind: 'dropIndex' }
    case 'dropIndex':
      return { ...change, kind: 'addIndex' }
    case 'addForeignKey':
      return { ...change, kind: 'dropForeignKey' }
    case 'dropForeignKey':
      return { ...change, kind: 'addForeignKey' }
    case 'addCheck':
      return { ...change, kind: 'dropCheck' }
    case 'dropCheck':
      return { ...change, kind: 'addCheck' }
  }
}

/** Returns a function that tells the name of a column after the renames among changes. */
export function renamesIn(changes: readonly SchemaChange[]): (table: string, column: string) => string {
  const names = new Map(
    changes.flatMap((change) => (change.kind === 'renameColumn' ? [[`${change.table}.${change.from}`, change.to] as const] : [])),
  )
  return (table, column) => names.get(`${table}.${column}`) ?? column
}
