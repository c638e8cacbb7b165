import { mergedList } from './class-statics.js'
import { type ColumnSpec, MAX_DECIMAL_PRECISION } from './column.js'
import type { Definition } from './definition/definition.js'
import { allowsNull } from './definition/existing-columns.js'

export interface ObjectSchema {
  type: 'object'
  properties: Record<string, object>
  required: string[]
  additionalProperties: boolean
}

/** An object's schema with any further keywords, as applications write it. */
export interface RecordSchema extends Omit<ObjectSchema, 'additionalProperties'> {
  readonly [keyword: string]: unknown
}

/** The JSON Schemas of a model: input to create and to update a row, output, and the filters of a list. */
export interface ModelSchemas {
  readonly create: ObjectSchema
  readonly update: ObjectSchema
  readonly output: ObjectSchema
  readonly filter: ObjectSchema
}

const automatic = new Set(['id', 'createdAt', 'updatedAt'])

/** Returns the JSON Schema of a column's values in JSON. */
export function schemaOf(spec: ColumnSpec): Record<string, unknown> {
  const schema = base(spec)
  if (!spec.isNullable) return schema
  if (typeof schema.type === 'string')
    return { ...schema, type: [schema.type, 'null'], ...(schema.enum ? { enum: [...(schema.enum as string[]), null] } : {}) }
  return Object.keys(schema).length === 0 ? schema : { anyOf: [schema, { type: 'null' }] }
}

function base(spec: ColumnSpec): Record<string, unknown> {
  const has = <K extends keyof ColumnSpec>(key: K) => (spec[key] === undefined ? {} : { [key]: spec[key] })
  switch (spec.type) {
    case 'string':
    case 'text':
      return { type: 'string', ...has('minLength'), ...has('maxLength'), ...has('pattern'), ...has('format') }
    case 'integer':
      return { type: 'integer', ...has('minimum'), ...has('maximum') }
    case 'float':
      return { type: 'number', ...has('minimum'), ...has('maximum') }
    case 'bigint':
      return { type: 'string', pattern: '^-?\\d{1,19}$' }
    case 'decimal': {
      const whole = (spec.precision ?? MAX_DECIMAL_PRECISION) - (spec.scale ?? 0)
      return { type: 'string', pattern: spec.scale ? `^-?\\d{1,${Math.max(whole, 1)}}(\\.\\d{1,${spec.scale}})?$` : `^-?\\d{1,${whole}}$` }
    }
    case 'boolean':
      return { type: 'boolean' }
    case 'date':
      return { type: 'string', format: 'date' }
    case 'datetime':
      return { type: 'string', format: 'date-time' }
    case 'uuid':
      return { type: 'string', format: 'uuid' }
    case 'enum':
      return { type: 'string', enum: [...(spec.values ?? [])] }
    case 'json':
      return { ...(spec.schema ?? {}) }
  }
}

/** Returns whether a new row must have a value for this column. */
export function isRequired(name: string, spec: ColumnSpec): boolean {
  // `required` of the JSON Schema says it for columns that only the schema describes.
  return !spec.isExisting && !spec.isNullable && !spec.hasDefault && !spec.isGenerated && !automatic.has(name)
}

/** Returns whether a client may send this column when it creates or updates a row. */
export function isWritable(name: string, spec: ColumnSpec, action: 'create' | 'update'): boolean {
  return !automatic.has(name) && !spec.isGenerated && !spec.isHidden && !spec.isReadOnly && !(action === 'update' && spec.isImmutable)
}

/** Returns the JSON Schema of a whole row, with all the columns that code may set. */
export function recordSchema(definition: Definition): RecordSchema {
  const properties: Record<string, object> = { ...definition.handWritten }
  const required = [...definition.handRequired]
  for (const [name, spec] of Object.entries(definition.specs)) {
    properties[name] = propertySchema(definition, name, spec)
    if (isRequired(name, spec)) required.push(name)
  }
  return { additionalProperties: true, ...definition.handKeywords, type: 'object', properties, required: [...new Set(required)] }
}

function propertySchema({ handWritten }: Definition, name: string, spec: ColumnSpec): Record<string, unknown> {
  return spec.isExisting ? { ...handWritten[name] } : { ...(handWritten[name] ?? {}), ...schemaOf(spec) }
}

const isWriteOnly = (schema: object): boolean => (schema as { writeOnly?: boolean }).writeOnly === true

// A column that the JSON Schema does not require may be NULL, although clients may not send null.
function shownSchema(schema: Record<string, unknown>, { isNullable }: ColumnSpec): Record<string, unknown> {
  if (!isNullable || allowsNull(schema)) return schema
  const { type, enum: values } = schema
  if (type === undefined) return { anyOf: [schema, { type: 'null' }] }
  return { ...schema, type: [type, 'null'].flat(), ...(Array.isArray(values) ? { enum: [...values, null] } : {}) }
}

/** Returns the JSON Schemas of a model, for validation and for OpenAPI. */
export function schemasOf(definition: Definition): ModelSchemas {
  const schema = (): ObjectSchema => ({ type: 'object', properties: {}, required: [], additionalProperties: false })
  const [create, update, output, filter] = [schema(), schema(), schema(), schema()]
  for (const [name, hand] of Object.entries(definition.handWritten)) {
    if (definition.specs[name]) continue
    const { readOnly } = hand as { readOnly?: boolean }
    if (!readOnly && !automatic.has(name)) {
      create.properties[name] = hand
      update.properties[name] = hand
    }
    if (!isWriteOnly(hand)) output.properties[name] = hand
  }
  // A client cannot send a column that the server fills in.
  create.required.push(
    ...definition.handRequired.filter((name) => !definition.specs[name] || isWritable(name, definition.specs[name], 'create')),
  )
  for (const [name, spec] of Object.entries(definition.specs)) {
    const property = propertySchema(definition, name, spec)
    if (isWritable(name, spec, 'create')) {
      create.properties[name] =
        spec.hasDefault && typeof spec.defaultValue !== 'function' && spec.defaultValue !== undefined
          ? { ...property, default: spec.defaultValue }
          : property
      if (isRequired(name, spec)) create.required.push(name)
    }
    if (isWritable(name, spec, 'update')) update.properties[name] = property
    if (!spec.isHidden && !isWriteOnly(property)) {
      const shown = spec.isExisting ? shownSchema(property, spec) : property
      output.properties[name] = automatic.has(name) || spec.isGenerated || spec.isReadOnly ? { ...shown, readOnly: true } : shown
      // The application's $formatJson() may omit a column that only a JSON Schema describes.
      if (!spec.readable && !spec.isExisting) output.required.push(name)
    }
    if (spec.isFilterable && !spec.isHidden) filter.properties[name] = property
  }
  for (const [name, input] of Object.entries(definition.inputs)) {
    if (input.on.includes('create')) create.properties[name] = input.schema
    if (definition.requiredInputs.includes(name)) create.required.push(name)
    if (input.on.includes('update')) update.properties[name] = input.schema
  }
  for (const name of mergedList(definition.modelClass, 'virtualAttributes')) {
    if (!output.properties[name]) output.properties[name] = { readOnly: true }
  }
  return { create, update, output, filter }
}
