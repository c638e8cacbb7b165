/** Describes the builders of Objection and the writes that they hold. Uses undocumented parts of Objection 3.1. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { makesId } from '../schema/definition.js'
import { findOperation } from './execution.js'
import { assertHome } from './home.js'
import type { StatementKind, WriteOperation } from './policy-enforcer.js'
import type { OpenKnexBuilder } from './statement.js'

export interface Operation {
  readonly name: string
  readonly childOperations: readonly Operation[]
  readonly models?: Model[]
  readonly model?: Model
  readonly instance?: Model
  /** The argument of relate(). */
  readonly input?: unknown
  readonly owner?: { readonly isModels: boolean; readonly modelArray: readonly Model[] }
  readonly delegate?: Operation
  readonly relation?: { joinTable?: string | null; relatedProp?: { cols: readonly string[] } }
  readonly id?: unknown
  readonly table?: string | null
  readonly args?: unknown[]
  readonly skipIdWhere?: boolean
}

/** The members of Objection's QueryBuilder that its types leave out. */
export interface Internals {
  readonly _operations: readonly Operation[]
  /** The argument of subqueryOf() or childQueryOf(). */
  readonly _parentQuery: unknown
  addOperation(op: Operation, args: unknown[]): this
  parentQuery(): Internals | null
  execute(): Promise<unknown>
  resultSize(): Promise<number>
  clone(): Internals
  executeOnBuildKnex(knexBuilder: Knex.QueryBuilder): OpenKnexBuilder
  isPartial(): boolean
  toKnexQuery(knexBuilder?: Knex.QueryBuilder): OpenKnexBuilder
  isSelectAll(): boolean
  hasSelects(): boolean
  hasSelectionAs(selection: string, alias: string, explicit?: boolean): boolean
  isRelate(): boolean
  isUnrelate(): boolean
  modelClass(): typeof Model
  tableRef(): string
  tableName(): string
  knex(knex?: Knex): Knex
  unsafeKnex(): Knex | null
  internalOptions(): { schema?: string }
  internalContext(): { runBefore: unknown[]; runAfter: unknown[]; knex: Knex | null }
  toFindQuery(): Internals
  clear(selector: RegExp | ((op: Operation) => boolean)): Internals
  findLastOperation(selector: (op: Operation) => boolean): Operation | null
  forEachOperation(selector: true, callback: (op: Operation) => void): void
  runAfter(then: (rows: unknown) => unknown): this
  isInsert(): boolean
  isUpdate(): boolean
  isDelete(): boolean
  fullIdColumn(): string | string[]
  whereComposite(...args: unknown[]): this
  whereInComposite(...args: unknown[]): this
}

/** Returns the rows and the id of a builder's write, or null for a find. */
export function writeOf(builder: Internals): WriteOperation | null {
  const kind = kindOf(builder)
  if (kind === 'read') return null
  let models: readonly Model[] = []
  let instance: Model | null = null
  let id: unknown
  let isNarrowed = false
  builder.forEachOperation(true, (op) => {
    if (/where/i.test(op.name)) isNarrowed = true
    const inner = op.delegate ?? op
    if (inner.models) models = inner.models
    else if (inner.model && kind === 'update') models = [inner.model]
    if (inner.instance && kind !== 'insert') instance = inner.instance
    if (op.name === 'findById' || ((op.name === 'updateAndFetch' || op.name === 'patchAndFetch') && !op.skipIdWhere)) id = op.id ?? id
  })
  if (instance) id = (instance as Model).$id()
  return { kind, models, instance, id, isNarrowed }
}

/** Throws when a query of a relation begins at, or relates, rows of another runtime than that of `knex`. @throws RuntimeMismatchError */
export function assertHomeOfOwners(builder: Internals, knex: Knex): void {
  for (const { owner, input } of builder._operations) {
    if (owner?.isModels) for (const row of owner.modelArray) assertHome(row, knex)
    for (const row of Array.isArray(input) ? input : [input]) assertHome(row, knex)
  }
}

const writeNames = /^(insert|update|patch|delete|relate|unrelate|upsertGraph)/

const isWrite = ({ name }: Operation) => writeNames.test(name)
export const isGraphWrite = ({ name }: Operation) => graphOperations.test(name)
export const isPlainInsert = ({ name }: Operation) => name === 'insert' || name === 'insertAndFetch'
export const isIgnoring = ({ name }: Operation) => name === 'ignore'
export const isReturning = ({ name }: Operation) => /returning/i.test(name)
export const isOfRelation = ({ relation }: Operation) => relation !== undefined
export const isOfJoinTable = ({ relation }: Operation) => Boolean(relation?.joinTable)

export function isWriting(builder: Internals): boolean {
  return findOperation(builder._operations, isWrite) !== null
}

/** Returns whether a query is the subquery over a join table by which a write through a relation finds its rows. */
export function isFilterOfWrite(query: object): boolean {
  const above = (query as Internals).parentQuery()?.parentQuery()
  return above ? isWriting(above) : false
}

export function kindOf(builder: Internals): StatementKind {
  if (!isWriting(builder)) return 'read'
  return builder.isInsert() ? 'insert' : builder.isUpdate() ? 'update' : builder.isDelete() ? 'delete' : 'read'
}

export const textId = (id: unknown): unknown =>
  typeof id === 'number' || typeof id === 'boolean' || typeof id === 'bigint' ? String(id) : Array.isArray(id) ? id.map(textId) : id

// Models with UUIDs generate the id right before the insert.
export const idOrNew = (model: Model): unknown => model.$id() ?? (makesId(model.constructor) ? 'new' : null)

export const isKnownId = (id: unknown): boolean => typeof id === 'string' || typeof id === 'number'

const graphOperations = /^(insertGraph|upsertGraph)/
