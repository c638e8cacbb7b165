/** The code of steps on PostgreSQL and MariaDB. */
import type { SchemaChange } from '../../database/catalogue/schema-types.js'
import { builderLines } from './builder.js'
import { type Block, type CodeContext, hasColumn, inside, isRepeatable as isRepeatableTable, rawLine, renameLines } from './code.js'
import { addedColumns, cutSql, guardBlocks, notNullGuard, valuesGuard } from './guards.js'
import { codeString } from './literals.js'
import { changeSql } from './sql.js'
import { conversionIn, type Step } from './steps.js'

/** Returns the code of a migration: refusals first, because MariaDB cannot undo the steps before an error. */
export function serverBlocks(steps: readonly Step[], context: CodeContext): Block[] {
  const added = addedColumns(steps)
  return [...guardBlocks(steps, context), ...steps.flatMap((step) => [...checkGuard(step, added, context), ...blocksOf(step, context)])]
}

function checkGuard({ change }: Step, added: ReadonlySet<string>, context: CodeContext): Block[] {
  if (change.kind !== 'addCheck' || added.has(`${change.table}.${change.check.column}`)) return []
  return valuesGuard(change, (_table, column) => column, context)
}

function blocksOf(step: Step, context: CodeContext): Block[] {
  const { change, loss, isDisabled, needsValues } = step
  const lines = linesOf(change, context)
  if (isDisabled) return [{ comments: [`LOSES ${loss}. To do it, remove the comment signs, and let down() throw.`], lines, isDisabled }]
  const comments = loss === undefined ? [] : [`Loses ${loss}.`]
  if (needsValues && change.kind === 'changeColumn') return [notNullGuard(change.table, change.to, context), { comments, lines }]
  return [{ comments, lines }]
}

function linesOf(change: SchemaChange, context: CodeContext): string[] {
  const isRepeatable = isRepeatableIn(change, context)
  const lines = [...cutLines(change, context), ...statementLines(change, context, isRepeatable)]
  return isRepeatable ? guarded(change, lines, context) : lines
}

function isRepeatableIn(change: SchemaChange, context: CodeContext): boolean {
  return isRepeatableTable('table' in change ? (typeof change.table === 'string' ? change.table : change.table.name) : '', context)
}

function statementLines(change: SchemaChange, context: CodeContext, isRepeatable: boolean): string[] {
  const isGuarded =
    change.kind === 'createTable' || change.kind === 'addColumn' || change.kind === 'dropColumn' || change.kind === 'renameColumn'
  const built = isGuarded || !isRepeatable ? builderLines(change, context) : undefined
  return built ?? changeSql(change, context.dialect, isRepeatable && !isGuarded).map((sql) => rawLine(context, sql))
}

function cutLines(change: SchemaChange, context: CodeContext): string[] {
  if (change.kind !== 'changeColumn' || context.isDown) return []
  const { cutTo } = conversionIn(change, context.dialect) ?? {}
  return cutTo === undefined ? [] : [rawLine(context, cutSql(change.table, change.to.name, cutTo, context.dialect))]
}

/** Lets a step be skipped that has been made before. */
function guarded(change: SchemaChange, lines: readonly string[], context: CodeContext): string[] {
  const has = (table: string, column: string) => hasColumn(table, column, context)
  switch (change.kind) {
    case 'createTable':
      return inside(`!(await ${hasTable(change.table.name, context)})`, lines)
    case 'addColumn':
      return inside(`!(await ${has(change.table, change.column.name)})`, lines)
    case 'dropColumn':
      return inside(`await ${has(change.table, change.column.name)}`, lines)
    case 'renameColumn': {
      const column = { name: change.from, type: '', isNullable: true }
      const drop = statementLines({ kind: 'dropColumn', table: change.table, column }, context, true)
      return renameLines(change, { rename: lines, drop }, context)
    }
    default:
      return [...lines]
  }
}

// These two methods of Knex take names of the database on PostgreSQL, and any of the two elsewhere.
function hasTable(table: string, { knex }: CodeContext): string {
  const [name, schema] = table.split('.').reverse() as [string, string | undefined]
  return `${knex}.schema${schema === undefined ? '' : `.withSchema(${codeString(schema)})`}.hasTable(${codeString(name)})`
}

/** Returns the line that refuses `down` after a loss. */
export function refusalOfDown(steps: readonly Step[]): string | undefined {
  const losses = steps.flatMap(({ loss, isDisabled }) => (loss === undefined || isDisabled ? [] : [loss]))
  if (losses.length === 0) return undefined
  return `throw new Error(${codeString(`This migration cannot be undone: up() has lost ${losses.join('; ')}. Restore a backup, or write down() by hand.`)})`
}
