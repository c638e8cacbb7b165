import { Model } from 'objection'
import { ConfigurationError, type FieldProblem } from '../../core/errors.js'
import { memoize } from '../../core/memoize.js'
import { Message, message } from '../../core/messages/message.js'
import { hasReadableRules } from '../../policy/fields.js'
import { jsonFormattingNames, omitsFromJson } from '../../query/objection-internals.js'
import { lineage } from '../../schema/class-statics.js'
import { isIntermediate } from '../../schema/definition/declarations.js'
import { idProperties } from '../../schema/definition/definition.js'
import { valuesByName } from '../../schema/model-class.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel, ServedRow } from '../core/ports.js'
import { type OfferedActions, parseAllowed } from './allowed.js'
import { jsonValue } from './datetime-text.js'
import { isWithoutSchema, needsTypes } from './existing/table-types.js'

/** The relations to show, by name, each with its own relations. */
export interface Include {
  readonly [relation: string]: Include
}

/** Converts a row to the object that the client sees. */
export type Shaper = (row: ServedRow) => Record<string, unknown>

/** Returns a shaper that shows these properties of the output schema, in the order of the schema. */
export function shaper(model: ServedModel, fields: readonly string[]): Shaper {
  const throughJson = jsonShaper(fields)
  return isPlain(model, fields) ? plainShaper(fields, throughJson) : throughJson
}

/** Like shaper(), for an object that becomes JSON text at once: datetimes are texts already, which JSON.stringify() writes faster. */
export function jsonTextShaper(model: ServedModel, fields: readonly string[]): Shaper {
  const throughJson = jsonShaper(fields)
  return isPlain(model, fields) ? plainShaper(fields, throughJson, jsonValue) : throughJson
}

/** Returns the shaper of a relation. @param path the relation path, such as `items.product` */
export type RelatedShaper = (model: ServedModel, path: string) => Shaper

/** Returns a shaper that adds the requested relations to the result of another shaper. */
export function withRelations(show: Shaper, model: ServedModel, include: Include, related: RelatedShaper, above = ''): Shaper {
  const relations = Object.entries(include)
  if (relations.length === 0) return show
  const shapers = relations.map(([name, deeper]) => {
    const relatedModel = model.getRelation(name).relatedModelClass
    const path = above === '' ? name : `${above}.${name}`
    return [name, withRelations(related(relatedModel, path), relatedModel, deeper, related, path)] as const
  })
  return (row) => {
    const shown = { ...show(row) }
    for (const [name, one] of shapers) {
      const value = valuesByName(row)[name]
      shown[name] = Array.isArray(value) ? value.map(one) : value ? one(value as ServedRow) : null
    }
    return shown
  }
}

/** Returns a row with only these properties. */
export function shape(row: ServedRow, model: ServedModel, fields: readonly string[]): Record<string, unknown> {
  return shaper(model, fields)(row)
}

/** Removes the columns that are not in `fields`. Keys that are not columns stay. */
export function narrowed(shown: Readonly<Record<string, unknown>>, model: ServedModel, fields: readonly string[]): Record<string, unknown> {
  const all = outputFields(model)
  if (all === fields) return { ...shown }
  return Object.fromEntries(Object.entries(shown).filter(([name]) => fields.includes(name) || !all.includes(name)))
}

function jsonShaper(fields: readonly string[]): Shaper {
  return (row) => {
    const json = row.toJSON({ shallow: true }) as Record<string, unknown>
    const shown: Record<string, unknown> = {}
    for (const name of fields) if (json[name] !== undefined) shown[name] = json[name]
    return shown
  }
}

function plainShaper(fields: readonly string[], throughJson: Shaper, shownValue = (value: unknown) => value): Shaper {
  return (row) => {
    const values = valuesByName(row)
    // A hook of the application has called row.$omitFromJson().
    if (omitsFromJson(row)) return throughJson(row)
    const shown: Record<string, unknown> = {}
    for (const name of fields) {
      const value = values[name]
      if (value !== undefined) shown[name] = shownValue(value)
    }
    return shown
  }
}

const formatsItself = new WeakMap<object, boolean>()

// If all shown properties are columns without a rule per row, toJSON() returns the same values but is ten times slower.
function isPlain(model: ServedModel, fields: readonly string[]): boolean {
  let hasOwn = formatsItself.get(model)
  if (hasOwn === undefined) {
    hasOwn =
      hasReadableRules(model) ||
      lineage(model).some((cls) => {
        const { prototype } = cls as { prototype?: object }
        // Objection's exported Model has base classes of its own.
        const isLibrary = isIntermediate(cls) || cls === Model || Object.prototype.isPrototypeOf.call(cls, Model)
        return !isLibrary && prototype !== undefined && jsonFormattingNames.some((name) => Object.hasOwn(prototype, name))
      })
    formatsItself.set(model, hasOwn)
  }
  if (hasOwn) return false
  const { columnSpecs } = model
  return fields.every((name) => columnSpecs[name]?.isHidden === false)
}

const allFields = new WeakMap<object, readonly string[]>()

/** Returns the properties of a model that clients can see. */
export function outputFields(model: ServedModel): readonly string[] {
  let fields = allFields.get(model)
  if (!fields) {
    fields = Object.keys(model.schema.output.properties)
    allFields.set(model, fields)
  }
  return fields
}

/** Returns the names in a `schema` or `argSchema` option: the list itself, or the properties of the JSON Schema. */
export function namesOf(option: SchemaOption): readonly string[] {
  if (Array.isArray(option)) return option
  return Object.keys((option as { properties?: object }).properties ?? {})
}

/**
 * Returns the properties that a `schema` option leaves of the model's output. For a model without a schema, the option declares the
 * columns that clients see. By default, these are the id and the columns of mixins.
 */
export function narrowedFields(model: ServedModel, option: SchemaOption | undefined): readonly string[] {
  if (option === undefined) return defaultFields(model)
  const names = namesOf(option)
  if (isWithoutSchema(model)) return names
  return defaultFields(model).filter((name) => names.includes(name))
}

const withId = new WeakMap<object, readonly string[]>()

/** Returns the properties of a model that clients see if no option says otherwise: its output, and an id that it does not declare. */
export function defaultFields(model: ServedModel): readonly string[] {
  const all = outputFields(model)
  return needsTypes(model) ? memoize(withId, model, () => [...new Set([...singleId(model), ...all])]) : all
}

function singleId(model: ServedModel): readonly string[] {
  const ids = idProperties(model)
  return ids.length === 1 ? ids : []
}

/** Parses `fields=a,b`. */
export function parseFields(text: string, available: readonly string[]): readonly string[] | FieldProblem {
  const names = text.split(',')
  const unknown = names.find((name) => !available.includes(name))
  if (unknown !== undefined) return { field: 'fields', message: message('field.unknownName', { name: unknown.slice(0, 64) }) }
  return available.filter((name) => names.includes(name))
}

const maxIncludes = 10
const deepestInclude = 3

/** Parses `include=user,items.product` against the paths that the resource allows. */
export function parseInclude(text: string, allowed: readonly string[]): Include | FieldProblem {
  const paths = text.split(',')
  if (paths.length > maxIncludes) return { field: 'include', message: message('field.maxRelations', { limit: maxIncludes }) }
  const include: Record<string, Include> = {}
  for (const path of paths) {
    const isAllowed = allowed.some((one) => one === path || one.startsWith(`${path}.`))
    if (!isAllowed) return { field: 'include', message: message('field.unknownName', { name: path.slice(0, 64) }) }
    let at = include
    for (const name of path.split('.')) {
      const next = at[name] ?? {}
      at[name] = next
      at = next
    }
  }
  return include
}

const noActions: OfferedActions = { names: [], isOpenTo: () => false }

/** Parses `fields`, `include` and `allowed` of a request for one row. @throws ValidationError with the unknown names */
export function parseItemQuery(
  query: URLSearchParams,
  available: readonly string[],
  included: readonly string[] = [],
  offered?: () => OfferedActions,
): { readonly fields: readonly string[]; readonly include: Include; readonly allowed: readonly string[] } {
  const [fieldsText, includeText, allowedText] = [query.get('fields'), query.get('include'), query.get('allowed')]
  const fields = fieldsText === null ? available : parseFields(fieldsText, available)
  const include = includeText === null ? {} : parseInclude(includeText, included)
  const allowed = allowedText === null ? [] : parseAllowed(allowedText, offered?.() ?? noActions)
  const errors = [fields, include, allowed].filter(isFieldProblem)
  assertNoErrors(errors)
  return { fields: fields as readonly string[], include: include as Include, allowed: allowed as readonly string[] }
}

const isFieldProblem = (one: object): one is FieldProblem =>
  'message' in one && (typeof one.message === 'string' || one.message instanceof Message)

/** Checks a path of the `include` option. @throws ConfigurationError if it is too deep or not a relation */
export function checkInclude(model: ServedModel, path: string): void {
  const names = path.split('.')
  if (names.length > deepestInclude)
    throw new ConfigurationError(`include: '${path}' has more than ${deepestInclude} relations. Use a shorter path.`)
  let at = model
  for (const name of names) {
    if (!at.getRelationNames().includes(name))
      throw new ConfigurationError(`include: ${at.name} has no relation '${name}'. Correct the name, or add it to relationMappings.`)
    at = at.getRelation(name).relatedModelClass
  }
}

/** Returns the models of the relations on a path of the `include` option. */
export function includedModels(model: ServedModel, path: string): ServedModel[] {
  let at = model
  return path.split('.').map((name) => {
    at = at.getRelation(name).relatedModelClass
    return at
  })
}

/** The maximum number of related rows per relation in a response, for all rows of the page together. */
export const maxIncludedRows = 1000

interface GraphQuery {
  modifyGraph(path: string, modify: (query: { limit(count: number): unknown }) => unknown): unknown
}

/** Limits the related rows that a query loads to one more than `checkIncluded` accepts. */
export function limitIncluded(query: GraphQuery, model: ServedModel, include: Include): void {
  for (const path of manyPaths(model, include)) query.modifyGraph(path, (related) => related.limit(maxIncludedRows + 1))
}

/** Checks the number of related rows, instead of truncating them silently. @throws ValidationError if a relation has too many */
export function checkIncluded(rows: readonly object[], model: ServedModel, include: Include): void {
  for (const path of manyPaths(model, include)) {
    let at: readonly object[] = rows
    for (const name of path.split('.')) at = at.flatMap((row) => (row as Record<string, object | object[] | null>)[name] ?? [])
    if (at.length > maxIncludedRows)
      assertNoErrors([{ field: 'include', message: message('field.tooManyIncluded', { path, limit: maxIncludedRows }) }])
  }
}

function manyPaths(model: ServedModel, include: Include): string[] {
  return Object.entries(include).flatMap(([name, deeper]) => {
    const relation = model.getRelation(name)
    const below = manyPaths(relation.relatedModelClass, deeper).map((path) => `${name}.${path}`)
    return relation.isOneToOne() ? below : [name, ...below]
  })
}

/** Returns the Objection relation expression for an include, or null for an empty one. */
export function graphOf(include: Include): string | null {
  const parts = Object.entries(include).map(([name, deeper]) => {
    const inner = graphOf(deeper)
    return inner === null ? name : `${name}.${inner}`
  })
  return parts.length === 0 ? null : `[${parts.join(', ')}]`
}
