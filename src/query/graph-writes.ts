/** The statements of upsertGraph(): what a policy keeps is an error there, because the caller has named each row. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ForbiddenError } from '../core/errors.js'

interface RelationProp {
  readonly cols: readonly string[]
  getProps(row: Model): readonly unknown[]
}

interface GraphRelation {
  readonly name: string
  readonly isObjectionBelongsToOneRelation?: boolean
  readonly isObjectionManyToManyRelation?: boolean
  readonly relatedModelClass: typeof Model
  readonly ownerModelClass: typeof Model
  readonly ownerProp: RelationProp
  readonly relatedProp: RelationProp
}

interface Operation {
  readonly name: string
  readonly childOperations: readonly Operation[]
  readonly relation?: GraphRelation
  readonly owner?: { readonly isModels: boolean; readonly modelArray: readonly Model[] }
  readonly ids?: readonly unknown[]
}

/** What is used of a builder. */
export interface GraphBuilder {
  readonly _operations: readonly Operation[]
  readonly execution?: { readonly action?: string | undefined } | undefined
  parentQuery(): GraphBuilder | null
  isDelete(): boolean
  isUnrelate(): boolean
  isUpdate(): boolean
  knex(): Knex
}

const isGraph = (builder: GraphBuilder | null | undefined): boolean =>
  builder?._operations.some(({ name }) => name === 'upsertGraph' || name === 'upsertGraphAndFetch') ?? false

/** Removes rows from a relation, as upsertGraph() does with those that the graph leaves out. */
interface Removal {
  readonly relation: GraphRelation
  readonly ids: readonly unknown[] | undefined
  readonly isUnrelate: boolean
  /** The rows that are still there, for whoever may read them. */
  find(): PromiseLike<readonly Model[]>
}

/** Returns what the builder removes for a graph, or null where it does something else. Call it before the statement. */
export function removalOf(builder: GraphBuilder): Removal | null {
  const isUnrelate = builder.isUnrelate()
  if (!isUnrelate && !builder.isDelete() && builder.execution?.action !== 'delete') return null
  if (!isGraph(builder.parentQuery())) return null
  const { relation, owner } = builder._operations.find((one) => one.relation !== undefined) ?? {}
  const [row] = owner?.isModels ? owner.modelArray : []
  if (!relation || !row) return null
  const ids = builder._operations.find(({ name }) => name === 'findByIds')?.ids
  // A delete through a relation to one row clears the key of the owner.
  const key = relation.ownerProp.getProps(row)
  const find = () => {
    const related = relation.relatedModelClass.query(builder.knex())
    if (!isUnrelate && ids) return related.findByIds(ids as never)
    if (!isUnrelate)
      return related.where((query) => void relation.relatedProp.cols.forEach((column, i) => void query.where(column, key[i] as never)))
    const still = row.$relatedQuery(relation.name as never, builder.knex()) as unknown as { findByIds(ids: unknown): PromiseLike<Model[]> }
    return still.findByIds(ids)
  }
  return { relation, ids, isUnrelate, find }
}

/** @throws ForbiddenError where a row that the caller may read was not removed */
export async function assertRemoved({ relation, ids, isUnrelate, find }: Removal, count: unknown): Promise<void> {
  // Of a pair that is linked twice one link may be gone.
  const isCounted = !(isUnrelate && relation.isObjectionManyToManyRelation)
  if (isCounted && count === (ids?.length ?? 1)) return
  if ((await find()).length === 0) return
  const name = relation.relatedModelClass.name
  throw new ForbiddenError(
    isUnrelate
      ? `You may not take this ${name} out of ${relation.ownerModelClass.name}.${relation.name}.`
      : `You may not delete this ${name}: leave it in the graph, or pass noDelete.`,
  )
}

/** Whether a builder changes the columns of a join table for a row of a graph. */
export function isLinkOfGraph(builder: GraphBuilder): boolean {
  const above = builder.parentQuery()
  return builder.isUpdate() && above?.isUpdate() === true && isGraph(above.parentQuery())
}

/** @throws ForbiddenError where no link was changed */
export function assertChanged(builder: GraphBuilder, count: unknown): void {
  if (count !== 0) return
  const { relation } = builder.parentQuery()?._operations.find((one) => one.relation !== undefined) ?? {}
  throw new ForbiddenError(`You may not change how this ${relation?.ownerModelClass.name} is related by ${relation?.name}.`)
}
