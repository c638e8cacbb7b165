import type { Actor } from '../../policy/context.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import type { Resource } from '../core/resource.js'
import { narrowed, narrowedFields, outputFields, type RelatedShaper, type Shaper, shaper } from './shape.js'

/** How one resource shows rows of its model in the responses of others. */
export interface RelatedRows {
  /** The columns that the caller sees through the resource. */
  readonly fields: readonly string[]
  /** The resource's own shape(), where a subclass overrides it. */
  readonly show: Shaper | null
}

/**
 * Relations that clients may include, as paths: a list, or an object that also says what each of them shows. `true` stands for
 * what the related model's own resource shows.
 *
 * @example ['user', 'items.product']
 * @example { user: ['id', 'displayName'], 'items.product': true }
 */
export type IncludeOption = readonly string[] | { readonly [path: string]: true | SchemaOption }

/** An `include` option, read. */
export interface Included {
  readonly paths: readonly string[]
  /** What the rows of a path show, where the option says it. */
  readonly schemas: ReadonlyMap<string, SchemaOption>
}

export function readInclude(option: IncludeOption = []): Included {
  if (Array.isArray(option)) return { paths: option as readonly string[], schemas: new Map() }
  const entries = Object.entries(option) as [string, true | SchemaOption][]
  return { paths: entries.map(([path]) => path), schemas: new Map(entries.flatMap(([path, one]) => (one === true ? [] : [[path, one]]))) }
}

/**
 * Returns the columns that a relation shows: those that the option lists, else those that every resource of the related model
 * shows to this caller. A model without a resource shows all.
 *
 * @param actor left out for what any caller may see
 */
export function relatedFields(
  model: ServedModel,
  path: string,
  included: Included,
  resources: readonly Resource[],
  actor?: Actor | null,
): readonly string[] {
  const explicit = included.schemas.get(path)
  if (explicit !== undefined) return narrowedFields(model, explicit)
  return commonFields(model, sourcesOf(model, resources, actor))
}

/** Makes the shapers of included rows. */
export function relatedShaper(included: Included, resources: readonly Resource[], actor: Actor | null): RelatedShaper {
  return (model, path) => {
    if (included.schemas.has(path)) return shaper(model, relatedFields(model, path, included, resources, actor))
    const sources = sourcesOf(model, resources, actor)
    const fields = commonFields(model, sources)
    return throughSources(model, fields, sources, shaper(model, fields))
  }
}

/** Returns how each resource that serves a model shows its rows. */
export function sourcesOf(model: ServedModel, resources: readonly Resource[], actor?: Actor | null): RelatedRows[] {
  return resources.map((resource) => resource.relatedRows(model, actor)).filter((source) => source !== null)
}

// Several resources may serve one model: what one of them keeps back is not shown through another's relation.
export function commonFields(model: ServedModel, sources: readonly RelatedRows[]): readonly string[] {
  if (sources.length === 0) return outputFields(model)
  return outputFields(model).filter((name) => sources.every(({ fields }) => fields.includes(name)))
}

/**
 * Applies the shape() of every resource to what a plain shaper shows. A key that one of them leaves out is left out, and a
 * value that one of them changes is shown changed.
 */
export function throughSources(model: ServedModel, fields: readonly string[], sources: readonly RelatedRows[], plain: Shaper): Shaper {
  const own = sources.flatMap(({ show }) => show ?? [])
  if (own.length === 0) return plain
  return (row) => {
    const unchanged = plain(row)
    const all = own.map((show) => show(row))
    const merged: Record<string, unknown> = {}
    for (const name of Object.keys(all[0] ?? {})) {
      if (!all.every((shown) => name in shown)) continue
      merged[name] = (all.find((shown) => shown[name] !== unchanged[name]) ?? unchanged)[name]
    }
    return narrowed(merged, model, fields)
  }
}
