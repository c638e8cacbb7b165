/** Code that refuses a migration before it changes anything, when rows do not fit. */
import type { CheckSchema, ColumnSchema, SchemaChange } from '../../database/catalogue/schema-types.js'
import type { Block, CodeContext } from './code.js'
import { hasColumn, inside, isRepeatable } from './code.js'
import { codeString, inComment, sqlName, sqlTable } from './literals.js'
import { conversionIn, renamesIn, type Step } from './steps.js'
import { shapeOf } from './types.js'

/**
 * Returns the checks of rows that exist before the migration. Names are those before its renames.
 *
 * @param steps all steps of the migration
 */
export function guardBlocks(steps: readonly Step[], context: CodeContext): Block[] {
  const active = steps.filter(({ isDisabled }) => !isDisabled)
  const changes = active.map(({ change }) => change)
  const earlier = earlierNames(changes)
  const added = addedColumns(steps)
  return active.flatMap(({ change, needsValues }) => {
    if (needsValues || columnsOf(change).some(([table, column]) => added.has(`${table}.${column}`))) return []
    return guardOf(change, earlier, context).map((block) => whileNamed(block, change, earlier, context))
  })
}

// After a run that stopped, the columns may have their new names already.
function whileNamed(block: Block, change: SchemaChange, earlier: Earlier, context: CodeContext): Block {
  const renamed = columnsOf(change).find(([table, column]) => earlier(table, column) !== column && isRepeatable(table, context))
  if (!renamed) return block
  const [table, column] = renamed
  return { ...block, lines: inside(`await ${hasColumn(table, earlier(table, column), context)}`, block.lines) }
}

/** Returns the columns that steps add, as 'table.column'. */
export function addedColumns(steps: readonly Step[]): ReadonlySet<string> {
  return new Set(steps.flatMap(({ change }) => (change.kind === 'addColumn' ? [`${change.table}.${change.column.name}`] : [])))
}

/** Returns a function that tells the name of a column before the renames among changes. */
function earlierNames(changes: readonly SchemaChange[]): (table: string, column: string) => string {
  const opposites = changes.flatMap((change) => (change.kind === 'renameColumn' ? [{ ...change, from: change.to, to: change.from }] : []))
  return renamesIn(opposites)
}

function columnsOf(change: SchemaChange): (readonly [table: string, column: string])[] {
  if (change.kind === 'addIndex') return change.index.columns.map((column) => [change.table, column])
  if (change.kind === 'addCheck') return change.check.column === undefined ? [] : [[change.table, change.check.column]]
  return change.kind === 'changeColumn' ? [[change.table, change.to.name]] : []
}

/** Returns the name of a column before the renames of the migration. */
type Earlier = (table: string, column: string) => string

function guardOf(change: SchemaChange, earlier: Earlier, context: CodeContext): Block[] {
  if (change.kind === 'changeColumn') {
    const before = earlier(change.table, change.to.name)
    return [
      ...(change.from.isNullable && !change.to.isNullable ? [notNullGuard(change.table, { ...change.to, name: before }, context)] : []),
      ...lengthGuard(change, before, context),
    ]
  }
  if (change.kind === 'addIndex' && change.index.isUnique && change.index.sql === undefined)
    return [
      uniqueGuard(
        change.table,
        change.index.columns.map((column) => earlier(change.table, column)),
        context,
      ),
    ]
  // The other databases refuse the new values until the old check is dropped, so that their guard stands before the new one.
  if (change.kind === 'addCheck' && context.dialect === 'sqlite') return valuesGuard(change, earlier, context)
  return []
}

/** Refuses rows without a value, below a place where the developer fills them in. */
export function notNullGuard(table: string, column: ColumnSchema, context: CodeContext): Block {
  const [name, query] = [columnCode(column.name, context), `${context.knex}(${tableCode(table, context)})`]
  const title = `${inComment(table)}.${inComment(column.name)}`
  const example = exampleOf(column, context)
  const key = name.startsWith("'") ? `[${name}]: ${example}` : undefined
  const update = key
    ? `await ${query}.whereNull(${name}).update({ ${/^'[a-zA-Z_$][\w$]*'$/.test(name) ? `${name.slice(1, -1)}: ${example}` : key} })`
    : `await ${query}.whereNull(${name}).update(${context.knex}.raw(...))`
  return {
    comments: [`BACKFILL: ${title} becomes NOT NULL. Give the rows without a value one here, for example:`, update],
    lines: refusing(
      `${query}.whereNull(${name})`,
      `${title}: rows without a value exist. Fill them in (see BACKFILL in this migration), and run it again.`,
    ),
  }
}

function exampleOf(column: ColumnSchema, { knex, dialect }: CodeContext): string {
  if (column.default !== undefined) return `${knex}.raw(${codeString(column.default)})`
  switch (shapeOf(column.type, dialect).family) {
    case 'integer':
    case 'decimal':
    case 'float':
      return '0'
    case 'boolean':
      return 'false'
    case 'date':
    case 'datetime':
      return dialect === 'sqlite' ? 'Date.now()' : `${knex}.fn.now()`
    case 'json':
      return "'{}'"
    default:
      return "'...'"
  }
}

function uniqueGuard(table: string, columns: readonly string[], context: CodeContext): Block {
  const names = columns.map((column) => columnCode(column, context))
  const present = names.map((name) => `.whereNotNull(${name})`).join('')
  const query = `${context.knex}(${tableCode(table, context)}).select(${names.join(', ')})${present}.groupBy(${names.join(', ')}).havingRaw('count(*) > 1')`
  const title = `${inComment(table)}.${columns.map(inComment).join(', ')}`
  return {
    lines: refusing(query, `${title}: several rows have the same value, which is to be unique. Change them, and run the migration again.`),
  }
}

/** Refuses rows with values that a check does not allow, below a place where the developer changes them. */
export function valuesGuard(
  { table, check }: Extract<SchemaChange, { readonly check: CheckSchema }>,
  earlier: Earlier,
  context: CodeContext,
): Block[] {
  if (check.column === undefined || !check.values) return []
  const column = earlier(table, check.column)
  const [name, query] = [columnCode(column, context), `${context.knex}(${tableCode(table, context)})`]
  const title = `${inComment(table)}.${inComment(column)}`
  const example = `await ${query}.where(${name}, '...').update(${name}, '...')`
  const pragma = (value: string) => `await ${context.knex}.raw('pragma ignore_check_constraints = ${value}')`
  const allowed = check.values.map(inComment).join(', ')
  return [
    {
      comments: [
        `BACKFILL: ${title} allows only ${allowed}. Give rows with other values one of these here, for example:`,
        ...(context.dialect === 'sqlite' ? [pragma('on'), example, pragma('off')] : [example]),
      ],
      lines: refusing(
        `${query}.whereNotIn(${name}, [${check.values.map(codeString).join(', ')}])`,
        `${title}: rows have other values than ${allowed}. Change them (see BACKFILL in this migration), and run it again.`,
      ),
    },
  ]
}

// Only `down` narrows without a loss that its name tells: of rows that came after `up`.
function lengthGuard(change: Extract<SchemaChange, { kind: 'changeColumn' }>, before: string, context: CodeContext): Block[] {
  const { cutTo } = conversionIn(change, context.dialect) ?? {}
  if (cutTo === undefined || !context.isDown) return []
  const length = `${context.dialect === 'sqlite' ? 'length' : 'char_length'}(${sqlName(context.dialect, before)})`
  const query = `${context.knex}(${tableCode(change.table, context)}).whereRaw(${codeString(`${length} > ${cutTo}`)})`
  const title = `${inComment(change.table)}.${inComment(before)}`
  return [{ lines: refusing(query, `${title}: rows have text of more than ${cutTo} characters. Shorten it, and run the migration again.`) }]
}

function refusing(query: string, message: string): string[] {
  return inside(`await ${query}.first()`, [`throw new Error(${codeString(message)})`])
}

/** Returns the statement that cuts text to the new length, so that the loss is visible in the migration. */
export function cutSql(table: string, column: string, length: number, dialect: CodeContext['dialect']): string {
  const name = sqlName(dialect, column)
  const [cut, size] = dialect === 'sqlite' ? [`substr(${name}, 1, ${length})`, 'length'] : [`left(${name}, ${length})`, 'char_length']
  return `update ${sqlTable(dialect, table)} set ${name} = ${cut} where ${size}(${name}) > ${length}`
}

/** Returns the code of a column in a query. */
function columnCode(name: string, { naming, knex, dialect }: CodeContext): string {
  return naming.code(name) ?? `${knex}.raw(${codeString(sqlName(dialect, name))})`
}

function tableCode(table: string, { naming, knex, dialect }: CodeContext): string {
  return naming.tableCode(table) ?? `${knex}.raw(${codeString(sqlTable(dialect, table))})`
}
