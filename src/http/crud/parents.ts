import type { Model, QueryBuilder } from 'objection'
import { ConfigurationError, NotFoundError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { kebabPlural } from '../../core/names.js'
import { findingRestorable } from '../../mixins/soft-delete.js'
import { refusedBy } from '../../policy/refusal.js'
import { proveCallerWith } from '../../query/caller-proof.js'
import type { ColumnSpec } from '../../schema/column.js'
import { definitionOf, idProperties } from '../../schema/definition/definition.js'
import { needsSqlValue } from '../../schema/existing-storage.js'
import { decodeKey } from '../../schema/ids.js'
import { lookup } from '../../schema/input.js'
import { valuesByName } from '../../schema/model-class.js'
import { dialectOf } from '../../schema/storage.js'
import type { Checked } from '../../schema/values.js'
import { type ResourceModel, type ServedModel, type ServedRow, servedModel } from '../core/ports.js'
import { joinPath } from '../core/routes.js'
import { ModelColumn } from './columns.js'
import { servedById } from './existing/served-class.js'
import { isWithoutSchema } from './existing/table-types.js'
import { applyFilter, isWithin, scalar } from './filters.js'

/** The parent of a resource's rows in the path: `/users/:userId/documents/`. */
export interface Parent {
  model: ResourceModel
  /** The path parameter. Also the column with the parent's id, unless `field` names another. */
  param: string
  field?: string | undefined
  /** The path segment of the parent. Default: the plural of its model's name in kebab-case. */
  path?: string | undefined
  parent?: Parent | undefined
}

interface FindOptions {
  /** Further values that the row must have. */
  readonly more?: object
  /** The actions for which the row says whether the caller may do them. */
  readonly allowed?: readonly string[]
  /** Whether the caller must be able to restore the row, which may be deleted, rather than to read it. */
  readonly isRestorable?: boolean
}

/** Returns the row that a path segment identifies. @throws NotFoundError also if the text is not a value of the column */
export async function findRow(
  model: ServedModel,
  property: string,
  text: string,
  { more = {}, allowed = [], isRestorable = false }: FindOptions = {},
): Promise<ServedRow> {
  const checked = decoded(model.columnSpecs[property], text)
  // `more` may have a condition on the same column: both must hold.
  const isElsewhere = property in more && valuesByName(more)[property] !== checked.value
  const isFindable = checked.error === undefined && !isElsewhere
  const query = isRestorable ? findingRestorable(model.query()) : model.query()
  if (allowed.length > 0) query.withAllowed(...allowed)
  const row = isFindable ? await find(model, { ...more, [property]: checked.value }, query).catch(nullForUnstorable) : null
  if (!row) {
    const options = 'policy' in model ? { refusedRule: refusedBy(model, 'read') } : {}
    throw new NotFoundError(message('row.noneWith', { model: model.name, property }), options)
  }
  return row
}

const keyTypes: ReadonlySet<string> = new Set(['integer', 'bigint', 'uuid', 'string'])

// An id has one spelling. Other columns may identify a row too.
function decoded(spec: ColumnSpec | undefined, text: string): Checked {
  if (!spec) return { value: text }
  if (!keyTypes.has(spec.type)) return scalar(spec, text)
  const value = decodeKey(spec, text)
  return value === undefined ? { error: message('field.noId') } : { value }
}

/**
 * Returns the property that names a row of a model in a path.
 *
 * @throws ConfigurationError for a composite key
 */
export function idPropertyOf(model: object): string {
  const [property = 'id', ...further] = idProperties(model)
  if (further.length === 0) return property
  throw new ConfigurationError(
    `${(model as ServedModel).name} has a composite key (${[property, ...further].join(', ')}), and a path names a row by one value. ` +
      `Add a unique column and name it: new CrudResource({ model: ${(model as ServedModel).name}, id: 'slug' }).`,
  )
}

// The JSON Schema of an existing column may allow text that the column's type in PostgreSQL refuses, such as a UUID. No row has it.
function nullForUnstorable(error: unknown): null {
  const { code } = (error instanceof ValidationError ? (error.cause ?? {}) : {}) as { code?: unknown }
  if (typeof code === 'string' && /^22\w{3}$/.test(code)) return null
  throw error
}

// Works like getBy(), which a model may override.
async function find(model: ServedModel, where: object, query: QueryBuilder<Model & ServedRow>): Promise<ServedRow | null> {
  const values = lookup(definitionOf(model), where)
  if (values === null) return null
  const dialect = dialectOf(model.knex())
  for (const [name, value] of Object.entries(values)) {
    const spec = model.columnSpecs[name]
    if (value !== null && spec && !isWithin(spec, value, dialect)) return null
    // A column that only a JSON Schema describes may be smaller than the value.
    if (value !== null && spec && needsSqlValue(spec, dialect))
      applyFilter(query, { column: new ModelColumn(model, name, spec), operator: 'eq', value }, dialect)
    else query.where({ [name]: value })
  }
  proveCallerWith(query)
  const row = await query.first()
  if (!row) return null
  await model.afterGet([row])
  return row
}

/** Returns the path of the parents, outermost first. */
export function parentPath(parent: Parent | undefined): string {
  if (!parent) return ''
  return joinPath(parentPath(parent.parent), parent.path ?? kebabPlural(parent.model.name), `:${parent.param}`)
}

/**
 * Loads the parent rows, outermost first.
 *
 * @throws NotFoundError if the caller may not read one, or it does not belong to the previous one
 */
export async function loadParents(parent: Parent | undefined, params: Readonly<Record<string, string>>): Promise<object[]> {
  if (!parent) return []
  const above = await loadParents(parent.parent, params)
  const model = servedById(servedModel(parent.model))
  const row = await findRow(model, idPropertyOf(model), params[parent.param] ?? '', { more: conditionUnder(parent.parent, above) })
  return [...above, row]
}

/** Returns the condition that rows below these parents satisfy: the parent's id in their column. */
export function conditionUnder(parent: Parent | undefined, parents: readonly object[]): Record<string, unknown> {
  if (!parent) return {}
  const last = valuesByName(parents[parents.length - 1] as object)
  return { [parent.field ?? parent.param]: last[idPropertyOf(parent.model)] }
}

/** Checks the `parent` option. @throws ConfigurationError if the model has no column for the parent's id */
export function checkParent(model: ServedModel, parent: Parent | undefined): void {
  if (!parent) return
  idPropertyOf(parent.model)
  const field = parent.field ?? parent.param
  if (!isWithoutSchema(model) && !definitionOf(model).specs[field]) {
    throw new ConfigurationError(
      `${model.name} has no column '${field}' for the id of its parent ${parent.model.name}. Name the column in parent.field.`,
    )
  }
  checkParent(servedModel(parent.model), parent.parent)
}
