/** Describes the builders of Objection and the writes that they hold. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { makesId } from '../../schema/definition/definition.js'
import { assertHome } from '../home.js'
import { findOperation, type ObjectionBuilder, type Operation, openBuilder, operationsOf } from '../objection-internals.js'
import type { StatementKind, WriteOperation } from '../policy-enforcer.js'

/** Returns the rows and the id of a builder's write, or null for a find. */
export function writeOf(builder: ObjectionBuilder): WriteOperation | null {
  const kind = kindOf(builder)
  if (kind === 'read') return null
  let models: readonly Model[] = []
  let instance: Model | null = null
  let id: unknown
  let isNarrowed = false
  builder.forEachOperation(true, (op) => {
    if (matches(narrowing, op.name)) isNarrowed = true
    const inner = op.delegate ?? op
    if (inner.models) models = inner.models
    else if (inner.model && kind === 'update') models = [inner.model]
    if (inner.instance && kind !== 'insert') instance = inner.instance
    if (op.name === 'findById' || ((op.name === 'updateAndFetch' || op.name === 'patchAndFetch') && !op.skipIdWhere)) id = op.id ?? id
  })
  if (instance) id = (instance as Model).$id()
  return { kind, models, instance, id, isNarrowed }
}

/**
 * Throws when a query of a relation begins at, or relates, rows of another runtime than that of `trx`.
 *
 * @param trx Default: the builder's Knex instance.
 * @throws RuntimeMismatchError
 */
export function assertHomeOfOwners(builder: ObjectionBuilder, trx?: Knex): void {
  for (const { owner, input } of operationsOf(builder)) {
    if (!owner?.isModels && input === undefined) continue
    const knex = trx ?? builder.knex()
    if (owner?.isModels) for (const row of owner.modelArray) assertHome(row, knex)
    if (Array.isArray(input)) for (const row of input) assertHome(row, knex)
    else assertHome(input, knex)
  }
}

/** A pattern of names of operations, with the answers for the names so far: Objection has a few dozen names. */
interface NamePattern {
  readonly pattern: RegExp
  readonly known: Map<string, boolean>
}

const namePattern = (pattern: RegExp): NamePattern => ({ pattern, known: new Map() })

function matches({ pattern, known }: NamePattern, name: string): boolean {
  let answer = known.get(name)
  if (answer === undefined) {
    answer = pattern.test(name)
    known.set(name, answer)
  }
  return answer
}

const writes = namePattern(/^(insert|update|patch|delete|relate|unrelate|upsertGraph)/)
const graphWrites = namePattern(/^(insertGraph|upsertGraph)/)
const narrowing = namePattern(/where/i)
const returnings = namePattern(/returning/i)

const isWrite = ({ name }: Operation) => matches(writes, name)
export const isGraphWrite = ({ name }: Operation) => matches(graphWrites, name)
export const isPlainInsert = ({ name }: Operation) => name === 'insert' || name === 'insertAndFetch'
export const isConflict = ({ name }: Operation) => name === 'onConflict'
export const isIgnoring = ({ name }: Operation) => name === 'ignore'
export const isReturning = ({ name }: Operation) => matches(returnings, name)
export const isOfRelation = ({ relation }: Operation) => relation !== undefined
export const isOfJoinTable = ({ relation }: Operation) => Boolean(relation?.joinTable)

export function isWriting(builder: ObjectionBuilder): boolean {
  return findOperation(operationsOf(builder), isWrite) !== null
}

/** Returns whether a query is the subquery over a join table by which a write through a relation finds its rows. */
export function isFilterOfWrite(query: object): boolean {
  const above = openBuilder(query).parentQuery()?.parentQuery()
  return above ? isWriting(above) : false
}

export function kindOf(builder: ObjectionBuilder): StatementKind {
  if (!isWriting(builder)) return 'read'
  // Each of these calls searches all operations.
  return builder.isUpdate() ? 'update' : builder.isInsert() ? 'insert' : builder.isDelete() ? 'delete' : 'read'
}

// Models with UUIDs generate the id right before the insert.
export const idOrNew = (model: Model): unknown => model.$id() ?? (makesId(model.constructor) ? 'new' : null)

export const isKnownId = (id: unknown): boolean => typeof id === 'string' || typeof id === 'number'
