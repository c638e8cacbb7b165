/** Checks the statements of upsertGraph(). A row that a policy protects is an error there, because the caller named each row. */

import type { MaybeCompositeId, Model, PrimitiveValue } from 'objection'
import { ForbiddenError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { EnforcingQuery } from '../enforcing-query.js'
import { type ObjectionBuilder, type ObjectionRelation, operationsOf } from '../objection-internals.js'
import { writeOf } from './write-operation.js'

const isGraph = (builder: ObjectionBuilder | null): boolean =>
  builder !== null && operationsOf(builder).some(({ name }) => name === 'upsertGraph' || name === 'upsertGraphAndFetch')

/** A removal of rows from a relation, for rows that a graph leaves out. */
interface Removal {
  readonly relation: ObjectionRelation
  readonly ids: readonly unknown[] | undefined
  readonly isUnrelate: boolean
  /** Finds the rows that still exist and that the caller may read. */
  find(): PromiseLike<readonly Model[]>
}

/** Returns the removal that the builder executes for a graph, or null for another statement. Call it before the statement. */
export function removalOf(builder: EnforcingQuery): Removal | null {
  const above = builder.parentQuery()
  // Objection executes unrelate() as a write to the related rows or to the join table.
  const isUnrelate = above?.isUnrelate() ?? false
  const named = isUnrelate && above ? above : builder
  if (!isUnrelate && (builder.isUnrelate() || !(builder.isDelete() || builder.execution?.action === 'delete'))) return null
  if (!isGraph(named.parentQuery())) return null
  const { relation, owner } = operationsOf(named).find((one) => one.relation !== undefined) ?? {}
  const [row] = owner?.isModels ? owner.modelArray : []
  if (!relation || !row) return null
  const ids = operationsOf(named).find(({ name }) => name === 'findByIds')?.ids
  // A delete through a relation to one row clears the key of the owner, so the key is read before.
  const key = relation.ownerProp.getProps(row)
  const find = () => {
    const related = relation.relatedModelClass.query(builder.knex())
    if (!isUnrelate && ids) return related.findByIds([...ids] as MaybeCompositeId[])
    if (!isUnrelate)
      return related.where(
        (query) => void relation.relatedProp.cols.forEach((column, i) => void query.where(column, key[i] as PrimitiveValue)),
      )
    const linked = row.$relatedQuery<Model>(relation.name, builder.knex())
    return ids ? linked.findByIds([...ids] as MaybeCompositeId[]) : linked
  }
  return { relation, ids, isUnrelate, find }
}

/**
 * @throws ForbiddenError if a row that the caller may read was not removed, InsufficientUserAuthenticationError if a fresh session
 * could remove all such rows
 */
export async function assertRemoved(builder: EnforcingQuery, { relation, ids, isUnrelate, find }: Removal, count: unknown): Promise<void> {
  // A pair of rows may be linked twice, so the count does not prove that all links were removed.
  const isCounted = !(isUnrelate && relation.isObjectionManyToManyRelation)
  if (isCounted && count === (ids?.length ?? 1)) return
  const left = (await find()).length
  if (left === 0) return
  const name = relation.relatedModelClass.name
  const error = new ForbiddenError(
    isUnrelate
      ? message('row.removeRelated', { related: name, model: relation.ownerModelClass.name, relation: relation.name })
      : message('row.deleteRelated', { related: name }),
  )
  throw await orStepUp(builder, error, left)
}

async function orStepUp(builder: EnforcingQuery, error: Error, rows: number): Promise<Error> {
  const write = writeOf(builder)
  return write && builder.enforcer ? await builder.enforcer.orStepUp(builder.handle, write, error, rows) : error
}

/** Returns whether a builder updates the extra columns of a join table for a row of a graph. */
export function isLinkOfGraph(builder: ObjectionBuilder): boolean {
  const above = builder.parentQuery()
  return builder.isUpdate() && above?.isUpdate() === true && isGraph(above.parentQuery())
}

/** @throws ForbiddenError if no link was changed, InsufficientUserAuthenticationError if a fresh session could change it */
export async function assertChanged(builder: EnforcingQuery, count: unknown): Promise<void> {
  if (count !== 0) return
  const above = builder.parentQuery()
  const { relation } = (above && operationsOf(above).find((one) => one.relation !== undefined)) ?? {}
  const names = { relation: String(relation?.name), model: String(relation?.ownerModelClass.name) }
  throw await orStepUp(builder, new ForbiddenError(message('row.changeLink', names)), 1)
}
