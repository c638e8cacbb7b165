/**
 * The undocumented parts of Objection 3.1 that this library uses: no other file names them, and `npm run check:imports` enforces
 * that. `selfCheck` asserts at initPerms that they still work as expected.
 */
import type { Knex } from 'knex'
import { Model, type QueryBuilder, type RelationMapping } from 'objection'
import type { OpenKnexBuilder } from '../database/knex-internals.js'

// -- rows -----------------------------------------------------------------------------------------------------------

interface RowInternals {
  readonly $$queryProps?: Record<string, unknown>
  readonly $$omitFromDatabaseJson?: readonly string[]
  readonly $$omitFromJson?: readonly string[]
}

const noValues: Readonly<Record<string, unknown>> = Object.freeze({})
const noNames: readonly string[] = []

/**
 * Returns the values of a row that are raw SQL or queries, by property. Objection keeps them apart from the properties of the row.
 *
 * @returns undefined for a row without such values
 */
export function queryValuesOf(row: object): Record<string, unknown> | undefined {
  return (row as RowInternals).$$queryProps
}

/** Returns all values of a row, those that are raw SQL or queries included. */
export function allValuesOf(row: object): Record<string, unknown> {
  return { ...row, ...queryValuesOf(row) }
}

/** Returns the names of the values of a row that are raw SQL or queries. */
export function queryNamesOf(row: object): string[] {
  return Object.keys(queryValuesOf(row) ?? noValues)
}

/** Returns an object with the values of a row that later changes of the row do not affect. */
export function snapshotOfRow(row: Model): Model {
  const { $$queryProps } = row as RowInternals
  return { ...row, $$queryProps } as unknown as Model
}

/** Returns the properties that Objection does not write to the database: unchanged ones of a graph, and columns of join tables. */
export function unwrittenNamesOf(row: object): readonly string[] {
  return (row as RowInternals).$$omitFromDatabaseJson ?? noNames
}

/** Returns whether $omitFromJson() was called on a row. */
export function omitsFromJson(row: object): boolean {
  return Boolean((row as RowInternals).$$omitFromJson)
}

/** The names by which a class or a row changes what toJSON() returns. */
export const jsonFormattingNames: readonly string[] = ['toJSON', '$toJson', '$formatJson', '$omitFromJson', '$$omitFromJson']

// -- model classes --------------------------------------------------------------------------------------------------

/** Forgets the metadata of the table that Objection cached on a class. */
export function forgetTableMetadata(cls: object): void {
  if (Object.hasOwn(cls, '$$tableMetadata')) Reflect.deleteProperty(cls, '$$tableMetadata')
}

/** Forgets the relations that Objection cached on a class. */
export function forgetRelationsOf(cls: object): void {
  if (Object.hasOwn(cls, '$$relations')) Reflect.deleteProperty(cls, '$$relations')
}

/** Returns Objection's cache of the relations of a class. */
export function relationCacheOf(cls: object): Record<string, ObjectionRelation> {
  if (!Object.hasOwn(cls, '$$relations'))
    Object.defineProperty(cls, '$$relations', { value: Object.create(null), writable: true, configurable: true })
  return (cls as { $$relations: Record<string, ObjectionRelation> }).$$relations
}

/** Creates a relation of a class as Objection does. */
export function createRelation(owner: object, name: string, mapping: RelationMapping<Model>): ObjectionRelation {
  const Relation: unknown = mapping.relation
  const relation = new (Relation as new (name: string, owner: object) => ObjectionRelation)(name, owner)
  relation.setMapping(mapping)
  return relation
}

/** Forgets the classes that Objection bound to a Knex instance. It finds them by name, which another class may have too. */
export function forgetBoundModels(knex: Knex): void {
  ;(knex as { $$objection?: { boundModels?: Map<string, unknown> } }).$$objection?.boundModels?.clear()
}

// -- relations ------------------------------------------------------------------------------------------------------

/** The columns of one end of a relation. */
export interface RelationProp {
  readonly cols: readonly string[]
  readonly props: readonly string[]
  getProps(row: Model): readonly unknown[]
}

export type RelationFilter = ((query: QueryBuilder<Model>) => unknown) | null

/** A relation of a model class. */
export interface ObjectionRelation {
  readonly name: string
  readonly ownerModelClass: typeof Model
  relatedModelClass: typeof Model
  readonly ownerProp: RelationProp
  readonly relatedProp: RelationProp
  /** The filter of the mapping. Without one, Objection sets a function without effect. */
  readonly modify?: RelationFilter
  joinTableModelClass?: typeof Model | null
  readonly joinTable?: string | null
  readonly joinTableOwnerProp?: RelationProp | null
  readonly joinTableRelatedProp?: RelationProp | null
  readonly joinTableModify?: RelationFilter
  readonly joinTableExtras?: readonly { readonly aliasProp: string; readonly joinTableCol: string }[]
  readonly isObjectionBelongsToOneRelation?: boolean
  readonly isObjectionManyToManyRelation?: boolean
  setMapping(mapping: object): void
  isOneToOne(): boolean
}

interface RelationStatics {
  getRelationNames(): string[]
  getRelation(name: string): unknown
  getRelations(): unknown
}

/** Returns the names of a class's relations. */
export function relationNamesOf(cls: object): string[] {
  return (cls as RelationStatics).getRelationNames()
}

/** Returns a relation of a class. @throws Error if the class has no relation of this name */
export function relationOf(cls: object, name: string): ObjectionRelation {
  return (cls as RelationStatics).getRelation(name) as ObjectionRelation
}

/** Returns the relations of a class by name. */
export function relationsOf(cls: object): Readonly<Record<string, ObjectionRelation | undefined>> {
  return (cls as RelationStatics).getRelations() as Record<string, ObjectionRelation>
}

/** Returns whether a relation is a BelongsToOneRelation. */
export function isBelongsToOne(relation: ObjectionRelation): boolean {
  return relation.isObjectionBelongsToOneRelation === true
}

// -- query builders -------------------------------------------------------------------------------------------------

/** The hooks that Objection calls on the operations of a query, in this order. */
export type HookName =
  | 'onBefore1'
  | 'onBefore2'
  | 'onBefore3'
  | 'onRawResult'
  | 'queryExecutor'
  | 'onAfter1'
  | 'onAfter2'
  | 'onAfter3'
  | 'onError'

type Hook = (builder: ObjectionBuilder, value: unknown) => unknown

/** An operation of a query: one call of a method of its builder, such as where() or insert(). */
export interface Operation extends Partial<Readonly<Record<Exclude<HookName, 'queryExecutor'>, Hook>>> {
  readonly name: string
  /** Operations that the hooks of this operation added. */
  readonly childOperations: readonly Operation[]
  hasHook(name: HookName): boolean
  removeChildOperationsByHookName(name: HookName): void
  queryExecutor(builder: ObjectionBuilder): PromiseLike<unknown>
  /** The operation that this one extends, such as the insert of insertAndFetch(). */
  readonly delegate?: Operation
  /** The rows of an insert. */
  readonly models?: Model[]
  /** The changes of an update. */
  readonly model?: Model
  /** The row of `row.$query()`. */
  readonly instance?: Model
  /** The argument of relate(). */
  readonly input?: unknown
  /** The rows at which a relation begins. */
  readonly owner?: { readonly isModels: boolean; readonly modelArray: readonly Model[] }
  readonly relation?: ObjectionRelation
  readonly id?: unknown
  readonly ids?: readonly unknown[]
  readonly skipIdWhere?: boolean
  /** Set by from() with a table name. */
  readonly table?: string | null
  /** Set by withGraphJoined() only. */
  readonly joiner?: object
  /** The relations of withGraphFetched() and withGraphJoined(). */
  readonly expression?: { readonly node: GraphNode }
}

/** A relation of a graph, with its child relations by name. */
export interface GraphNode {
  readonly $childNames: readonly string[]
  readonly $relation: string
  readonly $allRecursive?: boolean
  readonly [child: string]: unknown
}

/** The application's functions to call during a query: a function, an array of functions, or undefined. */
export interface ContextHooks {
  readonly runBefore?: unknown
  readonly runAfter?: unknown
  readonly onBuild?: unknown
}

/** Objection's own functions to call during a query, and its connection. */
export interface InternalContext {
  runBefore: unknown[]
  runAfter: unknown[]
  onBuild: unknown[]
  readonly knex: Knex | null
}

/** The members of Objection's QueryBuilder that its types leave out, or declare too narrowly. */
export interface ObjectionBuilder {
  addOperation(operation: Operation, args?: unknown[]): this
  addOperationToFront(operation: Operation, args: unknown[]): unknown
  parentQuery(): ObjectionBuilder | null
  execute(): Promise<unknown>
  resultSize(): Promise<number>
  clone(): ObjectionBuilder
  executeOnBuild(): void
  executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder
  isPartial(): boolean
  toKnexQuery(knexBuilder?: Knex.QueryBuilder): OpenKnexBuilder
  isSelectAll(): boolean
  hasSelects(): boolean
  hasSelectionAs(selection: string, alias: string, explicit?: boolean): boolean
  hasWithGraph(): boolean
  isFind(): boolean
  isInsert(): boolean
  isUpdate(): boolean
  isDelete(): boolean
  isRelate(): boolean
  isUnrelate(): boolean
  modelClass(): typeof Model
  resultModelClass(): typeof Model
  tableRef(): string
  tableRefFor(cls: typeof Model): string
  tableName(): string
  knex(knex?: Knex): Knex
  unsafeKnex(): Knex | null
  context(): ContextHooks
  internalContext(): InternalContext
  internalOptions(): { readonly schema?: string; readonly returnImmediatelyValue?: unknown }
  toFindQuery(): ObjectionBuilder
  clear(selector: RegExp | ((operation: Operation) => boolean)): ObjectionBuilder
  findLastOperation(selector: RegExp): Operation | null
  forEachOperation(selector: true, callback: (operation: Operation) => void): void
  runAfter(then: (rows: unknown, builder: unknown) => unknown): this
  fullIdColumn(): string | string[]
  whereComposite(...args: unknown[]): this
  whereInComposite(...args: unknown[]): this
  whereRaw(sql: string): this
  select(...columns: unknown[]): this
  modify(modifier: unknown): this
}

/** A QueryBuilder class whose members are those of `B`. */
export type BuilderClass<B> = new (...args: never[]) => B

interface BuilderInternals {
  readonly _operations: readonly Operation[]
  readonly _activeOperations: { readonly operation: Operation; readonly hookName: HookName }[]
  readonly _explicitRejectValue: unknown
  readonly _explicitResolveValue: unknown
  readonly _parentQuery: unknown
  _findOperationFactory(builder: ObjectionBuilder): Operation
}

const internals = (builder: object) => builder as BuilderInternals

/** Returns a query builder with its undocumented members. */
export function openBuilder(query: object): ObjectionBuilder {
  return query as ObjectionBuilder
}

/** Returns the operations of a builder, in the order of the calls. */
export function operationsOf(builder: ObjectionBuilder): readonly Operation[] {
  return internals(builder)._operations
}

/** Returns the first operation, or child of an operation, for which `isIt` returns true. */
export function findOperation(operations: readonly Operation[], isIt: (operation: Operation) => boolean): Operation | null {
  for (const operation of operations) {
    if (isIt(operation)) return operation
    if (operation.childOperations.length === 0) continue
    const found = findOperation(operation.childOperations, isIt)
    if (found !== null) return found
  }
  return null
}

/** Returns the operations whose hooks run now, the innermost last. Operations that a hook adds become children of its operation. */
export function runningOperationsOf(builder: ObjectionBuilder): { readonly operation: Operation; readonly hookName: HookName }[] {
  return internals(builder)._activeOperations
}

/** Returns the query that a builder is a part of: the argument of subqueryOf() or childQueryOf(). */
export function enclosingQueryOf(builder: ObjectionBuilder): unknown {
  return internals(builder)._parentQuery
}

/** Returns the argument of reject(), or null. */
export function rejectedValueOf(builder: ObjectionBuilder): unknown {
  return internals(builder)._explicitRejectValue
}

/** Returns the argument of resolve(), or null. */
export function resolvedValueOf(builder: ObjectionBuilder): unknown {
  return internals(builder)._explicitResolveValue
}

/** Creates the operation that Objection adds to a query without a write. */
export function newFindOperation(builder: ObjectionBuilder): Operation {
  return internals(builder)._findOperationFactory(builder)
}

/** Calls a hook of an operation. The operation must have it. */
export function callHookOf(operation: Operation, name: HookName, builder: ObjectionBuilder, value: unknown): unknown {
  return (operation as Record<HookName, Hook>)[name](builder, value)
}

const executionMethods: readonly (keyof ObjectionBuilder)[] = [
  'isFind',
  'isInsert',
  'isPartial',
  'hasWithGraph',
  'hasSelects',
  'clear',
  'addOperation',
  'addOperationToFront',
  'findLastOperation',
  'forEachOperation',
  'context',
  'internalContext',
  'internalOptions',
  'executeOnBuild',
  'executeOnBuildKnex',
  'knex',
  'tableName',
  'tableRef',
  'resultModelClass',
]

/** Returns whether the builders of a QueryBuilder class have every member that executeCopy() uses. */
export function hasExecutionInternals(Base: typeof QueryBuilder): boolean {
  const builder = (Base as unknown as { forClass(cls: typeof Model): ObjectionBuilder }).forClass(Model)
  if (!executionMethods.every((name) => typeof builder[name] === 'function')) return false
  const { _operations, _activeOperations, _explicitRejectValue, _explicitResolveValue, _findOperationFactory } = internals(builder)
  if (!Array.isArray(_operations) || !Array.isArray(_activeOperations)) return false
  if (_explicitRejectValue !== null || _explicitResolveValue !== null || typeof _findOperationFactory !== 'function') return false
  const { hasHook, removeChildOperationsByHookName, childOperations } = newFindOperation(builder)
  return typeof hasHook === 'function' && typeof removeChildOperationsByHookName === 'function' && Array.isArray(childOperations)
}
