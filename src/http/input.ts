import { ValidationError } from '../model/errors.js'
import type { ObjectSchema } from '../model/schemas.js'
import { refuse, schemaErrors } from '../model/validator.js'
import type { SchemaOption } from './endpoint.js'
import type { ServedModel } from './ports.js'
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

/** Divides a body by an argSchema. @throws ValidationError for what it does not take */
export function splitInput(model: ServedModel, body: unknown, option: SchemaOption | undefined): SplitInput {
  const given = objectOf(body)
  if (option === undefined) return { input: { ...given }, args: {} }
  const names = namesOf(option)
  refuse(
    Object.keys(given)
      .filter((name) => !names.includes(name))
      .map((name) => ({ field: name, message: 'is not known here' })),
  )
  if (!Array.isArray(option)) refuse(schemaErrors(option, given))
  const input: Record<string, unknown> = {}
  const args: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(given)) (isOfModel(model, name) ? input : args)[name] = value
  return { input, args }
}

function isOfModel(model: ServedModel, name: string): boolean {
  const { create, update } = model.schema
  return Object.hasOwn(model.columnSpecs, name) || Object.hasOwn(create.properties, name) || Object.hasOwn(update.properties, name)
}

/** The schema of a body narrowed by an argSchema, for the OpenAPI document. */
export function narrowedInput(schema: ObjectSchema, option: SchemaOption | undefined): object {
  if (option === undefined) return schema
  if (!Array.isArray(option)) return option
  const properties = Object.fromEntries(Object.entries(schema.properties).filter(([name]) => option.includes(name)))
  return { ...schema, properties, required: schema.required.filter((name) => option.includes(name)) }
}
