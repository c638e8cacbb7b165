import type { Model } from 'objection'

/** A relation with a join table whose further columns come with the related row. */
interface WithExtras {
  readonly joinTableExtras?: readonly { readonly aliasProp: string }[]
}

/** An operation that takes rows, seen from inside. */
interface RowOperation {
  readonly relation?: WithExtras
  readonly modelOptions?: { [names]?: readonly string[] }
  readonly delegate?: RowOperation
}

interface GraphOperation {
  readonly relation?: WithExtras
  readonly models?: readonly Model[]
}

const names: unique symbol = Symbol('further columns of a join table') as never
const ofRows = new WeakMap<object, readonly string[]>()

const namesOf = ({ joinTableExtras = [] }: WithExtras) => joinTableExtras.map(({ aliasProp }) => aliasProp)

/** Lets the rows that an operation through a relation is about to take carry the further columns of its join table. */
export function allowJoinColumns(operation: RowOperation): void {
  const { relation, modelOptions } = operation.delegate ?? operation
  if (relation?.joinTableExtras?.length && modelOptions) modelOptions[names] = namesOf(relation)
}

/** The same for the rows of a graph, which are validated without such options. */
export function allowJoinColumnsOfGraph({ relation, models = [] }: GraphOperation): void {
  if (relation) for (const row of models) ofRows.set(row, namesOf(relation))
  const [first] = models
  ;(first?.constructor as typeof Model | undefined)?.traverse([...models], (row, parent, name) => {
    if (parent && name) ofRows.set(row, namesOf((parent.constructor as typeof Model).getRelation(name) as unknown as WithExtras))
  })
}

/** The columns of a join table that a row may carry. */
export function joinColumnsOf(row: object, options: object): readonly string[] {
  return (options as { [names]?: readonly string[] })[names] ?? ofRows.get(row) ?? []
}
