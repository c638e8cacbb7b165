/** Reads the `static jsonSchema` of models. */
import { fullFormats } from 'ajv-formats/dist/formats.js'
import { Model } from 'objection'
import { ConfigurationError } from '../../core/errors.js'
import { lineage, ownStatic } from '../class-statics.js'

/** The content of `static jsonSchema` of a class and its base classes. */
export interface HandSchema {
  /** The properties, without references: each schema is complete. */
  readonly properties: Record<string, object>
  readonly required: string[]
  /** The other keywords, such as `anyOf`, `dependentRequired` and `additionalProperties`, of the class nearest to the model. */
  readonly keywords: Readonly<Record<string, unknown>>
}

type Schema = Readonly<Record<string, unknown>>

/** Keywords that are read elsewhere, and names that a second schema of the same process may not repeat. */
const readElsewhere = new Set(['properties', 'required', 'type', '$id', 'id', '$schema', '$anchor'])

/**
 * Returns what `static jsonSchema` says. Properties of base classes are inherited.
 *
 * @throws ConfigurationError for a `$ref` that cannot be replaced by its definition
 */
export function handSchemaOf(cls: { readonly name: string }): HandSchema {
  const properties: Record<string, object> = {}
  const required: string[] = []
  let keywords: Readonly<Record<string, unknown>> = {}
  for (const c of lineage(cls)) {
    const written = ownStatic(c, 'jsonSchema') as Schema | null | undefined
    if (typeof written !== 'object' || written === null) continue
    const complete = withoutReferences(cls, written)
    Object.assign(properties, complete.properties)
    required.push(...((complete.required as string[] | undefined) ?? []))
    keywords = Object.fromEntries(Object.entries(complete).filter(([name]) => !readElsewhere.has(name)))
  }
  return { properties, required, keywords }
}

/**
 * Returns the schema for a validator of the application: its `static jsonSchema` as written, with the columns that mixins declare.
 *
 * @param declared the schemas of the declared columns
 * @param isLeftOut returns whether the validator does not see a property, because the row has another one for its column
 */
export function schemaForOwnValidator(
  cls: object,
  declared: Readonly<Record<string, object>>,
  isLeftOut: (property: string) => boolean,
): object {
  const written = lineage(cls).map((c) => ownStatic(c, 'jsonSchema') as Schema | null | undefined)
  const all: Record<string, object> = Object.assign({}, declared, ...written.map((one) => one?.properties))
  const properties = Object.fromEntries(Object.entries(all).filter(([name]) => !isLeftOut(name)))
  const required = [...new Set(written.flatMap((one) => (one?.required as string[] | undefined) ?? []))].filter((name) => !isLeftOut(name))
  return { type: 'object', ...written.findLast((one) => typeof one === 'object' && one !== null), properties, required }
}

/** Returns whether the application's class has a validator of its own. */
export function hasOwnValidator(cls: object): boolean {
  return (cls as typeof Model).createValidator !== Model.createValidator
}

// Parts of the schema are used alone, for single properties and in OpenAPI, where '#/definitions/...' leads nowhere.
function withoutReferences(cls: { readonly name: string }, root: Schema): Schema {
  const copy = (value: unknown, open: readonly string[]): unknown => {
    if (Array.isArray(value)) return value.map((one) => copy(one, open))
    if (typeof value !== 'object' || value === null) return value
    const { $ref, ...rest } = value as Record<string, unknown>
    const inside = (key: string, one: unknown) =>
      holdsValues.has(key) ? one : holdsSchemas.has(key) ? copyEach(one, open) : copy(one, open)
    // The application's validator may know further formats.
    if (typeof rest.format === 'string' && hasOwnValidator(cls) && !Object.hasOwn(fullFormats, rest.format)) delete rest.format
    const own = Object.fromEntries(Object.entries(modern(rest)).map(([key, one]) => [key, inside(key, one)]))
    if (typeof $ref !== 'string') return $ref === undefined ? own : { ...own, $ref: copy($ref, open) }
    const target = open.includes($ref) ? undefined : definitionAt(root, $ref)
    if (target !== undefined) return { ...(copy(target, [...open, $ref]) as object), ...own }
    // The application's validator knows the definition.
    if (hasOwnValidator(cls)) return own
    throw new ConfigurationError(
      `${cls.name}.jsonSchema: the reference '${$ref}' is ${open.includes($ref) ? 'recursive' : 'unknown'}. Write the definition out, or validate ` +
        `it yourself: add static createValidator() { return new AjvValidator({ ... }) } to ${cls.name}.`,
    )
  }
  const copyEach = (schemas: unknown, open: readonly string[]) =>
    Object.fromEntries(Object.entries(schemas as Schema).map(([key, one]) => [key, copy(one, open)]))
  const { definitions: _definitions, $defs: _defs, ...used } = root
  return copy(used, []) as Schema
}

/** Keywords that hold values, not schemas. */
const holdsValues = new Set(['enum', 'const', 'default', 'examples', 'required'])
/** Keywords that hold schemas by names of the application. */
const holdsSchemas = new Set(['properties', 'patternProperties', 'dependentSchemas'])

// Draft 7, which Objection's own validator uses, describes the first items of an array by a list in `items`.
function modern(schema: Schema): Schema {
  if (!Array.isArray(schema.items)) return schema
  const { items, additionalItems, ...rest } = schema
  return { ...rest, prefixItems: items, ...(additionalItems === undefined ? {} : { items: additionalItems }) }
}

function definitionAt(root: Schema, reference: string): unknown {
  if (!reference.startsWith('#/')) return undefined
  const names = reference.slice(2).split('/')
  return names.reduce<unknown>((value, name) => {
    const key = decodeURIComponent(name).replaceAll('~1', '/').replaceAll('~0', '~')
    return typeof value === 'object' && value !== null && Object.hasOwn(value, key) ? (value as Schema)[key] : undefined
  }, root)
}

const alternatives = ['anyOf', 'oneOf', 'allOf'] as const
const single = ['not', 'then', 'else'] as const

/**
 * Returns keywords for the validation of a patch, which requires nothing: without `required` in their schemas, as Objection's own
 * validator does it.
 */
export function withoutRequired(keywords: Schema): Schema {
  const patched: Record<string, unknown> = { ...keywords }
  delete patched.required
  delete patched.dependentRequired
  for (const name of alternatives) {
    if (!Array.isArray(patched[name])) continue
    const schemas = (patched[name] as Schema[]).map(withoutRequired).filter(isNotEmpty)
    if (schemas.length > 0) patched[name] = schemas
    else delete patched[name]
  }
  for (const name of single) {
    const schema = patched[name]
    if (typeof schema !== 'object' || schema === null) continue
    patched[name] = withoutRequired(schema as Schema)
    if (!isNotEmpty(patched[name] as object)) delete patched[name]
  }
  return patched
}

const isNotEmpty = (schema: object): boolean => Object.keys(schema).length > 0
