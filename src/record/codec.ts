import type { Knex } from 'knex'
import type { ColumnNameMappers } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { camelCase } from '../core/names.js'
import { foldName, type KnexNames, renamed, rowKeysOf } from '../database/arriving-names.js'
import { registeredKnex } from '../database/transaction.js'
import { type ColumnSpec, column as columns } from '../schema/column.js'
import { structureOf } from '../schema/definition/definition.js'
import { type Decoder, type Dialect, decoder, dialectOf } from '../schema/storage.js'

/** The property that a value from the database is assigned to. */
interface Target {
  readonly property: string
  readonly decode: Decoder | null
}

/** How the rows of one class are read and written through one Knex instance. */
export interface Codec {
  /** By each key that a column may have in rows: see `rowKeysOf`. */
  readonly read: ReadonlyMap<string, Target>
  readonly write: ReadonlyMap<string, { readonly column: string; readonly spec: ColumnSpec | undefined }>
  /** The keys of columns with named(). They win over a key with the name of the property, which is an alias or another column. */
  readonly named: readonly string[]
  /** A cache of targets for keys that `read` does not have. */
  readonly further: Map<string, Target>
}

const maxFurther = 1000

const codecs = new WeakMap<object, WeakMap<object, Codec>>()
const jsonSpec = columns.json().nullable().spec
/** The settings of a class without a Knex instance. */
const noConfig: KnexNames = {}

const lastUsed = new WeakMap<object, { readonly config: object; readonly definition: object; readonly codec: Codec }>()

/** Returns the codec of a class for the Knex instance that its queries use now. Called for each row that is read. */
export function codecNow(cls: DatabaseClass): Codec {
  const config = (knexOf(cls)?.client.config as KnexNames | undefined) ?? noConfig
  const definition = structureOf(cls)
  const last = lastUsed.get(cls)
  if (last !== undefined && last.config === config && last.definition === definition) return last.codec
  const ofClass = memoize(codecs, definition, () => new WeakMap<object, Codec>())
  const codec = memoize(ofClass, config, () => make(cls, dialectOfClass(cls), config))
  lastUsed.set(cls, { config, definition, codec })
  return codec
}

/**
 * Converts a row from the driver, with values by column, to values by property.
 *
 * @param into the object that gets the values
 * @returns `into`
 */
export function readRow<T extends object>(cls: DatabaseClass, given: Readonly<Record<string, unknown>>, into: T): T {
  const codec = codecNow(cls)
  const { read } = codec
  const row = into as Record<string, unknown>
  for (const column of Object.keys(given)) {
    const value = given[column]
    const { property, decode } = read.get(column) ?? furtherTarget(cls, codec, column)
    row[property] = decode !== null && value !== null && value !== undefined ? decode(value) : value
  }
  for (const column of codec.named) {
    const value = given[column]
    if (value === undefined) continue
    const { property, decode } = read.get(column) as Target
    row[property] = decode !== null && value !== null ? decode(value) : value
  }
  return into
}

// A key that differs from a column only in case and underscores is that column, renamed by Knex. It must not escape hiding.
function furtherTarget(cls: object, { read, further }: Codec, name: string): Target {
  const known = further.get(name)
  if (known) return known
  const { specs, columnOf, keepsNames } = structureOf(cls)
  const folded = foldName(name)
  const meant = Object.keys(specs).filter((property) =>
    [property, columnOf.get(property) ?? property].some((one) => foldName(one) === folded),
  )
  const property = meant.find((one) => specs[one]?.isHidden || specs[one]?.readable) ?? meant[0]
  const target = (property === undefined ? undefined : read.get(property)) ?? {
    property: keepsNames ? name : camelCase(name),
    decode: null,
  }
  if (further.size < maxFurther) further.set(name, target)
  return target
}

function make(cls: DatabaseClass, dialect: Dialect, config: KnexNames): Codec {
  const { specs, columnOf, jsonAttributes } = structureOf(cls)
  const mappers = (cls as { getColumnNameMappers?(): ColumnNameMappers | null }).getColumnNameMappers?.() ?? null
  const read = new Map<string, Target>()
  const write = new Map<string, { column: string; spec: ColumnSpec | undefined }>()
  const named: string[] = []
  const others: [string, Target][] = []
  for (const [property, column] of columnOf) {
    const declared = specs[property]
    const spec = declared ?? (jsonAttributes.has(property) ? jsonSpec : undefined)
    // A column that the library did not create may contain JSON as text on any database.
    const isForeignJson = spec?.type === 'json' && (!declared || declared.isExisting)
    const target = { property, decode: spec ? detaching(spec, decoder(spec, isForeignJson ? 'sqlite' : dialect)) : null }
    const [arrival, ...further] = rowKeysOf(column, config, mappers)
    const taken = arrival === undefined ? undefined : read.get(arrival)
    if (taken)
      throw new ConfigurationError(
        `${(cls as { name?: string }).name}: the columns of ${taken.property} and ${property} both have the key '${arrival}' in rows: rename one, or change postProcessResponse or columnNameMappers.`,
      )
    if (arrival !== undefined) read.set(arrival, target)
    if (arrival !== undefined && declared?.columnName !== undefined && arrival !== property) named.push(arrival)
    for (const name of [...further, property, column]) others.push([name, target])
    for (const name of [property, column, renamed(property, mappers?.format)]) if (!write.has(name)) write.set(name, { column, spec })
  }
  for (const [property, column] of columnOf) write.set(property, { spec: write.get(property)?.spec, column })
  for (const [name, target] of others) if (!read.has(name)) read.set(name, target)
  return { read, write, named, further: new Map() }
}

// Copies objects from the driver, so that save() can detect changes that are made in place.
function detaching(spec: ColumnSpec, decode: Decoder | null): Decoder | null {
  if (spec.type !== 'datetime' && spec.type !== 'json') return decode
  if (spec.type === 'datetime') return (value) => (value instanceof Date ? new Date(value) : decode ? decode(value) : value)
  return (value) => (typeof value === 'object' ? detached(value) : decode ? decode(value) : value)
}

/** Returns an independent copy of a value. */
export function detached(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  return value instanceof Date ? new Date(value) : structuredClone(value)
}

const dialects = new WeakMap<object, Dialect>()

/** The static method of models that returns their Knex instance and does not join a transaction. */
export const ownKnex: unique symbol = Symbol('own knex') as never

/** The methods of a class that find its database. */
export interface DatabaseClass {
  knex(): Knex | undefined
  [ownKnex]?(): Knex | null
}

const knexOf = (cls: DatabaseClass): Knex | null => (cls[ownKnex] ? cls[ownKnex]() : (cls.knex() ?? registeredKnex()))

/** Returns the dialect of the database that a class queries now. An unbound class uses the registered Knex instance. */
export function dialectOfClass(cls: DatabaseClass): Dialect {
  const knex = knexOf(cls)
  return knex ? memoize(dialects, knex.client.config as object, () => dialectOf(knex)) : 'sqlite'
}
