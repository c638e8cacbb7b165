/** The code of steps on SQLite, which can add and rename columns, and replaces the table for other changes. */
import { grouped } from '../../../database/catalogue/rows.js'
import type { DatabaseSchema, IndexSchema, SchemaChange } from '../../../database/catalogue/schema-types.js'
import { builderLines } from '../builder.js'
import { type Block, type CodeContext, hasColumn, inside, rawLine, renameLines } from '../code.js'
import { guardBlocks, notNullGuard } from '../guards.js'
import { inComment, sqlName, sqlTable } from '../literals.js'
import { changeSql, createTableSql, indexSql } from '../sql.js'
import type { Step } from '../steps.js'
import { type Definition, parseDefinition } from './definition.js'
import { changedDefinition, renamedChange, withRenamedTarget } from './edit.js'
import { needsRebuild, rebuildLines } from './rebuild.js'

/** The definitions of tables by name, as they are at a point of the migration. */
export type Definitions = Map<string, Definition>

/** Returns the definitions of the tables of a schema. */
export function definitionsOf({ tables }: DatabaseSchema): Definitions {
  return new Map(
    [...tables].flatMap(([name, { sql, isView }]) => (sql === undefined || isView ? [] : [[name, parseDefinition(sql)] as const])),
  )
}

/** The code of one direction of a migration. */
export interface SqliteCode {
  readonly blocks: readonly Block[]
  /** Whether the code replaces or drops tables, which needs a connection without foreign keys. */
  readonly needsNoForeignKeys: boolean
  readonly definitions: Definitions
}

type TableChange = Exclude<SchemaChange, { kind: 'createTable' | 'dropTable' }>

/**
 * Returns the code of steps.
 *
 * @param schema the schema before the steps
 * @param before the definitions before the steps
 */
export function sqliteCode(steps: readonly Step[], schema: DatabaseSchema, before: Definitions, context: CodeContext): SqliteCode {
  const writer = new SqliteWriter(schema, new Map(before), context)
  writer.blocks.push(...guardBlocks(steps, context))
  for (const { change } of steps) if (change.kind === 'createTable') writer.createTable(change)
  const byTable = grouped(afterRenames(steps).filter(isTableStep), ({ change }) => change.table)
  for (const { change } of steps) if (change.kind === 'renameColumn') writer.rename(change)
  for (const [table, list] of byTable) writer.changeTable(table, list)
  for (const step of steps) if (step.change.kind === 'dropTable') writer.dropTable(step, step.change)
  return writer
}

// Renames come first on SQLite, so that steps before them have to use the new names.
function afterRenames(steps: readonly Step[]): Step[] {
  return steps.map((step, i) => {
    const later = steps.slice(i + 1).flatMap(({ change }) => (change.kind === 'renameColumn' ? [change] : []))
    return { ...step, change: later.reduce<SchemaChange>(renamedChange, step.change) }
  })
}

type IndexChange = Extract<SchemaChange, { readonly index: IndexSchema }>
type TableStep = Step & { readonly change: TableChange }

function isTableStep(step: Step): step is TableStep {
  return step.change.kind !== 'createTable' && step.change.kind !== 'dropTable'
}

class SqliteWriter implements SqliteCode {
  readonly blocks: Block[] = []
  needsNoForeignKeys = false
  readonly #schema: DatabaseSchema
  readonly definitions: Definitions
  readonly #context: CodeContext
  readonly #droppedIndexes = new Set<string>()

  constructor(schema: DatabaseSchema, definitions: Definitions, context: CodeContext) {
    this.#schema = schema
    this.definitions = definitions
    this.#context = context
  }

  createTable(change: Extract<SchemaChange, { kind: 'createTable' }>): void {
    const [made, ...indexes] = createTableSql(change.table, 'sqlite')
    const create = change.table.sql ?? (made as string)
    this.definitions.set(change.table.name, parseDefinition(create))
    const lines = builderLines(change, this.#context) ?? [create, ...indexes].map((sql) => rawLine(this.#context, sql))
    this.blocks.push({ lines })
  }

  dropTable({ loss, isDisabled }: Step, change: Extract<SchemaChange, { kind: 'dropTable' }>): void {
    const { name } = change.table
    const isTarget = [...this.#schema.tables.values()].some(({ foreignKeys }) => foreignKeys.some(({ table }) => table === name))
    if (isTarget) this.needsNoForeignKeys = true
    if (!isDisabled) this.definitions.delete(name)
    const lines = builderLines(change, this.#context) ?? changeSql(change, 'sqlite', false).map((sql) => rawLine(this.#context, sql))
    this.blocks.push({ comments: commentsOf(loss, isDisabled), lines, isDisabled })
  }

  // SQLite changes the name in indexes, triggers and foreign keys of all tables.
  rename(change: Extract<SchemaChange, { kind: 'renameColumn' }>): void {
    const { table, from, to } = change
    for (const [name, definition] of this.definitions) {
      const own = name === table ? changedDefinition(definition, change) : definition
      this.definitions.set(name, withRenamedTarget(own, table, from, to))
    }
    const lines = builderLines(change, this.#context) ?? changeSql(change, 'sqlite', false).map((sql) => rawLine(this.#context, sql))
    const indexes = (this.#schema.tables.get(table)?.indexes ?? []).filter(
      ({ columns, isConstraint }) => !isConstraint && columns.includes(from),
    )
    const drop = [
      ...indexes.map((index) => `drop index if exists ${sqlName('sqlite', index.name)}`),
      `alter table ${sqlTable('sqlite', table)} drop column ${sqlName('sqlite', from)}`,
    ].map((sql) => rawLine(this.#context, sql))
    this.blocks.push({ lines: this.#isLibraryTable(table) ? renameLines(change, { rename: lines, drop }, this.#context) : lines })
  }

  changeTable(table: string, steps: readonly TableStep[]): void {
    const active = steps.filter(({ isDisabled, change }) => !isDisabled && change.kind !== 'renameColumn')
    this.#apply(table, active)
    const disabled = steps.filter(({ isDisabled }) => isDisabled)
    if (disabled.length === 0) return
    // The steps in a comment begin where the others end.
    const later = new SqliteWriter(this.#schema, new Map(this.definitions), this.#context)
    for (const name of this.#droppedIndexes) later.#droppedIndexes.add(name)
    later.#apply(table, disabled)
    const [first, ...others] = later.blocks
    const comments = disabled.flatMap(({ loss }) => commentsOf(loss, true))
    if (first) this.blocks.push({ ...first, comments, isDisabled: true }, ...others.map((block) => ({ ...block, isDisabled: true })))
    if (later.needsNoForeignKeys) this.needsNoForeignKeys = true
  }

  #isLibraryTable(table: string): boolean {
    return this.#context.libraryTables.has(table)
  }

  #apply(table: string, steps: readonly TableStep[]): void {
    const losses = steps.flatMap(({ loss, isDisabled }) => commentsOf(loss, isDisabled))
    const changes = steps.map(({ change }) => change)
    const ofKind = (kind: TableChange['kind']) => changes.filter((change) => change.kind === kind)
    for (const change of ofKind('dropIndex'))
      if (change.kind === 'dropIndex' && !change.index.isConstraint) this.#dropIndex(table, change.index.name)
    const rest = changes.filter((change) => change.kind !== 'dropIndex' || change.index.isConstraint)
    const definition = this.#definition(table)
    const isRebuilt = rest.some((change) => needsRebuild(change, definition))
    const added = rest.filter((change) => change.kind === 'addColumn' && (!isRebuilt || !needsRebuild(change, definition)))
    for (const change of added) this.#addColumn(table, change)
    for (const { change, needsValues } of steps)
      if (needsValues && change.kind === 'changeColumn') this.blocks.push(notNullGuard(table, change.to, this.#context))
    const others = rest.filter((change) => !added.includes(change) && change.kind !== 'addIndex')
    if (isRebuilt) this.#rebuild(table, others, losses)
    else for (const [i, change] of others.entries()) this.#dropColumn(table, change, i === 0 ? losses : [])
    for (const change of ofKind('addIndex')) if (change.kind === 'addIndex') this.#addIndex(table, change)
  }

  #definition(table: string): Definition {
    const definition = this.definitions.get(table)
    if (definition) return definition
    throw new Error(`The definition of the table ${table} is unknown.`)
  }

  #dropIndex(table: string, name: string): void {
    this.#droppedIndexes.add(name)
    const ifExists = this.#isLibraryTable(table) ? 'if exists ' : ''
    this.blocks.push({ lines: [rawLine(this.#context, `drop index ${ifExists}${sqlName('sqlite', name)}`)] })
  }

  #addIndex(table: string, change: IndexChange): void {
    if (this.#isLibraryTable(table)) {
      this.blocks.push({ lines: [rawLine(this.#context, indexSql(table, change.index, 'sqlite', 'if not exists '))] })
      return
    }
    this.blocks.push({ lines: builderLines(change, this.#context) ?? [rawLine(this.#context, indexSql(table, change.index, 'sqlite'))] })
  }

  #addColumn(table: string, change: TableChange): void {
    if (change.kind !== 'addColumn') return
    this.definitions.set(table, changedDefinition(this.#definition(table), change))
    const lines = builderLines(change, this.#context) ?? changeSql(change, 'sqlite', false).map((sql) => rawLine(this.#context, sql))
    this.blocks.push({
      lines: this.#isLibraryTable(table) ? inside(`!(await ${hasColumn(table, change.column.name, this.#context)})`, lines) : lines,
    })
  }

  #dropColumn(table: string, change: TableChange, comments: readonly string[]): void {
    if (change.kind !== 'dropColumn') return
    this.#dropIndexesOf(table, [change])
    this.definitions.set(table, changedDefinition(this.#definition(table), change))
    const lines = [rawLine(this.#context, `alter table ${sqlTable('sqlite', table)} drop column ${sqlName('sqlite', change.column.name)}`)]
    this.blocks.push({
      comments,
      lines: this.#isLibraryTable(table) ? inside(`await ${hasColumn(table, change.column.name, this.#context)}`, lines) : lines,
    })
  }

  // An index on a dropped column cannot stay.
  #dropIndexesOf(table: string, changes: readonly TableChange[]): void {
    const dropped = new Set(changes.flatMap((change) => (change.kind === 'dropColumn' ? [change.column.name] : [])))
    for (const { name, columns, isConstraint } of this.#schema.tables.get(table)?.indexes ?? []) {
      if (isConstraint || this.#droppedIndexes.has(name) || !columns.some((column) => dropped.has(column))) continue
      this.blocks.push({ lines: [rawLine(this.#context, `drop index if exists ${sqlName('sqlite', name)}`)] })
    }
  }

  #rebuild(table: string, changes: readonly TableChange[], losses: readonly string[]): void {
    this.needsNoForeignKeys = true
    this.#dropIndexesOf(table, changes)
    const before = this.#definition(table)
    const after = changes.reduce<Definition>(changedDefinition, before)
    this.definitions.set(table, after)
    const taken = new Set([...this.#schema.tables.keys(), ...this.definitions.keys()])
    let name = `${table}_new`
    while (taken.has(name)) name += '_'
    const comments = [`SQLite changes the columns and keys of ${inComment(table)} only in a new table.`, ...losses]
    this.blocks.push({ comments, lines: rebuildLines({ before, after, changes, name }, this.#context) })
  }
}

function commentsOf(loss: string | undefined, isDisabled: boolean | undefined): string[] {
  if (loss === undefined) return []
  return [isDisabled ? `LOSES ${loss}. To do it, remove the comment signs, and let down() throw.` : `Loses ${loss}.`]
}
