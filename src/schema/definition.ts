import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { snakeCase } from '../core/names.js'
import { modelSlot } from '../runtime.js'
import type { Column, ColumnSpec, Columns } from './column.js'

// biome-ignore lint/suspicious/noExplicitAny: a column of any type
type AnyColumn = Column<any, boolean>

/** An Objection model class that carries this library's statics, seen from inside. */
export interface RecordClass {
  // biome-ignore lint/suspicious/noExplicitAny: any constructor
  new (...args: any[]): Model
  readonly name: string
  readonly prototype: Model
  getTableName(): string
  getIdProperty(): string | string[]
}

/** What may come in beside the columns, such as `password`. */
export interface VirtualInput {
  readonly schema: object
  readonly on: readonly ('create' | 'update')[]
}

/** Everything that the declarations of a class and its bases say, merged; worked out once per class. */
export interface Definition {
  readonly modelClass: RecordClass
  readonly tableName: string
  readonly columns: Readonly<Record<string, AnyColumn>>
  readonly specs: Readonly<Record<string, ColumnSpec>>
  /** property → column of the database */
  readonly columnOf: ReadonlyMap<string, string>
  /** column of the database → property */
  readonly propertyOf: ReadonlyMap<string, string>
  /** JSON Schema properties added by hand with `static jsonSchema`. */
  readonly handWritten: Readonly<Record<string, object>>
  readonly handRequired: readonly string[]
  /** Those of them that are kept as JSON: `static jsonAttributes`, or all whose schema takes objects or arrays. */
  readonly jsonAttributes: ReadonlySet<string>
  /** Whether the columns are declared, rather than only what mixins bring: then a key that is none of them is an error. */
  readonly isStrict: boolean
  readonly uniques: readonly (readonly string[])[]
  readonly indexes: readonly (readonly string[])[]
  readonly inputs: Readonly<Record<string, VirtualInput>>
}

const structures = modelSlot(() => new WeakMap<object, Definition>())
/** Those of classes that have passed all checks. */
const definitions = modelSlot(() => new WeakMap<object, Definition>())
/** Some columns depend on statics that only the final class says. */
export type ColumnsFor = (cls: RecordClass) => Columns
const ownColumns = new WeakMap<object, Columns | ColumnsFor>()
const ownUniques = new WeakMap<object, readonly (readonly string[])[]>()
const ownIndexes = new WeakMap<object, readonly (readonly string[])[]>()
const ownInputs = new WeakMap<object, Record<string, VirtualInput>>()
const ownWhole = new WeakSet<object>()
const intermediates = new WeakSet<object>()
type DefinitionHook = (cls: RecordClass, definition: Definition) => void
const checks: DefinitionHook[] = [refuseInitialisedFields]
const effects: DefinitionHook[] = []
const tableAliases = modelSlot(() => new Map<string, string>())

/** Names that a query of ours may use for a column: property → column. */
const knownNames = modelSlot(() => new Map<string, string>())
let namesVersion = 0

/** A number that changes when an identifier may mean another column than before. */
export function versionOfNames(): number {
  return namesVersion
}

/** Marks a class that a mixin or withColumns made: it has no table of its own. */
export function markIntermediate(cls: object): void {
  intermediates.add(cls)
}

/** Whether a mixin or withColumns made this class. */
export function isIntermediate(cls: object): boolean {
  return intermediates.has(cls)
}

/** Adds columns to a class that a mixin made. */
export function declareColumns(
  cls: object,
  columns: Columns | ColumnsFor,
  more: {
    uniques?: readonly (readonly string[])[]
    indexes?: readonly (readonly string[])[]
    inputs?: Record<string, VirtualInput>
    /** Whether these columns, and those of the bases, are all there are. */
    isWhole?: boolean
  } = {},
): void {
  if (more.isWhole) ownWhole.add(cls)
  ownColumns.set(cls, columns)
  if (more.uniques) ownUniques.set(cls, more.uniques)
  if (more.indexes) ownIndexes.set(cls, more.indexes)
  if (more.inputs) ownInputs.set(cls, more.inputs)
}

/** Adds a check that every class passes at its first use. A check changes nothing: the class may fail a later one. */
export function onDefinition(check: DefinitionHook): void {
  checks.push(check)
}

/** Adds what is done once for every class that has passed all checks. */
export function afterDefinition(effect: DefinitionHook): void {
  effects.push(effect)
}

/** `'user'` in references() means the registered user model's table. */
export function aliasTable(name: string, table: string | null): void {
  if (table === null) tableAliases.get().delete(name)
  else tableAliases.get().set(name, table)
}

/** The table that a reference to `name` means. */
export function resolveTable(name: string): string {
  return tableAliases.get().get(name) ?? name
}

/** The column of the database that an identifier in a query means, or the identifier itself. */
export function columnForIdentifier(identifier: string): string {
  return knownNames.get().get(identifier) ?? identifier
}

/**
 * The property whose column a key of a row would set: the property's name, the column's, or what databases take for it
 * ('USER_ID', 'doc.user_id'). undefined for what is no declared column.
 */
export function propertyMeant(cls: object, key: string): string | undefined {
  const { propertyOf, columnOf } = definitionOf(cls)
  if (columnOf.has(key)) return key
  const bare = key.slice(key.lastIndexOf('.') + 1).replaceAll(/["`\s]/g, '')
  return propertyOf.get(bare) ?? propertyOf.get(bare.toLowerCase()) ?? (columnOf.has(bare) ? bare : undefined)
}

/** The class and its bases, the base first. */
export function lineage(cls: object): object[] {
  const chain: object[] = []
  for (let c: object | null = cls; c !== null && c !== Function.prototype; c = Object.getPrototypeOf(c) as object | null) chain.unshift(c)
  return chain
}

/** The own value of a static, or undefined: what a base says does not count. */
export function ownStatic(cls: object, name: string): unknown {
  const descriptor = Object.getOwnPropertyDescriptor(cls, name)
  if (!descriptor) return undefined
  return descriptor.get ? (descriptor.get as () => unknown).call(cls) : descriptor.value
}

function mergedColumns(cls: object): Record<string, AnyColumn> {
  const merged: Record<string, AnyColumn> = {}
  for (const c of lineage(cls)) {
    const own = ownColumns.get(c)
    Object.assign(merged, typeof own === 'function' ? own(cls as RecordClass) : own)
  }
  return merged
}

/**
 * The table of a class: its `static tableName`, else its base's where it adds no column, else its name in snake_case.
 */
export function tableNameOf(cls: RecordClass): string {
  const own = Object.getOwnPropertyDescriptor(cls, 'tableName')
  if (own && typeof own.value === 'string') return own.value
  const count = Object.keys(mergedColumns(cls)).length
  for (let base = Object.getPrototypeOf(cls) as RecordClass; typeof base === 'function' && base !== Function.prototype; ) {
    const said = Object.getOwnPropertyDescriptor(base, 'tableName')
    if (said && typeof said.value === 'string' && Object.keys(mergedColumns(base)).length === count) return said.value
    if (!intermediates.has(base)) {
      if (Object.keys(mergedColumns(base)).length === count && isConcrete(base)) return tableNameOf(base)
      break
    }
    base = Object.getPrototypeOf(base) as RecordClass
  }
  return snakeCase(cls.name)
}

// A base that declares nothing beside what every record has (BasePermsModel, the application's own base) has no table.
function isConcrete(cls: RecordClass): boolean {
  return Object.keys(mergedColumns(cls)).some((name) => name !== 'id' && name !== 'createdAt' && name !== 'updatedAt')
}

/**
 * Returns what a class declares and checks the class at its first use.
 *
 * @throws ConfigurationError where the class is written in a way that cannot work
 */
export function definitionOf(cls: object): Definition {
  const known = definitions.get().get(cls)
  if (known) return known
  const made = structureOf(cls)
  // The checks ask for it themselves.
  definitions.get().set(cls, made)
  try {
    for (const check of checks) check(made.modelClass, made)
  } catch (error) {
    // What was refused once is refused each time.
    definitions.get().delete(cls)
    throw error
  }
  for (const effect of effects) effect(made.modelClass, made)
  return made
}

/**
 * Returns what a class declares without checking the class. For code that looks at one class on behalf of another: an error
 * in the one must not stop the other.
 */
export function structureOf(cls: object): Definition {
  const known = structures.get().get(cls)
  if (known) return known
  const made = define(cls as RecordClass)
  structures.get().set(cls, made)
  return made
}

function define(cls: RecordClass): Definition {
  const columns = mergedColumns(cls)
  const specs: Record<string, ColumnSpec> = {}
  const columnOf = new Map<string, string>()
  const propertyOf = new Map<string, string>()
  const handWritten: Record<string, object> = {}
  const handRequired: string[] = []
  const uniques: (readonly string[])[] = []
  const indexes: (readonly string[])[] = []
  const inputs: Record<string, VirtualInput> = {}
  for (const c of lineage(cls)) {
    const schema = ownStatic(c, 'jsonSchema') as { properties?: Record<string, object>; required?: string[] } | null | undefined
    Object.assign(handWritten, schema?.properties)
    handRequired.push(...(schema?.required ?? []))
    uniques.push(...(ownUniques.get(c) ?? []))
    indexes.push(...(ownIndexes.get(c) ?? []))
    Object.assign(inputs, ownInputs.get(c))
  }
  for (const name of [...Object.keys(columns), ...Object.keys(handWritten), ...mergedList(cls, 'jsonAttributes')]) {
    const declared = columns[name]
    if (declared) specs[name] = declared.spec
    const inDatabase = snakeCase(name)
    columnOf.set(name, inDatabase)
    propertyOf.set(inDatabase, name)
    if (inDatabase === name || knownNames.get().get(name) === inDatabase) continue
    knownNames.get().set(name, inDatabase)
    namesVersion += 1
  }
  return {
    modelClass: cls,
    tableName: cls.getTableName(),
    columns,
    specs,
    columnOf,
    propertyOf,
    handWritten,
    handRequired,
    jsonAttributes: jsonAttributesOf(cls, handWritten),
    isStrict: isConcrete(cls) && (columns.id !== undefined || lineage(cls).some((c) => ownWhole.has(c))),
    uniques,
    indexes,
    inputs,
  }
}

function jsonAttributesOf(cls: RecordClass, handWritten: Readonly<Record<string, object>>): Set<string> {
  const said = mergedList(cls, 'jsonAttributes')
  const types = (schema: object): unknown[] => {
    const { type, anyOf, oneOf } = schema as { type?: unknown; anyOf?: object[]; oneOf?: object[] }
    return type !== undefined ? [type].flat() : [...(anyOf ?? []), ...(oneOf ?? [])].flatMap(types)
  }
  const bySchema = Object.keys(handWritten).filter((name) =>
    types(handWritten[name] as object).some((type) => type === 'object' || type === 'array'),
  )
  return new Set([...said, ...(said.length > 0 ? [] : bySchema)])
}

const withoutFields = new WeakSet<object>()

/** Notes that a class has no initialised fields, so none of its instances is made to look for them. */
export function markWithoutFields(cls: object): void {
  withoutFields.add(cls)
}

function refuseInitialisedFields(cls: RecordClass): void {
  if (withoutFields.has(cls)) return
  const fields = Object.keys(new cls()).filter((name) => !name.startsWith('$'))
  if (fields.length === 0) return
  throw new ConfigurationError(
    `${cls.name} has class fields (${fields.join(', ')}) that would overwrite what the database returns: write "declare ${fields[0]}: ..." ` +
      'for a column, column.*().default(...) for its default, and a getter for anything derived.',
  )
}

/** A static object that a subclass adds to, such as `modifiers`. */
export function mergedStatic<T extends object>(cls: object, name: string): T {
  const merged = {}
  for (const c of lineage(cls)) Object.assign(merged, ownStatic(c, name))
  return merged as T
}

/** A static list that a subclass adds to, such as `virtualAttributes`. */
export function mergedList(cls: object, name: string): string[] {
  return [...new Set(lineage(cls).flatMap((c) => (ownStatic(c, name) as string[] | null | undefined) ?? []))]
}
