import { _, Ajv2020, type ErrorObject, str, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { type JSONSchema, Model, type Pojo, Validator, type ValidatorArgs } from 'objection'
import { ConfigurationError, type FieldError, ValidationError } from '../core/errors.js'
import { modelSlot } from '../runtime.js'
import { type Definition, definitionOf } from './definition.js'
import { extraColumnsOf } from './join-columns.js'
import { isJsonPath, jsonPathError } from './json-paths.js'
import { type ObjectSchema, recordSchema } from './json-schemas.js'
import { classOf } from './model-class.js'
import { describe, isDate, isStorableText, normalize, parseDatetime } from './values.js'

/** The most characters of text that a format accepts. */
const MAX_FORMATTED = 4096

// Some formats are regular expressions with quadratic run time. Base64 ('byte') is linear.
function boundFormats(ajv: Ajv2020): void {
  for (const [name, format] of Object.entries(ajv.formats)) {
    if (name === 'byte') continue
    const test = format instanceof RegExp ? (text: string) => format.test(text) : typeof format === 'function' ? format : null
    if (test) ajv.addFormat(name, (text: string) => text.length <= MAX_FORMATTED && test(text) === true)
  }
}

// With allErrors, ajv also matches the pattern of text that exceeds maxLength.
function limitPatterns(ajv: Ajv2020): void {
  ajv.removeKeyword('pattern')
  ajv.addKeyword({
    keyword: 'pattern',
    type: 'string',
    schemaType: 'string',
    error: {
      message: ({ schemaCode }) => str`must match pattern "${schemaCode}"`,
      params: ({ schemaCode }) => _`{pattern: ${schemaCode}}`,
    },
    compile(pattern: string, parent: object) {
      const { maxLength } = parent as { maxLength?: number }
      const expression = new RegExp(pattern, 'u')
      return (text: string) => (maxLength !== undefined && text.length > 2 * maxLength) || expression.test(text)
    },
  })
}

// Ajv keeps every compiled schema, so each set of models gets a new instance.
const validation = modelSlot(() => ({
  ajv: createAjv(),
  compiled: new WeakMap<object, ValidateFunction>(),
  /** Schemas from $beforeValidate(), by their text: the hook creates a new object for each row. */
  changed: new Map<string, object>(),
}))
const mostChanged = 200

function createAjv(): Ajv2020 {
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: true, ownProperties: true })
  formats.default(ajv)
  boundFormats(ajv)
  limitPatterns(ajv)
  // Stricter than ajv-formats: accepts only values that every database can store.
  ajv.addFormat('date', isDate)
  ajv.addFormat('date-time', (value: string) => parseDatetime(value) !== null)
  return ajv
}

/** Returns the same object for equal schemas, so that each is compiled once. */
function deduplicated(schema: object): object {
  const { ajv, changed } = validation.get()
  const text = JSON.stringify(schema)
  const known = changed.get(text)
  if (known) return known
  if (changed.size >= mostChanged) {
    for (const old of changed.values()) ajv.removeSchema(old)
    changed.clear()
  }
  changed.set(text, schema)
  return schema
}

const patterns = new Map<string, string>()
const formatNames: Readonly<Record<string, string>> = {
  uuid: 'a UUID',
  date: 'a date',
  'date-time': 'a date-time',
  email: 'an e-mail address',
}

/** Sets the error message for values that do not match a pattern, since users cannot read regular expressions. Returns the pattern. */
export function describePattern(pattern: string, message: string): string {
  patterns.set(pattern, message)
  return pattern
}

/** Returns the compiled validator of a JSON Schema. Compiles each schema object once. */
export function validatorFor(schema: object): ValidateFunction {
  const { ajv, compiled } = validation.get()
  let validate = compiled.get(schema)
  if (!validate) {
    validate = ajv.compile(schema)
    compiled.set(schema, validate)
  }
  return validate
}

/** Validates a value against a JSON Schema. @returns one error per field; empty for a valid value */
export function schemaErrors(schema: object, value: unknown): FieldError[] {
  const validate = validatorFor(schema)
  if (validate(value)) return []
  return firstErrorPerField((validate.errors ?? []).slice(0, MAX_ERRORS).map(toFieldError))
}

function toFieldError(error: ErrorObject): FieldError {
  const path = error.instancePath
    .slice(1)
    .split('/')
    .filter(Boolean)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  const { missingProperty, additionalProperty, allowedValues, pattern, format } = error.params as Record<string, unknown>
  if (typeof missingProperty === 'string') return { field: [...path, missingProperty].join('.'), message: 'is required' }
  if (typeof additionalProperty === 'string') return { field: [...path, additionalProperty].join('.'), message: 'is not known here' }
  if (Array.isArray(allowedValues))
    return { field: path.join('.'), message: `must be one of ${allowedValues.filter((v) => v !== null).join(', ')}` }
  const message = patterns.get(String(pattern)) ?? (formatNames[String(format)] ? `must be ${formatNames[String(format)]}` : error.message)
  return { field: path.join('.'), message: message ?? 'is not valid' }
}

/** Returns the first error of each field: a client may send tens of thousands of errors. */
export function firstErrorPerField(errors: readonly FieldError[]): FieldError[] {
  const seen = new Map<string, FieldError>()
  for (const error of errors) if (!seen.has(error.field)) seen.set(error.field, error)
  return [...seen.values()]
}

/** How many errors one refusal names. */
export const MAX_ERRORS = 100

/** @throws ValidationError naming each field, the first 100 of them, where there is any */
export function assertNoErrors(errors: readonly FieldError[]): void {
  if (errors.length === 0) return
  const named = errors.length > MAX_ERRORS ? errors.slice(0, MAX_ERRORS) : errors
  throw new ValidationError(describe(named), { errors: named })
}

/** The keys of an object that `isKnown` does not know, as errors: the first 100. */
export function unknownKeys(given: object, isKnown: (name: string) => boolean): FieldError[] {
  const errors: FieldError[] = []
  for (const name of Object.keys(given)) {
    if (errors.length === MAX_ERRORS) break
    if (!isKnown(name)) errors.push({ field: name, message: 'is not known here' })
  }
  return errors
}

interface Compiled {
  readonly definition: Definition
  readonly whole: ObjectSchema
  readonly partial: ObjectSchema
  /** For a row that a query inserts: a relation may still set its foreign keys, so `$complete()` checks required columns later. */
  readonly unlinked: ObjectSchema
}

/** The state that one validation passes from hook to hook. */
interface Context {
  /** The schema that $beforeValidate() returned; undefined if the model has no such hook. */
  schema?: ObjectSchema
  values?: Record<string, unknown>
}

/**
 * Returns the hook's schema with its required properties reduced to those that apply to this validation: the properties that
 * `own` requires, and those that the hook added.
 *
 * @param own the schema of this validation; null when nothing is required
 */
function withRequired(schema: ObjectSchema, whole: ObjectSchema, own: ObjectSchema | null): object {
  const { required = [], ...rest } = schema as Partial<ObjectSchema>
  const isAsked = (name: string) => own !== null && (own.required.includes(name) || !whole.required.includes(name))
  return deduplicated({ ...rest, required: required.filter(isAsked) })
}

/** Returns whether the application's class overrides $beforeValidate(). */
export function hasBeforeValidate(cls: object): boolean {
  return (cls as typeof Model).prototype.$beforeValidate !== Model.prototype.$beforeValidate
}

/** Validates rows against their declared columns and normalises their values. Objection calls it. */
export class RecordValidator extends Validator {
  private readonly compiled = new WeakMap<Definition, Compiled>()

  /** @param hasQueryValues returns whether values of a row are raw SQL or queries, which Objection keeps apart before validation */
  constructor(private readonly hasQueryValues: (row: Model) => boolean) {
    super()
  }

  private compiledFor(cls: object): Compiled {
    const definition = definitionOf(cls)
    let known = this.compiled.get(definition)
    if (!known) {
      const whole = recordSchema(definition)
      known = { definition, whole, partial: { ...whole, required: [] }, unlinked: { ...whole, required: [...definition.handRequired] } }
      this.compiled.set(definition, known)
    }
    return known
  }

  // As in Objection's own validator, the hook may change the schema or return a new one, and may change the values.
  override beforeValidate(args: ValidatorArgs): void {
    const { model, options } = args
    const context = args.ctx as Context
    if (!hasBeforeValidate(model.constructor)) return
    const { whole } = this.compiledFor(model.constructor)
    // Copies the caller's values before the hook changes them. The values of a row are already a copy.
    if (!(args.json instanceof Model)) args.json = { ...args.json }
    const given = structuredClone(whole)
    const returned: unknown = model.$beforeValidate(given as JSONSchema, args.json, options) ?? given
    if (typeof returned !== 'object' || returned === null || 'then' in returned)
      throw new ConfigurationError(`${model.constructor.name}.$beforeValidate() must return a JSON Schema, not a promise.`)
    context.schema = returned as ObjectSchema
  }

  override afterValidate({ model, options, ctx }: ValidatorArgs): void {
    model.$afterValidate((ctx as Context).values as Pojo, options)
  }

  override validate({ json, model, options, ctx }: ValidatorArgs): Record<string, unknown> {
    const { definition, whole, partial, unlinked } = this.compiledFor(model.constructor)
    const context = ctx as Context
    const isPatch = options.patch === true
    const values: Record<string, unknown> = {}
    const wire: Record<string, unknown> = {}
    const errors: FieldError[] = []
    const rest = new Set([...relationNames(model), ...extraColumnsOf(model, options)])
    for (const [name, given] of Object.entries(json as Record<string, unknown>)) {
      if (given === undefined || name.startsWith('$')) continue
      if (errors.length >= MAX_ERRORS) break
      if (name === '__proto__') {
        errors.push({ field: name, message: 'is not known here' })
        continue
      }
      const spec = definition.specs[name]
      if (!spec || spec.isExisting) {
        if (isJsonPath(name) && !rest.has(name) && !definition.columnOf.has(name)) {
          const message = isPatch ? jsonPathError(definition, name, given, schemaErrors) : 'is not known here'
          if (message === null) values[name] = given
          else errors.push({ field: name, message })
          continue
        }
        values[name] = given
        if (rest.has(name)) continue
        wire[name] = given instanceof Date && spec?.type !== 'json' ? given.toISOString() : given
        const isKnown = definition.handWritten[name] !== undefined || name === 'id' || name.startsWith('#') || isAccessor(model, name)
        if (definition.isStrict && !isKnown) errors.push({ field: name, message: 'is not known here' })
        continue
      }
      const checked = normalize(spec, given)
      if (checked.error !== undefined) errors.push({ field: name, message: checked.error })
      else {
        values[name] = checked.value
        wire[name] = checked.value instanceof Date ? checked.value.toISOString() : checked.value
      }
    }
    if (!isPatch) this.fillDefaults(definition, values, wire)
    const own = isPatch || this.hasQueryValues(model) ? partial : (options as { active?: boolean }).active ? whole : unlinked
    const bySchema = schemaErrors(context.schema ? withRequired(context.schema, whole, own === partial ? null : own) : own, wire)
    assertNoErrors(firstErrorPerField([...errors, ...bySchema]))
    context.values = values
    return values
  }

  private fillDefaults(definition: Definition, values: Record<string, unknown>, wire: Record<string, unknown>): void {
    for (const [name, spec] of Object.entries(definition.specs)) {
      if (values[name] !== undefined || !spec.hasDefault) continue
      const value: unknown =
        typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : structuredClone(spec.defaultValue)
      if (value === undefined) continue
      const checked = spec.isExisting ? { value, error: undefined } : normalize(spec, value)
      if (checked.error !== undefined)
        throw new ValidationError(`The default of ${name} ${checked.error}`, [{ field: name, message: checked.error }])
      values[name] = checked.value
      wire[name] = checked.value instanceof Date ? checked.value.toISOString() : checked.value
    }
  }
}

function relationNames(model: Model): string[] {
  return classOf(model).getRelationNames()
}

// A property with an accessor, such as `password`, is known although it is not a column.
function isAccessor(model: Model, name: string): boolean {
  for (
    let p: object | null = Object.getPrototypeOf(model) as object;
    p !== null && p !== Object.prototype;
    p = Object.getPrototypeOf(p) as object | null
  ) {
    const descriptor = Object.getOwnPropertyDescriptor(p, name)
    if (descriptor) return descriptor.set !== undefined || descriptor.get !== undefined
  }
  return false
}

/** Returns the errors of a client's text that a database could not store. */
export function textErrors(field: string, value: unknown): FieldError[] {
  return typeof value === 'string' && !isStorableText(value)
    ? [{ field, message: 'may not hold NUL characters or broken surrogate pairs' }]
    : []
}
