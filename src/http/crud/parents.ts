import type { Model } from 'objection'
import { ConfigurationError, NotFoundError } from '../../core/errors.js'
import { kebabPlural } from '../../core/names.js'
import { definitionOf } from '../../schema/definition.js'
import { lookup } from '../../schema/input.js'
import type { ResourceModel, ServedModel, ServedRow } from '../core/ports.js'
import { joinPath } from '../core/routes.js'
import { scalar } from './filters.js'

/** A row under which a resource's rows live: `/users/:userId/documents/`. */
export interface Parent {
  model: ResourceModel
  /** The parameter in the path, and the column that holds the parent's id where `field` does not name another. */
  param: string
  field?: string | undefined
  /** The parent's segment; the plural of its model's name when not said. */
  path?: string | undefined
  parent?: Parent | undefined
}

/** A row by the text of a path segment. @throws NotFoundError also for what is no value of the column */
export async function findRow(model: ServedModel, property: string, text: string, more: object = {}): Promise<ServedRow> {
  const spec = model.columnSpecs[property]
  const checked = spec ? scalar(spec, text) : { value: text }
  // A condition on the same column must hold too: it is not overwritten.
  const isElsewhere = property in more && (more as Record<string, unknown>)[property] !== checked.value
  const row = checked.error === undefined && !isElsewhere ? await find(model, { ...more, [property]: checked.value }) : null
  if (!row) throw new NotFoundError(`There is no ${model.name} with this ${property}.`)
  return row
}

// What getBy() does, whatever the model makes of it.
async function find(model: ServedModel, where: object): Promise<ServedRow | null> {
  const values = lookup(definitionOf(model), where)
  if (values === null) return null
  const row = (await model.query().findOne(values)) as Model | undefined
  if (!row) return null
  await model.afterGet([row])
  return row as unknown as ServedRow
}

/** The path that the parents make, the outermost first. */
export function parentPath(parent: Parent | undefined): string {
  if (!parent) return ''
  return joinPath(parentPath(parent.parent), parent.path ?? kebabPlural(parent.model.name), `:${parent.param}`)
}

/** The parents' rows, the outermost first; each must be one that the caller may read, and must belong to the one before. */
export async function loadParents(parent: Parent | undefined, params: Readonly<Record<string, string>>): Promise<object[]> {
  if (!parent) return []
  const above = await loadParents(parent.parent, params)
  const model = parent.model as unknown as ServedModel
  const row = await findRow(model, 'id', params[parent.param] ?? '', conditionUnder(parent.parent, above))
  return [...above, row]
}

/** What a row under these parents has in its column. */
export function conditionUnder(parent: Parent | undefined, parents: readonly object[]): Record<string, unknown> {
  if (!parent) return {}
  const last = parents[parents.length - 1] as { id: unknown }
  return { [parent.field ?? parent.param]: last.id }
}

/** @throws ConfigurationError where the model has no column for the parent's id */
export function checkParent(model: ServedModel, parent: Parent | undefined): void {
  if (!parent) return
  const field = parent.field ?? parent.param
  if (!definitionOf(model).specs[field]) {
    throw new ConfigurationError(`${model.name} has no column '${field}' for its parent ${parent.model.name}: name it in parent.field.`)
  }
  checkParent(parent.model as unknown as ServedModel, parent.parent)
}
