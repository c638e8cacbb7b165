import { ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { ObjectSchema } from '../../schema/json-schemas.js'
import { assertNoErrors, schemaErrors, unknownKeys } from '../../schema/validator.js'
import type { SchemaOption } from '../core/endpoint.js'
import type { ServedModel } from '../core/ports.js'
import { namesOf } from './shape.js'

/** The body of a request, split into values for the model and arguments for the hooks. */
export interface SplitInput {
  input: Record<string, unknown>
  args: Record<string, unknown>
}

/** Returns a body that must be a JSON object. @throws ValidationError */
export function objectOf(body: unknown): Record<string, unknown> {
  if (typeof body === 'object' && body !== null && !Array.isArray(body)) return body as Record<string, unknown>
  throw new ValidationError(body === undefined ? message('request.noBody') : message('request.bodyObject'))
}

/**
 * Splits a body into values for the model and arguments for the hooks, and checks it against argSchema.
 *
 * @param option the argSchema: a list of allowed keys, or a JSON Schema
 * @param known values that the server adds to the body, such as an invited address. They need not be in a list of allowed keys.
 * @throws ValidationError for keys and values that argSchema does not allow
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

/** Returns whether a key of a body is a property of the model. Other keys are passed to the hooks. */
export function isOfModel(model: ServedModel, name: string): boolean {
  const { create, update } = model.schema
  return Object.hasOwn(model.columnSpecs, name) || Object.hasOwn(create.properties, name) || Object.hasOwn(update.properties, name)
}

/** Returns the schema of a body narrowed by an argSchema, for the OpenAPI document. */
export function narrowedInput(schema: ObjectSchema, option: SchemaOption | undefined): object {
  if (option === undefined) return schema
  if (!Array.isArray(option)) return option
  // Keys that are not properties of the model go to the hooks, which accept any value.
  const properties = Object.fromEntries(option.map((name) => [name, schema.properties?.[name] ?? { description: 'Any value.' }]))
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
