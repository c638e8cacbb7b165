import type { Model, Relation } from 'objection'
import { classOf } from './model-class.js'

/** A relation through a join table. Objection adds its `extra` columns to the related row. */
interface WithExtras {
  readonly joinTableExtras?: readonly { readonly aliasProp: string }[]
}

/** An operation of Objection that takes rows. */
interface RowOperation {
  readonly relation?: WithExtras
  readonly modelOptions?: { [names]?: readonly string[] }
  readonly delegate?: RowOperation
}

interface GraphOperation {
  readonly relation?: WithExtras
  readonly models?: readonly Model[]
}

const names: unique symbol = Symbol('extra columns of a join table')
const ofRows = new WeakMap<object, readonly string[]>()

const namesOf = ({ joinTableExtras = [] }: WithExtras) => joinTableExtras.map(({ aliasProp }) => aliasProp)

/** Allows the extra columns of a join table in the rows of an operation through a relation. */
export function allowExtraColumns(operation: RowOperation): void {
  const { relation, modelOptions } = operation.delegate ?? operation
  if (relation?.joinTableExtras?.length && modelOptions) modelOptions[names] = namesOf(relation)
}

/** Allows the extra columns of join tables in the rows of a graph, which Objection validates without these options. */
export function allowExtraColumnsOfGraph({ relation, models = [] }: GraphOperation): void {
  if (relation) for (const row of models) ofRows.set(row, namesOf(relation))
  const [first] = models
  ;(first?.constructor as typeof Model | undefined)?.traverse([...models], (row, parent, name) => {
    if (parent && name) ofRows.set(row, namesOf(classOf(parent).getRelation(name) as Relation & WithExtras))
  })
}

/** Returns the extra columns of a join table that a row may have. */
export function extraColumnsOf(row: object, options: object): readonly string[] {
  return (options as { [names]?: readonly string[] })[names] ?? ofRows.get(row) ?? []
}
