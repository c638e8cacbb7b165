import { ref } from 'objection'
import type { FieldProblem } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import { type Definition, propertyMeant } from './definition/definition.js'
import { normalize } from './values.js'

/** A key that sets a part of a json column in Objection's patch() on PostgreSQL, such as `billing:plan` or `lines:[0].price`. */
interface JsonPath {
  readonly column: string
  readonly steps: readonly string[]
}

// Objection writes the steps into its SQL unescaped.
const safeStep = /^[\p{L}\p{N}_$.-]+$/u
const safeKey = /^[\p{L}\p{N}_$.:[\]'"-]{1,200}$/u

/** Parses a key as Objection does. @returns null for a key that is not a path, or is not safe in SQL */
function jsonPathOf(key: string): JsonPath | null {
  if (!safeKey.test(key)) return null
  try {
    const { column, tableName, parsedExpr } = ref(key) as unknown as ParsedReference
    const steps = parsedExpr.access.map((step) => String(step.ref))
    const isSafe = steps.length > 0 && steps.every((step) => safeStep.test(step) && !/^null$/i.test(step))
    return isSafe && tableName === null ? { column, steps } : null
  } catch {
    return null
  }
}

interface ParsedReference {
  readonly column: string
  readonly tableName: string | null
  readonly parsedExpr: { readonly access: readonly { readonly ref: string | number }[] }
}

/** Returns whether Objection reads a key as a path into a json column. */
export const isJsonPath = (key: string): boolean => key.includes(':')

type Validate = (schema: object, value: unknown) => readonly FieldProblem[]

/**
 * Validates a value for a part of a json column.
 *
 * @param validate validates a value against a JSON Schema
 * @returns the error message, or null for a valid value
 */
export function jsonPathError(definition: Definition, key: string, value: unknown, validate: Validate): string | Message | null {
  const { specs, handWritten, isStrict, modelClass } = definition
  const path = jsonPathOf(key)
  if (!path) return message('field.unknown')
  const property = isStrict ? path.column : (propertyMeant(modelClass, path.column) ?? path.column)
  const spec = specs[property]
  if (spec ? spec.type !== 'json' : isStrict) return message('field.unknown')
  if (spec) {
    const { error } = normalize({ ...spec, isNullable: true }, value)
    if (error !== undefined) return error
  }
  const schema = spec ? spec.schema : handWritten[property]
  return schema === undefined ? null : partError(schema, path.steps, value, property, validate)
}

function partError(
  schema: object,
  steps: readonly string[],
  value: unknown,
  property: string,
  validate: Validate,
): string | Message | null {
  const whole = message('field.notAlone', { property })
  const parts = partsOf(schema, steps)
  if (parts === null) return whole
  if (parts.includes(false)) return message('field.unknown')
  try {
    for (const part of parts) {
      const [error] = typeof part === 'object' ? validate(part, value) : []
      if (error) return error.field === '' ? error.message : message('field.part', { field: error.field, problem: error.message })
    }
    return null
  } catch {
    // The part has a $ref to another part of the schema.
    return whole
  }
}

/** Keywords that validate a part independently of the other parts, and keywords that validate nothing. */
const localKeywords = new Set([
  ...['type', 'properties', 'required', 'additionalProperties', 'items'],
  ...['$schema', '$id', '$comment', 'title', 'description', 'default', 'examples', 'deprecated', 'readOnly', 'writeOnly'],
])

/** Returns the schemas of a part of a value; null when the schema of an enclosing value also applies to the part. */
function partsOf(schema: object | boolean, [step, ...rest]: readonly string[]): (object | boolean)[] | null {
  if (step === undefined) return [schema]
  if (typeof schema === 'boolean') return [schema]
  if (Object.keys(schema).some((keyword) => !localKeywords.has(keyword))) return null
  const { type, properties, additionalProperties, items } = schema as {
    type?: string | string[]
    properties?: Record<string, object | boolean>
    additionalProperties?: object | boolean
    items?: object | boolean
  }
  const types = type === undefined ? ['object', 'array'] : [type].flat()
  const inner: (object | boolean)[] = []
  if (types.includes('object'))
    inner.push(properties && Object.hasOwn(properties, step) ? (properties[step] as object) : (additionalProperties ?? true))
  if (types.includes('array') && /^-?\d+$/.test(step)) inner.push(items ?? true)
  if (inner.length === 0) return [false]
  const parts = inner.map((one) => partsOf(one, rest))
  return parts.some((one) => one === null) ? null : (parts as (object | boolean)[][]).flat()
}
