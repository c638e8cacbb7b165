import { _, Ajv2020, type ErrorObject, str, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { type JSONSchema, Model, type Pojo, Validator, type ValidatorArgs } from 'objection'
import { ConfigurationError, type FieldError, ValidationError } from '../core/errors.js'
import { modelSlot } from '../runtime.js'
import { type Definition, definitionOf } from './definition.js'
import { joinColumnsOf } from './join-columns.js'
import { isJsonPath, jsonPathError } from './json-paths.js'
import { type ObjectSchema, recordSchema } from './json-schemas.js'
import { describe, isDate, isStorableText, normalize, parseDatetime } from './values.js'

/** Characters of the longest text that a format is looked for in. */
const MAX_FORMATTED = 4096

// Some formats are regular expressions that take quadratic time. Base64 of any length is read in linear time.
function boundFormats(ajv: Ajv2020): void {
  for (const [name, format] of Object.entries(ajv.formats)) {
    if (name === 'byte') continue
    const test = format instanceof RegExp ? (text: string) => format.test(text) : typeof format === 'function' ? format : null
    if (test) ajv.addFormat(name, (text: string) => text.length <= MAX_FORMATTED && test(text) === true)
  }
}

// With allErrors ajv matches a pattern also in a text that maxLength has refused.
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

// Ajv keeps every schema that it compiled, so it is made anew with the models.
const validation = modelSlot(() => ({
  ajv: createAjv(),
  compiled: new WeakMap<object, ValidateFunction>(),
  /** Schemas that $beforeValidate() made, by their text: a hook makes a new object for each row. */
  changed: new Map<string, object>(),
}))
const mostChanged = 200

function createAjv(): Ajv2020 {
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: true, ownProperties: true })
  formats.default(ajv)
  boundFormats(ajv)
  limitPatterns(ajv)
  // Stricter than ajv-formats: only what every database can hold.
  ajv.addFormat('date', isDate)
  ajv.addFormat('date-time', (value: string) => parseDatetime(value) !== null)
  return ajv
}

/** Returns one object for all schemas with this text, so that each is compiled once. */
function sameSchema(schema: object): object {
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

/** Lets what does not match a pattern be told in words: a regular expression helps nobody who filled in a form. */
export function explainPattern(pattern: string, message: string): string {
  patterns.set(pattern, message)
  return pattern
}

/** Compiles a JSON Schema once. */
export function validatorFor(schema: object): ValidateFunction {
  const { ajv, compiled } = validation.get()
  let validate = compiled.get(schema)
  if (!validate) {
    validate = ajv.compile(schema)
    compiled.set(schema, validate)
  }
  return validate
}

/** What is wrong with `value` by `schema`, one entry a field; empty where all is well. */
export function schemaErrors(schema: object, value: unknown): FieldError[] {
  const validate = validatorFor(schema)
  if (validate(value)) return []
  return firstOfEach((validate.errors ?? []).slice(0, MAX_ERRORS).map(toFieldError))
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

/** One error for each field: a client may send tens of thousands. */
export function firstOfEach(errors: readonly FieldError[]): FieldError[] {
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
  /** Of a row in a query, in which a relation may still fill in foreign keys: what is missing in the end, `$complete` tells. */
  readonly unlinked: ObjectSchema
}

/** What one validation hands from hook to hook. */
interface Context {
  /** What $beforeValidate() made of the schema; undefined where the model has no such hook. */
  schema?: ObjectSchema
  values?: Record<string, unknown>
}

/**
 * The hook's schema as `own` would be: it requires what `own` requires as long as the hook left that, and what the hook added.
 *
 * @param own null where nothing is required
 */
function withRequired(schema: ObjectSchema, whole: ObjectSchema, own: ObjectSchema | null): object {
  const { required = [], ...rest } = schema as Partial<ObjectSchema>
  const isAsked = (name: string) => own !== null && (own.required.includes(name) || !whole.required.includes(name))
  return sameSchema({ ...rest, required: required.filter(isAsked) })
}

/** Whether a class has a $beforeValidate() of the application's own. */
export function hasBeforeValidate(cls: object): boolean {
  return (cls as typeof Model).prototype.$beforeValidate !== Model.prototype.$beforeValidate
}

/** Validates records by their declared columns, and brings each value into the form in which code holds it. */
export class RecordValidator extends Validator {
  private readonly byClass = new WeakMap<object, Compiled>()

  private compiledFor(cls: object): Compiled {
    let known = this.byClass.get(cls)
    if (!known) {
      const definition = definitionOf(cls)
      const whole = recordSchema(definition)
      known = { definition, whole, partial: { ...whole, required: [] }, unlinked: { ...whole, required: [...definition.handRequired] } }
      this.byClass.set(cls, known)
    }
    return known
  }

  // As Objection does it: the hook may change the schema, or return another one, and change the values.
  override beforeValidate(args: ValidatorArgs): void {
    const { model, options } = args
    const context = args.ctx as Context
    if (!hasBeforeValidate(model.constructor)) return
    const { whole } = this.compiledFor(model.constructor)
    // Values of a row are a copy already. Those of the caller stay as they are.
    if (!(args.json instanceof Model)) args.json = { ...args.json }
    const given = structuredClone(whole)
    const returned: unknown = model.$beforeValidate(given as JSONSchema, args.json, options) ?? given
    if (typeof returned !== 'object' || returned === null || 'then' in returned)
      throw new ConfigurationError(`${model.constructor.name}.$beforeValidate() must return a JSON Schema, and no promise.`)
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
    const rest = new Set([...relationNames(model), ...joinColumnsOf(model, options)])
    for (const [name, given] of Object.entries(json as Record<string, unknown>)) {
      if (given === undefined || name.startsWith('$')) continue
      if (errors.length >= MAX_ERRORS) break
      if (name === '__proto__') {
        errors.push({ field: name, message: 'is not known here' })
        continue
      }
      const spec = definition.specs[name]
      if (!spec) {
        if (isJsonPath(name) && !rest.has(name) && !definition.columnOf.has(name)) {
          const message = isPatch ? jsonPathError(definition, name, given, schemaErrors) : 'is not known here'
          if (message === null) values[name] = given
          else errors.push({ field: name, message })
          continue
        }
        values[name] = given
        if (rest.has(name)) continue
        wire[name] = given
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
    const withQueries = (model as unknown as { $$queryProps?: Record<string, unknown> }).$$queryProps
    const own = isPatch || withQueries ? partial : (options as { active?: boolean }).active ? whole : unlinked
    const bySchema = schemaErrors(context.schema ? withRequired(context.schema, whole, own === partial ? null : own) : own, wire)
    assertNoErrors(firstOfEach([...errors, ...bySchema]))
    context.values = values
    return values
  }

  private fillDefaults(definition: Definition, values: Record<string, unknown>, wire: Record<string, unknown>): void {
    for (const [name, spec] of Object.entries(definition.specs)) {
      if (values[name] !== undefined || !spec.hasDefault) continue
      const value: unknown =
        typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : structuredClone(spec.defaultValue)
      if (value === undefined) continue
      const checked = normalize(spec, value)
      if (checked.error !== undefined)
        throw new ValidationError(`The default of ${name} ${checked.error}`, [{ field: name, message: checked.error }])
      values[name] = checked.value
      wire[name] = checked.value instanceof Date ? checked.value.toISOString() : checked.value
    }
  }
}

function relationNames(model: Model): string[] {
  return (model.constructor as unknown as { getRelationNames(): string[] }).getRelationNames()
}

// A setter of the class takes the value (password, for one): not a column, and not unknown.
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

/** What is wrong with text that came from a client, beyond its schema. */
export function textErrors(field: string, value: unknown): FieldError[] {
  return typeof value === 'string' && !isStorableText(value)
    ? [{ field, message: 'may not hold NUL characters or broken surrogate pairs' }]
    : []
}
