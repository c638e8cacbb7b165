/** Replaces an SQLite table by one with another definition. */
import type { SchemaChange } from '../../../database/catalogue/schema-types.js'
import type { CodeContext } from '../code.js'
import { codeString, codeTemplate, sqlName, sqlNames } from '../literals.js'
import { conversionIn } from '../steps.js'
import { type DefinedColumn, type Definition, definitionLines, mentions } from './definition.js'

/** Returns whether SQLite has no statement for a change. @param definition the table before the change */
export function needsRebuild(change: SchemaChange, definition: Definition): boolean {
  switch (change.kind) {
    case 'addColumn':
      return !isAddable(change.column)
    case 'dropColumn':
      return !isDroppable(definition, change.column.name)
    case 'addIndex':
    case 'renameColumn':
      return false
    case 'dropIndex':
      return change.index.isConstraint === true
    default:
      return true
  }
}

// SQLite adds a column only with a default that is a literal, or NULL.
function isAddable({ isNullable, default: value }: Extract<SchemaChange, { kind: 'addColumn' }>['column']): boolean {
  if (value === undefined) return isNullable
  return /^(?:'(?:[^']|'')*'|[-+]?\d+(?:\.\d+)?|true|false)$/i.test(value)
}

function isDroppable({ columns, constraints }: Definition, name: string): boolean {
  const own = columns.find((column) => column.name.toLowerCase() === name.toLowerCase())
  const isPlain =
    own?.clauses.every(({ kind }) => kind === 'null' || kind === 'not null' || kind === 'default' || kind === 'collate') === true
  const expressions = columns.flatMap(({ clauses }) => clauses.filter(({ kind }) => kind === 'check' || kind === 'generated'))
  return isPlain && ![...constraints, ...expressions].some(({ sql }) => mentions(sql, name))
}

/** A table that is replaced. */
export interface Rebuild {
  readonly before: Definition
  readonly after: Definition
  readonly changes: readonly SchemaChange[]
  /** The name of the new table until the old one is dropped. */
  readonly name: string
}

/** Returns the call that replaces a table. */
export function rebuildLines({ before, after, changes, name }: Rebuild, context: CodeContext): string[] {
  const isComputed = ({ clauses }: DefinedColumn) => clauses.some(({ kind }) => kind === 'generated')
  const existing = new Set(before.columns.filter((column) => !isComputed(column)).map((column) => column.name.toLowerCase()))
  const copied = after.columns
    .filter((column) => !isComputed(column) && existing.has(column.name.toLowerCase()))
    .map((column) => column.name)
  const values = copied.map((column) => copiedValue(column, changes, context))
  const copy = [
    `insert into ${sqlName('sqlite', name)} (${sqlNames('sqlite', copied)})`,
    `  select ${values.join(', ')} from ${sqlName('sqlite', before.name)}`,
  ]
  return [
    `await rebuildTable(${context.knex}, ${codeString(before.name)}, ${codeString(name)}, {`,
    ...propertyLines('create', definitionLines(after, name)),
    ...propertyLines('copy', copy),
    '})',
  ]
}

function propertyLines(key: string, sql: readonly string[]): string[] {
  const lines = codeTemplate(sql)
  return lines.map((line, i) => `  ${i === 0 ? `${key}: ` : ''}${line}${i === lines.length - 1 ? ',' : ''}`)
}

function copiedValue(column: string, changes: readonly SchemaChange[], { isDown }: CodeContext): string {
  const name = sqlName('sqlite', column)
  const change = changes.find((one) => one.kind === 'changeColumn' && one.to.name === column)
  const conversion = change?.kind === 'changeColumn' ? conversionIn(change, 'sqlite') : undefined
  if (conversion?.cutTo !== undefined && !isDown) return `substr(${name}, 1, ${conversion.cutTo})`
  return conversion?.expression?.(name) ?? name
}
