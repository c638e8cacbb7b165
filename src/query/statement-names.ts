/** Finds the columns of property names in the statement of a query builder, where models may name columns with named(). */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import type { IdentifierNames, NamesContext } from '../database/identifiers.js'
import { clausesOf, isKnexBuilder, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { givenColumnName } from '../schema/definition/declarations.js'
import { structureOf } from '../schema/definition/definition.js'
import { classOfTable, columnForIdentifier, hasNamedColumns } from '../schema/definition/known-names.js'
import { enclosingQueryOf, type ObjectionBuilder } from './objection-internals.js'

/** The members of a query builder that this file uses. */
interface NamingBuilder extends Pick<ObjectionBuilder, 'tableRef' | 'tableName'> {
  readonly names?: NamesContext | undefined
  modelClass(): typeof Model
}

/**
 * Returns the Knex query context for the statement of a builder: its property names become columns.
 *
 * @param statement the Knex builder of the statement
 */
export function namesOf(builder: NamingBuilder, statement: Knex.QueryBuilder): NamesContext {
  return { objectionPermsNames: new StatementNames(builder, statement as OpenKnexBuilder) }
}

const bare = (name: string): string => name.slice(name.lastIndexOf('.') + 1)

class StatementNames implements IdentifierNames {
  /** The identifier before the current one: the table or alias of a qualified column. */
  #previous = ''
  #classes: ReadonlyMap<string, object> | undefined
  readonly #builder: NamingBuilder
  readonly #statement: OpenKnexBuilder

  constructor(builder: NamingBuilder, statement: OpenKnexBuilder) {
    this.#builder = builder
    this.#statement = statement
  }

  get cls(): typeof Model {
    return this.#builder.modelClass()
  }

  columnFor(identifier: string): string {
    if (!hasNamedColumns()) return columnForIdentifier(identifier)
    const table = this.#previous
    this.#previous = identifier
    const qualifying = table === '' ? undefined : this.classOf(table)
    // The table of a qualified column, or an alias.
    if (qualifying === undefined && this.classOf(identifier) !== undefined) return columnForIdentifier(identifier)
    return columnIn(qualifying ?? this.cls, identifier)
  }

  /** Returns the class whose rows a table or alias contains, also one of an enclosing statement. */
  classOf(alias: string): object | undefined {
    this.#classes ??= this.#listClasses()
    return this.#classes.get(alias) ?? namesOfParent(this.#builder)?.classOf(alias)
  }

  #listClasses(): ReadonlyMap<string, object> {
    const builder = this.#builder
    const classes = new Map<string, object>()
    for (const { grouping, table } of clausesOf(this.#statement)) if (grouping === 'join') noteSource(classes, table)
    for (const name of [builder.tableRef(), builder.tableName()]) classes.set(bare(name), this.cls)
    return classes
  }
}

function namesOfParent(builder: NamingBuilder): StatementNames | undefined {
  const parent = enclosingQueryOf(builder as ObjectionBuilder) as NamingBuilder | null | undefined
  const names = parent?.names?.objectionPermsNames
  return names instanceof StatementNames ? names : undefined
}

const asWord = /\s+as\s+/i

// A join names a table, `table as alias`, { alias: table }, or a subquery.
function noteSource(classes: Map<string, object>, source: unknown): void {
  if (typeof source === 'string') {
    const [table = '', alias = bare(table)] = source.trim().split(asWord)
    const cls = classOfTable(table) ?? classOfTable(bare(table))
    if (cls) classes.set(alias, cls)
    return
  }
  if (typeof source !== 'object' || source === null) return
  if (isKnexBuilder(source)) {
    const { as: alias } = singlePartsOf(source)
    const names = (source.queryContext() as Partial<NamesContext> | undefined)?.objectionPermsNames
    if (typeof alias === 'string' && names instanceof StatementNames) classes.set(alias, names.cls)
    return
  }
  for (const [name, table] of Object.entries(source)) if (typeof table === 'string') noteSource(classes, `${table} as ${name}`)
}

function columnIn(cls: object, identifier: string): string {
  const { columnOf, propertyOf, keepsNames } = structureOf(cls)
  const column = columnOf.get(identifier)
  if (column !== undefined) return column
  // `static columnNames = (property) => property` keeps undeclared names too, such as an updatedAt that a hook sets.
  const isKept = propertyOf.has(identifier) || (keepsNames && givenColumnName(cls, identifier) === identifier)
  return isKept ? identifier : columnForIdentifier(identifier)
}
