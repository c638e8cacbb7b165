import { memoize } from '../../core/memoize.js'
import type { Actor } from '../../policy/context.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import type { Resource } from '../core/resource.js'
import { type NamedColumns, namesIn } from './existing/named-columns.js'
import { servedAs, servedById, typedRow } from './existing/served-class.js'
import { needsTypes } from './existing/table-types.js'
import { defaultFields, narrowed, narrowedFields, outputFields, type RelatedShaper, type Shaper, shaper } from './shape.js'

/** How a resource shows rows of its model when other resources include them. */
export interface RelatedRows {
  /** The columns that the caller sees through the resource. */
  readonly fields: readonly string[]
  /** The shape() of the resource if a subclass overrides it, otherwise null. */
  readonly show: Shaper | null
  /** Returns the class through which the resource serves a model that does not declare its columns. Throws if their types are unknown. */
  readonly served: () => ServedModel
}

/**
 * The relations that clients may include, as paths: a list, or an object that maps paths to the shown columns. `true` shows the
 * columns that the resource of the related model shows.
 *
 * @example const include: IncludeOption = ['user', 'items.product']
 * @example const include: IncludeOption = { user: ['id', 'displayName'], 'items.product': true }
 */
export type IncludeOption = readonly string[] | { readonly [path: string]: true | SchemaOption }

/** A parsed `include` option. */
export interface Included {
  readonly paths: readonly string[]
  /** The columns to show by path, for paths with a list of columns. */
  readonly schemas: ReadonlyMap<string, SchemaOption>
}

/** Parses the `include` option of a resource. */
export function readInclude(option: IncludeOption = []): Included {
  if (Array.isArray(option)) return { paths: option, schemas: new Map() }
  const entries = Object.entries(option)
  return { paths: entries.map(([path]) => path), schemas: new Map(entries.flatMap(([path, one]) => (one === true ? [] : [[path, one]]))) }
}

/**
 * Returns the columns that a relation shows: those that the option lists, or else those that all resources of the related model
 * show to this caller. A model without a resource shows all columns.
 *
 * @param actor the caller; without it, the columns that at least one caller may see
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

/** Returns a function that creates the shapers of included rows. */
export function relatedShaper(included: Included, resources: readonly Resource[], actor: Actor | null): RelatedShaper {
  return (model, path) => {
    const fields = relatedFields(model, path, included, resources, actor)
    const plain = typedShaper(relatedModel(model, path, included, resources, actor), fields)
    if (included.schemas.has(path)) return plain
    return throughSources(model, fields, sourcesOf(model, resources, actor), plain)
  }
}

/** Returns the class whose types the rows of a relation have in responses. */
export function relatedModel(
  model: ServedModel,
  path: string,
  included: Included,
  resources: readonly Resource[],
  actor?: Actor | null,
): ServedModel {
  if (!needsTypes(model)) return model
  const explicit = included.schemas.get(path)
  if (explicit !== undefined) return servedAs(model, namesOfInclude(path, explicit))
  const [source] = sourcesOf(model, resources, actor)
  return source ? source.served() : servedById(model)
}

const includeNames = new WeakMap<object, NamedColumns>()

function namesOfInclude(path: string, option: SchemaOption): NamedColumns {
  return memoize(includeNames, option, () => new Map(namesIn(`include['${path}']`, option)))
}

/** Returns a shaper for rows of a model: those of a model without a schema get the types that the database has. */
export function typedShaper(served: ServedModel, fields: readonly string[]): Shaper {
  const show = shaper(served, fields)
  return (row) => show(typedRow(row, served))
}

/** Returns how each resource of a model shows its rows. */
export function sourcesOf(model: ServedModel, resources: readonly Resource[], actor?: Actor | null): RelatedRows[] {
  return resources.map((resource) => resource.relatedRows(model, actor)).filter((source) => source !== null)
}

/** Returns the columns that all resources of a model show. A relation must not reveal a column that one of them hides. */
export function commonFields(model: ServedModel, sources: readonly RelatedRows[]): readonly string[] {
  const [first, ...others] = sources
  if (!first) return defaultFields(model)
  const all = needsTypes(model) ? first.fields : outputFields(model).filter((name) => first.fields.includes(name))
  return all.filter((name) => others.every(({ fields }) => fields.includes(name)))
}

/**
 * Returns a shaper that applies the shape() of every resource to the result of a plain shaper. It omits keys that one of them
 * omits, and uses values that one of them changes.
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
