/** Stores and reads the declarations of model classes and mixins: columns, inputs, secrets, unique keys and indexes. */
import { Model } from 'objection'
import { modelSlot } from '../../runtime.js'
import { lineage, ownStatic } from '../class-statics.js'
import { type Column, type ColumnSpec, type Columns, column as columns } from '../column.js'
import type { Definition } from './definition.js'

// biome-ignore lint/suspicious/noExplicitAny: a column of any type
export type AnyColumn = Column<any, boolean>

/** A model class of this library, with the static methods that this layer calls. */
export interface RecordClass {
  // biome-ignore lint/suspicious/noExplicitAny: any constructor
  new (...args: any[]): Model
  readonly name: string
  readonly prototype: Model
  getTableName(): string
  getIdProperty(): string | string[]
  idColumn: string | string[]
}

/** A property that a client may send although it is not a column, such as `password`. */
export interface VirtualInput {
  readonly schema: object
  readonly on: readonly ('create' | 'update')[]
}

export const onlyId: readonly string[] = ['id']
/** Returns columns that depend on static properties of the final class. */
export type ColumnsFor = (cls: RecordClass) => Columns
const ownColumns = new WeakMap<object, Columns | ColumnsFor>()
const ownUniques = new WeakMap<object, readonly (readonly string[])[]>()
const ownIndexes = new WeakMap<object, readonly (readonly string[])[]>()
const ownInputs = new WeakMap<object, Record<string, VirtualInput>>()
const ownSecrets = new WeakMap<object, readonly string[]>()
const ownWhole = new WeakSet<object>()
const ownDefaultIds = new WeakSet<object>()
const intermediates = new WeakSet<object>()

/** Marks a class that a mixin or withColumns() created: it has no table of its own. */
export function markIntermediate(cls: object): void {
  intermediates.add(cls)
}

/** Returns whether a mixin or withColumns() created this class. */
export function isIntermediate(cls: object): boolean {
  return intermediates.has(cls)
}

/** Returns the classes of a model's lineage that the application wrote: neither Objection's own nor those of the library. */
export function applicationClassesOf(cls: object): (typeof Model)[] {
  const isOwn = (c: object) => !isIntermediate(c) && c !== Model && Object.getPrototypeOf(c) !== Function.prototype
  return lineage(cls).filter(isOwn) as (typeof Model)[]
}

/** Keys over several columns, as lists of properties. The columns of base classes and mixins are allowed too. */
export interface TableKeys {
  /** Combinations of values that only one row has. NULL differs from NULL. */
  readonly uniques?: readonly (readonly string[])[]
  /** Indexes for queries that filter or sort by the first of these columns. */
  readonly indexes?: readonly (readonly string[])[]
}

/** Declares columns of a class, which its subclasses inherit. */
export function declareColumns(
  cls: object,
  columns: Columns | ColumnsFor,
  more: {
    uniques?: readonly (readonly string[])[]
    indexes?: readonly (readonly string[])[]
    inputs?: Record<string, VirtualInput>
    /** Columns that stay hidden however a subclass declares them, such as password hashes. */
    secrets?: readonly string[]
    /** Whether the table has no columns besides these and those of the base classes. */
    isWhole?: boolean
    /** Whether the column `id` is only for classes whose `static idColumn` names no other column. */
    isDefaultId?: boolean
  } = {},
): void {
  if (more.isDefaultId) ownDefaultIds.add(cls)
  if (more.isWhole) ownWhole.add(cls)
  ownColumns.set(cls, columns)
  if (more.uniques) ownUniques.set(cls, more.uniques)
  if (more.indexes) ownIndexes.set(cls, more.indexes)
  if (more.inputs) ownInputs.set(cls, more.inputs)
  if (more.secrets) ownSecrets.set(cls, more.secrets)
}

/** The library's models whose ids the database numbers. */
const integerModels = modelSlot<ReadonlySet<object>>(() => new Set())
const integerId = columns.integer()

// Whether the id of a class is inherited from a base class of such a model.
function hasIntegerId(cls: object): boolean {
  if (integerModels.get().size === 0) return false
  const classes = lineage(cls)
  const model = classes.findIndex((c) => integerModels.get().has(c))
  return model >= 0 && !classes.slice(model).some((c) => declaresId(c, cls))
}

function declaresId(cls: object, final: object): boolean {
  const own = ownColumns.get(cls)
  return (typeof own === 'function' ? own(final as RecordClass) : own)?.id !== undefined
}

// Whether a class has no `id`: only BaseModel declares it, and `static idColumn` names other columns.
function isWithoutDefaultId(cls: object): boolean {
  const idColumns = ownIdColumns(cls)
  if (idColumns === onlyId || idColumns.includes('id')) return false
  return !lineage(cls).some((c) => !ownDefaultIds.has(c) && declaresId(c, cls))
}

/** Returns the columns or properties in the `static idColumn` of the application. The getter of the library needs the definition. */
export function ownIdColumns(cls: object): readonly string[] {
  const owner = lineage(cls).findLast((c) => !isIntermediate(c) && Object.hasOwn(c, 'idColumn'))
  const value = owner ? ownStatic(owner, 'idColumn') : 'id'
  return value === 'id' ? onlyId : ([value ?? []].flat() as string[])
}

/** Returns the columns of a class and its base classes, with the names and ids that the final class gives them. */
export function mergedColumns(cls: object): Record<string, AnyColumn> {
  const merged: Record<string, AnyColumn> = {}
  for (const c of lineage(cls)) {
    const own = ownColumns.get(c)
    Object.assign(merged, typeof own === 'function' ? own(cls as RecordClass) : own)
  }
  if (merged.id && hasIntegerId(cls)) merged.id = integerId
  if (merged.id && isWithoutDefaultId(cls)) delete merged.id
  for (const name of secretsOf(cls)) {
    const declared = merged[name]
    if (declared && !declared.spec.isHidden) merged[name] = declared.hidden()
  }
  for (const [property, declared] of Object.entries(merged)) {
    const name = givenColumnName(cls, property, declared.spec)
    if (name !== undefined) merged[property] = declared.named(name)
  }
  return merged
}

/** The merged declarations of a class and its base classes. */
export type Declaration = Pick<Definition, 'columns' | 'uniques' | 'indexes'>

/** Returns the properties that clients may send although they are no columns. */
export function inputsOf(cls: object): Record<string, VirtualInput> {
  return Object.assign({}, ...lineage(cls).map((c) => ownInputs.get(c)))
}

/** Returns whether the table has no columns besides those that are declared. */
export function declaresWholeTable(cls: object): boolean {
  return lineage(cls).some((c) => ownWhole.has(c))
}

/** Replaces the library's models whose ids the database numbers. @returns whether they have changed */
export function replaceIntegerModels(classes: ReadonlySet<object>): boolean {
  const before = integerModels.get()
  integerModels.set(classes)
  return before.size !== classes.size || [...classes].some((cls) => !before.has(cls))
}

/** Returns the declarations of a class as they were written: references do not have the types of their targets yet. */
export function declarationOf(cls: object): Declaration {
  const merged = (own: WeakMap<object, readonly (readonly string[])[]>) => lineage(cls).flatMap((c) => own.get(c) ?? [])
  return { columns: mergedColumns(cls), uniques: merged(ownUniques), indexes: merged(ownIndexes) }
}

/** Returns the columns that stay hidden however a subclass declares them. */
export const secretsOf = (cls: object): string[] => lineage(cls).flatMap((c) => ownSecrets.get(c) ?? [])

/** `static columnNames`: columns by property, or a function of the property's name. */
export type ColumnNames = Readonly<Record<string, string>> | ((property: string) => string)

/** Returns the column that a class names. An entry of columnNames wins over named(), which wins over a function. */
export function givenColumnName(cls: object, property: string, spec?: ColumnSpec): string | undefined {
  let byFunction: ((property: string) => string) | undefined
  for (const c of lineage(cls).reverse()) {
    const names = ownStatic(c, 'columnNames') as ColumnNames | undefined
    if (typeof names === 'function') byFunction ??= names
    else if (names && Object.hasOwn(names, property)) return names[property]
  }
  return spec?.columnName ?? byFunction?.(property)
}
