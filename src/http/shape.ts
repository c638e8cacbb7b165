import { ConfigurationError, type FieldError } from '../model/errors.js'
import type { SchemaOption } from './endpoint.js'
import type { ServedModel, ServedRow } from './ports.js'

/** Relations to show, by name, each with those of its own. */
export interface Include {
  readonly [relation: string]: Include
}

/** A row as the client sees it: the properties of the output schema, in its order, and the relations that were asked for. */
export function shape(row: ServedRow, model: ServedModel, fields: readonly string[], include: Include = {}): Record<string, unknown> {
  const json = row.toJSON({ shallow: true }) as Record<string, unknown>
  const shown: Record<string, unknown> = {}
  for (const name of fields) if (json[name] !== undefined) shown[name] = json[name]
  for (const [name, deeper] of Object.entries(include)) {
    const related = (row as unknown as Record<string, unknown>)[name]
    const relatedModel = model.getRelation(name).relatedModelClass
    const one = (value: unknown) => shape(value as ServedRow, relatedModel, outputFields(relatedModel), deeper)
    shown[name] = Array.isArray(related) ? related.map(one) : related ? one(related) : null
  }
  return shown
}

const allFields = new WeakMap<object, readonly string[]>()

/** The properties of a model that clients see. */
export function outputFields(model: ServedModel): readonly string[] {
  let fields = allFields.get(model)
  if (!fields) {
    fields = Object.keys(model.schema.output.properties)
    allFields.set(model, fields)
  }
  return fields
}

/** What a `schema` or `argSchema` option names: a list as it is, a JSON Schema's properties. */
export function namesOf(option: SchemaOption): readonly string[] {
  if (Array.isArray(option)) return option as readonly string[]
  return Object.keys((option as { properties?: object }).properties ?? {})
}

/** The output narrowed by a `schema` option; it can add nothing. */
export function narrowedFields(model: ServedModel, option: SchemaOption | undefined): readonly string[] {
  if (option === undefined) return outputFields(model)
  const names = namesOf(option)
  return outputFields(model).filter((name) => names.includes(name))
}

/** Reads `fields=a,b`. */
export function parseFields(text: string, available: readonly string[]): readonly string[] | FieldError {
  const names = text.split(',')
  const unknown = names.find((name) => !available.includes(name))
  if (unknown !== undefined) return { field: 'fields', message: `'${unknown.slice(0, 64)}' is not known here` }
  return available.filter((name) => names.includes(name))
}

const maxIncludes = 10
const deepestInclude = 3

/** Reads `include=user,items.product`, within the paths that the resource allows. */
export function parseInclude(text: string, allowed: readonly string[]): Include | FieldError {
  const paths = text.split(',')
  if (paths.length > maxIncludes) return { field: 'include', message: `takes at most ${maxIncludes} relations` }
  const include: Record<string, Include> = {}
  for (const path of paths) {
    const isAllowed = allowed.some((one) => one === path || one.startsWith(`${path}.`))
    if (!isAllowed) return { field: 'include', message: `'${path.slice(0, 64)}' is not known here` }
    let at = include
    for (const name of path.split('.')) {
      const next = at[name] ?? {}
      at[name] = next
      at = next as Record<string, Include>
    }
  }
  return include
}

/** @throws ConfigurationError for an offered path that is too deep, or no relation */
export function checkInclude(model: ServedModel, path: string): void {
  const names = path.split('.')
  if (names.length > deepestInclude) throw new ConfigurationError(`include: '${path}' is deeper than ${deepestInclude} relations.`)
  let at = model
  for (const name of names) {
    if (!at.getRelationNames().includes(name)) throw new ConfigurationError(`include: ${at.name} has no relation '${name}'.`)
    at = at.getRelation(name).relatedModelClass
  }
}

/** The relation expression of Objection that fetches an include, or null where nothing was asked for. */
export function graphOf(include: Include): string | null {
  const parts = Object.entries(include).map(([name, deeper]) => {
    const inner = graphOf(deeper)
    return inner === null ? name : `${name}.${inner}`
  })
  return parts.length === 0 ? null : `[${parts.join(', ')}]`
}
