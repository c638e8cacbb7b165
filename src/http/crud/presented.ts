import { Model } from 'objection'
import type { Actor } from '../../policy/context.js'
import { structureOf } from '../../schema/definition/definition.js'
import { valuesByName } from '../../schema/model-class.js'
import { isServedModel, isServedRow } from '../core/ports.js'
import type { Resource } from '../core/resource.js'
import { needsTypes } from './existing/table-types.js'
import { commonFields, sourcesOf, throughSources, typedShaper } from './related.js'
import { narrowed, outputFields } from './shape.js'

/**
 * Converts the rows in the result of a custom endpoint to what the resources of the Api show: single rows, rows in arrays and plain
 * objects, and related rows. Other values, and rows of which all columns are shown, stay unchanged.
 *
 * @param own the resource of the endpoint. For rows of its model, only this resource is used.
 */
export function presented(value: unknown, resources: readonly Resource[], actor: Actor | null, own: Resource): unknown {
  const show = (one: unknown): unknown => {
    if (one instanceof Model) return showRow(one)
    if (Array.isArray(one)) return one.map(show)
    if (!isPlainObject(one)) return one
    return Object.fromEntries(Object.entries(one).map(([name, inner]) => [name, show(inner)]))
  }
  const showRow = (row: Model): unknown => {
    const model = row.constructor
    if (!isServedModel(model) || !isServedRow(row)) return row
    const values = valuesByName(row)
    const all = row.toJSON()
    const relations = Object.keys(all).filter((name) => isRelated(values[name]))
    const sources = sourcesOf(model, own.relatedRows(model, actor) ? [own] : resources, actor)
    const fields = commonFields(model, sources)
    // A row of an existing table may have columns that nobody declared. Other keys that are not columns stay.
    const { isStrict } = structureOf(model)
    const isNarrowed = !isStrict || fields.length < outputFields(model).length || sources.some((source) => source.show !== null)
    if (!isNarrowed && relations.length === 0) return row
    const [first] = sources
    const plain = isStrict ? () => narrowed(all, model, fields) : typedShaper(needsTypes(model) && first ? first.served() : model, fields)
    const shown = throughSources(model, fields, sources, plain)(row)
    return { ...shown, ...Object.fromEntries(relations.map((name) => [name, show(values[name])])) }
  }
  return show(value)
}

function isRelated(value: unknown): boolean {
  return value instanceof Model || (Array.isArray(value) && value.some((one) => one instanceof Model))
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === Object.prototype || prototype === null
}
