import { type FieldProblem, ValidationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { message } from '../core/messages/message.js'
import { isDescribedOnly } from './column.js'
import { type Definition, definitionOf } from './definition/definition.js'
import type { ModelSchemas } from './json-schemas.js'
import { assertNoErrors, firstErrorPerField, hasBeforeValidate, MAX_ERRORS, schemaErrors, textErrors } from './validator.js'
import { isUuid, normalize } from './values.js'

/** Throws when a value is undefined, which is neither a value nor NULL. @throws ValidationError */
export function assertNoUndefined(values: object): void {
  for (const [name, value] of Object.entries(values)) {
    if (value === undefined)
      throw new ValidationError(message('row.undefinedValue', { name }), [{ field: name, message: message('field.undefined') }])
  }
}

/** Validates the values of getBy(). @returns the normalised values; null when no row can match. @throws ValidationError */
export function lookup(definition: Definition, where: object): Record<string, unknown> | null {
  const values: Record<string, unknown> = {}
  const errors: FieldProblem[] = []
  const entries = Object.entries(where)
  if (entries.length === 0) throw new ValidationError(message('row.emptyCondition'))
  for (const [name, value] of entries) {
    const spec = definition.specs[name]
    if (value === undefined) errors.push({ field: name, message: message('field.undefinedCondition') })
    else if (!spec) {
      const isKnown = name === 'id' || definition.columnOf.has(name)
      if (definition.isStrict && !isKnown) errors.push({ field: name, message: message('field.unknown') })
      else values[name] = value
    } else if (value === null) values[name] = null
    else if (spec.type === 'uuid' && typeof value === 'string' && !isUuid(value)) return null
    else if (spec.isExisting) values[name] = value
    else {
      const checked = normalize({ ...spec, isNullable: true }, value)
      if (checked.error === undefined) values[name] = checked.value
      // Text that cannot be stored matches no row.
      else if ((spec.type === 'string' || spec.type === 'text') && typeof value === 'string') return null
      else errors.push({ field: name, message: checked.error })
    }
  }
  assertNoErrors(errors)
  return values
}

/** Validates a client's input and returns it as values for build() or update(). @throws ValidationError naming each invalid field */
export function fromClient(cls: { schema: ModelSchemas }, input: unknown, action: 'create' | 'update'): object {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw new ValidationError(message('request.bodyObject'))
  const schema = cls.schema[action]
  const specs = definitionOf(cls).specs
  const errors: FieldProblem[] = []
  for (const [name, value] of Object.entries(input)) {
    if (errors.length >= MAX_ERRORS) assertNoErrors(errors)
    if (!Object.hasOwn(schema.properties, name)) {
      const isKnown = specs[name] !== undefined && !specs[name].isHidden
      errors.push({ field: name, message: isKnown ? message('field.readOnly') : message('field.unknown') })
    } else errors.push(...textErrors(name, value))
  }
  const known = Object.fromEntries(Object.entries(input).filter(([name]) => Object.hasOwn(schema.properties, name)))
  // normalize() checks the columns. The schema checks the other properties.
  const rest = {
    ...schema,
    properties: Object.fromEntries(Object.entries(schema.properties).filter(([name]) => !specs[name] || isDescribedOnly(specs[name]))),
    required: [],
    additionalProperties: true,
  }
  // $beforeValidate() of the model may fill in missing values. The model checks them afterwards.
  const isChecked = action === 'create' && !hasBeforeValidate(cls)
  const missing = isChecked ? schema.required.filter((name) => known[name] === undefined) : []
  for (const name of missing) errors.push({ field: name, message: message('field.required') })
  for (const [name, value] of Object.entries(known)) {
    const spec = specs[name]
    if (!spec || isDescribedOnly(spec)) continue
    const checked = normalize(spec, value)
    if (checked.error !== undefined) errors.push({ field: name, message: checked.error })
  }
  const bySchema = schemaErrors(
    memoize(rests, schema, () => rest),
    known,
  )
  assertNoErrors(firstErrorPerField([...errors, ...bySchema]))
  return known
}

const rests = new WeakMap<object, object>()
