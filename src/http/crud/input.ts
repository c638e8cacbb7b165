import { ValidationError } from '../../core/errors.js'
import type { ObjectSchema } from '../../schema/json-schemas.js'
import { assertNoErrors, schemaErrors, unknownKeys } from '../../schema/validator.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import { namesOf } from './shape.js'

/** A client's input: what goes to the model, and what goes to the hooks. */
export interface SplitInput {
  input: Record<string, unknown>
  args: Record<string, unknown>
}

/** A body that must be a JSON object. @throws ValidationError */
export function objectOf(body: unknown): Record<string, unknown> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw new ValidationError(body === undefined ? 'The request needs a body: a JSON object.' : 'The body must be a JSON object.')
}

/**
 * Divides a body by an argSchema.
 *
 * @param known values that the server adds to the body, such as an invited address: a list need not name them
 * @throws ValidationError for what it does not take
 */
export function splitInput(model: ServedModel, body: unknown, option: SchemaOption | undefined, known: object = {}): SplitInput {
  const given = objectOf(body)
  if (option === undefined) return { input: { ...given, ...known }, args: {} }
  const names = namesOf(option)
  assertNoErrors(unknownKeys(given, (name) => names.includes(name)))
  if (!Array.isArray(option)) {
    const named = Object.fromEntries(Object.entries(known).filter(([name]) => names.includes(name)))
    assertNoErrors(schemaErrors(option, { ...given, ...named }))
  }
  const input: Record<string, unknown> = {}
  const args: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) (isOfModel(model, name) ? input : args)[name] = value
  return { input: { ...input, ...known }, args }
}

/** Whether a key of a body is a property of the model; other keys go to the hooks. */
export function isOfModel(model: ServedModel, name: string): boolean {
  const { create, update } = model.schema
  return Object.hasOwn(model.columnSpecs, name) || Object.hasOwn(create.properties, name) || Object.hasOwn(update.properties, name)
}

/** Returns the schema of a body narrowed by an argSchema, for the OpenAPI document. */
export function narrowedInput(schema: ObjectSchema, option: SchemaOption | undefined): object {
  if (option === undefined) return schema
  if (!Array.isArray(option)) return option
  // What is no property of the model goes to the hooks, which take any value.
  const properties = Object.fromEntries(
    (option as string[]).map((name) => [name, schema.properties?.[name] ?? { description: 'Any value.' }]),
  )
  return { ...schema, properties, required: (schema.required ?? []).filter((name) => option.includes(name)) }
}

/** Returns the schema of a response narrowed to these columns, for the OpenAPI document. */
export function narrowedOutput(schema: ObjectSchema, fields: readonly string[]): ObjectSchema {
  const names = Object.keys(schema.properties)
  if (names.every((name) => fields.includes(name))) return schema
  const properties = Object.fromEntries(
    names.filter((name) => fields.includes(name)).map((name) => [name, schema.properties[name] as object]),
  )
  return { ...schema, properties, required: schema.required.filter((name) => fields.includes(name)) }
}
