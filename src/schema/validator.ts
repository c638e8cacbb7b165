import { _, Ajv2020, type ErrorObject, str, type ValidateFunction } from 'ajv/dist/2020.js'
import ajvFormats from 'ajv-formats'
import { type JSONSchema, Model, type Pojo, Validator, type ValidatorArgs, type ValidatorContext } from 'objection'
import { ConfigurationError, type FieldProblem, ValidationError } from '../core/errors.js'
import { isMessageId, Message, message } from '../core/messages/message.js'
import { modelSlot } from '../runtime.js'
import { isDescribedOnly } from './column.js'
import { type Definition, definitionOf, idProperties } from './definition/definition.js'
import { withoutRequired } from './definition/hand-schema.js'
import { extraColumnsOf } from './join-columns.js'
import { isJsonPath, jsonPathError } from './json-paths.js'
import { type RecordSchema, recordSchema } from './json-schemas.js'
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
const maxChanged = 200

function createAjv(): Ajv2020 {
  // Without its optimizer, ajv compiles four times as fast, and its validators are as fast.
  const ajv = new Ajv2020({ allErrors: true, strict: false, validateFormats: true, ownProperties: true, code: { optimize: false } })
  ajvFormats.default(ajv)
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
  if (changed.size >= maxChanged) {
    for (const old of changed.values()) ajv.removeSchema(old)
    changed.clear()
  }
  changed.set(text, schema)
  return schema
}

const patterns = new Map<string, Message>()
const formats: Readonly<Record<string, Message>> = {
  uuid: message('field.uuid'),
  date: message('field.formatDate'),
  'date-time': message('field.formatDatetime'),
  email: message('field.email'),
}

/** Sets the error message for values that do not match a pattern, since users cannot read regular expressions. Returns the pattern. */
export function describePattern(pattern: string, problem: Message): string {
  patterns.set(pattern, problem)
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
export function schemaErrors(schema: object, value: unknown): FieldProblem[] {
  const validate = validatorFor(schema)
  if (validate(value)) return []
  return firstErrorPerField((validate.errors ?? []).slice(0, MAX_ERRORS).map(toFieldError))
}

function toFieldError(error: ErrorObject): FieldProblem {
  const path = error.instancePath
    .slice(1)
    .split('/')
    .filter(Boolean)
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'))
  const { missingProperty, additionalProperty, allowedValues, pattern, format } = error.params as Record<string, unknown>
  if (typeof missingProperty === 'string') return { field: [...path, missingProperty].join('.'), message: message('field.required') }
  if (typeof additionalProperty === 'string') return { field: [...path, additionalProperty].join('.'), message: message('field.unknown') }
  const field = path.join('.')
  if (Array.isArray(allowedValues))
    return { field, message: message('field.enum', { values: allowedValues.filter((v) => v !== null).map(String) }) }
  return { field, message: patterns.get(String(pattern)) ?? formats[String(format)] ?? keywordMessage(error) }
}

/** Returns the message of a keyword. Those of other keywords than the usual ones stay as ajv writes them. */
function keywordMessage({ keyword, params, message: text }: ErrorObject): string | Message {
  const id = `schema.${keyword === 'false schema' ? 'false' : keyword}`
  const values = Object.entries(params as Record<string, unknown>).map(([name, value]) => [
    name,
    typeof value === 'number' ? value : String(value),
  ])
  const known = isMessageId(id) ? new Message(id, Object.fromEntries(values)) : undefined
  return known && String(known) === text ? known : (text ?? message('field.invalid'))
}

/** Returns the first error of each field: a client may send tens of thousands of errors. */
export function firstErrorPerField(errors: readonly FieldProblem[]): FieldProblem[] {
  const seen = new Map<string, FieldProblem>()
  for (const error of errors) if (!seen.has(error.field)) seen.set(error.field, error)
  return [...seen.values()]
}

/** How many errors one refusal names. */
export const MAX_ERRORS = 100

/** @throws ValidationError naming each field, the first 100 of them, where there is any */
export function assertNoErrors(errors: readonly FieldProblem[]): void {
  if (errors.length === 0) return
  const named = errors.length > MAX_ERRORS ? errors.slice(0, MAX_ERRORS) : errors
  throw new ValidationError(describe(named), { errors: named })
}

/** The keys of an object that `isKnown` does not know, as errors: the first 100. */
export function unknownKeys(given: object, isKnown: (name: string) => boolean): FieldProblem[] {
  const errors: FieldProblem[] = []
  for (const name of Object.keys(given)) {
    if (errors.length === MAX_ERRORS) break
    if (!isKnown(name)) errors.push({ field: name, message: message('field.unknown') })
  }
  return errors
}

interface Compiled {
  readonly definition: Definition
  readonly whole: RecordSchema
  readonly partial: RecordSchema
  /** For a row that a query inserts: a relation may still set its foreign keys, so `$complete()` checks required columns later. */
  readonly unlinked: RecordSchema
  /** Only the declared columns. */
  readonly declared: RecordSchema
}

/** The state that one validation passes from hook to hook. */
interface Context {
  /** The schema that $beforeValidate() returned; undefined if the model has no such hook. */
  schema?: RecordSchema
  values?: Record<string, unknown>
  /** The state of the application's own validator. */
  own?: ValidatorContext
  /** Whether only the application's validator knows the JSON Schema, which its hook may have changed. */
  isLeftToOwn?: boolean
}

/**
 * Returns the hook's schema with its required properties reduced to those that apply to this validation: the properties that
 * `own` requires, and those that the hook added.
 *
 * @param own the schema of this validation; null when nothing is required
 */
function withRequired(schema: RecordSchema, whole: RecordSchema, own: RecordSchema | null): object {
  const { required = [], ...rest } = schema as Partial<RecordSchema>
  if (own === null) return deduplicated({ ...withoutRequired(rest), required: [] })
  const isAsked = (name: string) => own.required.includes(name) || !whole.required.includes(name)
  return deduplicated({ ...rest, required: required.filter(isAsked) })
}

/** Returns whether the application's class overrides $beforeValidate(). */
export function hasBeforeValidate(cls: object): boolean {
  return (cls as typeof Model).prototype.$beforeValidate !== Model.prototype.$beforeValidate
}

/** Validates rows against their declared columns and normalises their values. Objection calls it. */
export class RecordValidator extends Validator {
  private readonly compiled = new WeakMap<Definition, Compiled>()

  /**
   * @param hasQueryValues returns whether values of a row are raw SQL or queries, which Objection keeps apart before validation
   * @param own the validator of the application's class. It runs first, since it may convert values and fill in defaults.
   */
  constructor(
    private readonly hasQueryValues: (row: Model) => boolean,
    private readonly own: Validator | null = null,
  ) {
    super()
  }

  private compiledFor(cls: object): Compiled {
    const definition = definitionOf(cls)
    let known = this.compiled.get(definition)
    if (!known) {
      const whole = recordSchema(definition)
      const partial = { ...withoutRequired(whole), type: whole.type, properties: whole.properties, required: [] }
      const isDeclared = (name: string) => definition.columns[name] !== undefined
      const declared = Object.fromEntries(Object.entries(whole.properties).filter(([name]) => isDeclared(name)))
      known = {
        definition,
        whole,
        partial,
        unlinked: { ...whole, required: [...definition.handRequired] },
        declared: { type: 'object', properties: declared, required: [] },
      }
      this.compiled.set(definition, known)
    }
    return known
  }

  // As in Objection's own validator, the hook may change the schema or return a new one, and may change the values.
  override beforeValidate(args: ValidatorArgs): void {
    const { model, options } = args
    const context = args.ctx as Context
    const hasHook = hasBeforeValidate(model.constructor)
    if (!hasHook && !this.own) return
    const { whole } = this.compiledFor(model.constructor)
    // Copies the caller's values before the hook changes them. The values of a row are already a copy.
    if (!(args.json instanceof Model)) args.json = { ...args.json }
    if (this.own) {
      const own: ValidatorContext = Object.create(null)
      context.own = own
      // The application's validator calls the hook.
      this.own.beforeValidate({ ...args, ctx: own })
      context.isLeftToOwn = hasHook
      return
    }
    const given = structuredClone(whole)
    const returned: unknown = model.$beforeValidate(given as JSONSchema, args.json, options) ?? given
    if (typeof returned !== 'object' || returned === null || 'then' in returned)
      throw new ConfigurationError(`${model.constructor.name}.$beforeValidate() must return a JSON Schema, not a promise.`)
    context.schema = returned as RecordSchema
  }

  override afterValidate(args: ValidatorArgs): void {
    const { own, values } = args.ctx as Context
    if (this.own) this.own.afterValidate({ ...args, json: values as Pojo, ctx: own ?? {} })
    else args.model.$afterValidate(values as Pojo, args.options)
  }

  override validate(args: ValidatorArgs): Record<string, unknown> {
    const { model, options } = args
    const { definition } = this.compiledFor(model.constructor)
    const context = args.ctx as Context
    const json = this.own ? validatedByOwn(this.own, args) : args.json
    const isPatch = options.patch === true
    const values: Record<string, unknown> = {}
    const wire: Record<string, unknown> = {}
    const errors: FieldProblem[] = []
    const rest = new Set([...relationNames(model), ...extraColumnsOf(model, options)])
    for (const [name, given] of Object.entries(json as Record<string, unknown>)) {
      if (given === undefined || name.startsWith('$')) continue
      if (errors.length >= MAX_ERRORS) break
      if (name === '__proto__') {
        errors.push({ field: name, message: message('field.unknown') })
        continue
      }
      const spec = definition.specs[name]
      if (!spec || isDescribedOnly(spec)) {
        if (isJsonPath(name) && !rest.has(name) && !definition.columnOf.has(name)) {
          const problem = isPatch ? jsonPathError(definition, name, given, schemaErrors) : message('field.unknown')
          if (problem === null) values[name] = given
          else errors.push({ field: name, message: problem })
          continue
        }
        values[name] = given
        if (rest.has(name)) continue
        wire[name] = given instanceof Date && spec?.type !== 'json' ? given.toISOString() : given
        const isKnown = definition.handWritten[name] !== undefined || name === 'id' || name.startsWith('#') || isAccessor(model, name)
        if (definition.isStrict && !isKnown) errors.push({ field: name, message: message('field.unknown') })
        continue
      }
      const checked = normalize(spec, given)
      if (checked.error !== undefined) errors.push({ field: name, message: checked.error })
      else {
        values[name] = checked.value
        wire[name] = checked.value instanceof Date ? checked.value.toISOString() : checked.value
      }
    }
    if (!isPatch) this.fillDefaults(model.constructor, definition, values, wire)
    const bySchema = schemaErrors(this.schemaFor(args), wire)
    assertNoErrors(firstErrorPerField([...errors, ...bySchema]))
    context.values = values
    return values
  }

  private schemaFor({ model, options, ctx }: ValidatorArgs): object {
    const { whole, partial, unlinked, declared } = this.compiledFor(model.constructor)
    const { schema, isLeftToOwn } = ctx as Context
    if (isLeftToOwn) return declared
    const own = options.patch || this.hasQueryValues(model) ? partial : (options as { active?: boolean }).active ? whole : unlinked
    return schema ? withRequired(schema, whole, own === partial ? null : own) : own
  }

  // The default of an id is set when the row is inserted: here it would also give a new id to a row that update() replaces.
  private fillDefaults(cls: object, definition: Definition, values: Record<string, unknown>, wire: Record<string, unknown>): void {
    const ids = idProperties(cls)
    for (const [name, spec] of Object.entries(definition.specs)) {
      if (values[name] !== undefined || !spec.hasDefault || ids.includes(name)) continue
      const value: unknown =
        typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : structuredClone(spec.defaultValue)
      if (value === undefined) continue
      const checked = spec.isExisting ? { value, error: undefined } : normalize(spec, value)
      if (checked.error !== undefined)
        throw new ValidationError(message('input.default', { name, problem: checked.error }), [{ field: name, message: checked.error }])
      values[name] = checked.value
      wire[name] = checked.value instanceof Date ? checked.value.toISOString() : checked.value
    }
  }
}

// The application's validator sees datetimes as text, as in JSON.
function validatedByOwn(own: Validator, args: ValidatorArgs): Pojo {
  const { model, json, ctx } = args
  const given: Pojo = json
  const dates = Object.keys(given).filter((name) => given[name] instanceof Date && isStorable(given[name] as Date))
  const copy: Pojo = json instanceof Model ? json : { ...given }
  const texts = new Map(dates.map((name) => [name, (given[name] as Date).toISOString()]))
  const originals = new Map(dates.map((name) => [name, given[name]]))
  for (const [name, text] of texts) copy[name] = text
  const valid: unknown = own.validate({ ...args, json: copy, ctx: (ctx as Context).own ?? {} })
  if (typeof valid !== 'object' || valid === null || 'then' in valid)
    throw new ConfigurationError(
      `The validator of ${model.constructor.name}.createValidator() returned ${valid === null ? 'null' : typeof valid}. Return the valid values from validate(), not a promise.`,
    )
  const values = valid as Pojo
  for (const [name, text] of texts) if (values[name] === text) values[name] = originals.get(name)
  return values
}

const isStorable = (date: Date): boolean => !Number.isNaN(date.getTime())

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
export function textErrors(field: string, value: unknown): FieldProblem[] {
  return typeof value === 'string' && !isStorableText(value) ? [{ field, message: message('field.storableText') }] : []
}
