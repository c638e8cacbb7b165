import { type ColumnSpec, type ColumnType, column } from '../column.js'

/** The parts of a property's JSON Schema that decide the type of its column. */
interface PropertySchema {
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly anyOf?: readonly PropertySchema[]
  readonly oneOf?: readonly PropertySchema[]
  readonly allOf?: readonly PropertySchema[]
  readonly maxLength?: number
  readonly minimum?: number
  readonly maximum?: number
  readonly default?: unknown
  readonly readOnly?: boolean
  readonly writeOnly?: boolean
}

/** How the model uses a property of its `static jsonSchema`. */
export interface PropertyUse {
  /** Whether the schema lists the property in `required`. */
  readonly isRequired: boolean
  /** Whether the column contains JSON: see `Definition.jsonAttributes`. */
  readonly isJson: boolean
  /** Whether the property is part of the model's id. */
  readonly isId: boolean
  /** The column, if it is not the property's name in snake_case. */
  readonly columnName?: string | undefined
}

/**
 * Returns the declaration of a column that a model describes in `static jsonSchema` only.
 *
 * @returns undefined for a property whose type the schema leaves open: it can be shown and written, but not filtered or sorted
 * @example existingColumn({ type: ['string', 'null'], format: 'date' }, { isRequired: false, isJson: false, isId: false })?.type // 'date'
 */
export function existingColumn(schema: object, use: PropertyUse): ColumnSpec | undefined {
  const property = schema as PropertySchema
  const type = use.isJson ? 'json' : typeIn(property)
  if (type === undefined) return undefined
  const { maxLength, minimum, maximum, default: defaultValue } = property
  const isOpen = type !== 'json' && property.writeOnly !== true
  const isMadeByDatabase = use.isId && type === 'integer' && !use.isRequired
  return Object.freeze({
    ...column.text().spec,
    type,
    isExisting: true,
    isNullable: !use.isId && (!use.isRequired || allowsNull(property)),
    hasDefault: defaultValue !== undefined,
    isReadOnly: property.readOnly === true || isMadeByDatabase,
    isImmutable: use.isId,
    ...(use.isId && type === 'integer' ? { isKey: true } : {}),
    isFilterable: isOpen,
    isSortable: isOpen,
    ...(use.columnName === undefined ? {} : { columnName: use.columnName }),
    ...(defaultValue === undefined ? {} : { defaultValue }),
    ...(maxLength === undefined ? {} : { maxLength }),
    ...(minimum === undefined ? {} : { minimum }),
    ...(maximum === undefined ? {} : { maximum }),
    ...(type === 'enum' ? { values: Object.freeze(stringsIn(property)) } : {}),
  })
}

/** Returns whether a JSON Schema allows null. */
export function allowsNull(schema: object): boolean {
  const { type, enum: values, const: constant, anyOf, oneOf } = schema as PropertySchema
  if (type !== undefined) return [type].flat().includes('null')
  if (values !== undefined) return values.includes(null)
  if (constant !== undefined) return constant === null
  const options = anyOf ?? oneOf
  return options === undefined || options.some(allowsNull)
}

const formats: Readonly<Record<string, ColumnType>> = { date: 'date', 'date-time': 'datetime', uuid: 'uuid' }
const plainTypes: Readonly<Record<string, ColumnType>> = { integer: 'integer', number: 'float', boolean: 'boolean' }

function typeIn(schema: PropertySchema): ColumnType | undefined {
  const types = new Set(typesIn(schema))
  if (types.size === 2 && types.has('integer') && types.has('number')) return 'float'
  const [only, ...further] = types
  if (only === undefined || further.length > 0) return undefined
  if (only !== 'string') return plainTypes[only]
  const options = nonNull(schema)
  if (options.length > 0 && options.every((one) => one.enum !== undefined || one.const !== undefined)) return 'enum'
  const [format, ...others] = new Set(options.map((one) => one.format))
  if (format !== undefined && others.length === 0 && Object.hasOwn(formats, format)) return formats[format]
  return options.some(({ maxLength }) => maxLength !== undefined) ? 'string' : 'text'
}

// The schema itself, or the alternatives that it lists, without those that allow only null.
function nonNull(schema: PropertySchema): PropertySchema[] {
  const { anyOf, oneOf, allOf } = schema
  if (schema.type !== undefined || schema.enum !== undefined || schema.const !== undefined) return [schema]
  const parts = (anyOf ?? oneOf ?? allOf ?? []).flatMap(nonNull)
  return parts.filter((part) => part.type !== 'null' && part.const !== null)
}

function typesIn(schema: PropertySchema): string[] {
  return nonNull(schema).flatMap((part) => {
    if (part.type !== undefined) return [part.type].flat().filter((type) => type !== 'null')
    return (part.enum ?? [part.const]).filter((value) => value !== null).map(typeOfValue)
  })
}

function typeOfValue(value: unknown): string {
  return Number.isInteger(value) ? 'integer' : Array.isArray(value) ? 'array' : typeof value
}

function stringsIn(schema: PropertySchema): string[] {
  const values = nonNull(schema).flatMap((part) => part.enum ?? [part.const])
  return [...new Set(values.filter((value) => typeof value === 'string'))]
}
