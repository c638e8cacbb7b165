import type { Knex } from 'knex'
import { type ColumnSpec, column as columns } from './column.js'
import { structureOf } from './definition.js'
import { camelCase } from './names.js'
import { remember } from './remember.js'
import { type Decoder, type Dialect, decoder, dialectOf } from './storage.js'
import { registeredKnex } from './transaction.js'

/** How the rows of one class are read and written on one kind of database. */
export interface Codec {
  /** By the column's name, and by the property's: an application's own base class may have renamed what was read. */
  readonly read: ReadonlyMap<string, { readonly property: string; readonly decode: Decoder | null }>
  readonly write: ReadonlyMap<string, { readonly column: string; readonly spec: ColumnSpec | undefined }>
}

const codecs = new WeakMap<object, Map<Dialect, Codec>>()
const jsonSpec = columns.json().nullable().spec

/** @returns how rows of this class are read and written; worked out once */
export function codecOf(cls: object, dialect: Dialect): Codec {
  const known = remember(codecs, cls, () => new Map<Dialect, Codec>())
  let codec = known.get(dialect)
  if (!codec) {
    codec = make(cls, dialect)
    known.set(dialect, codec)
  }
  return codec
}

const lastUsed = new WeakMap<object, { readonly config: object; readonly codec: Codec }>()

/** The codec for the database that a class's queries go to now. Asked for each row that is read. */
export function codecNow(cls: DatabaseClass): Codec {
  const config = knexOf(cls)?.client.config
  const last = lastUsed.get(cls)
  if (last !== undefined && last.config === config) return last.codec
  const codec = codecOf(cls, dialectOfClass(cls))
  if (config) lastUsed.set(cls, { config, codec })
  return codec
}

/**
 * Values by property, of a row by column as the driver returned it.
 *
 * @param into what they are set on
 */
export function readRow<T extends object>(cls: DatabaseClass, given: Readonly<Record<string, unknown>>, into: T): T {
  const { read } = codecNow(cls)
  const row = into as Record<string, unknown>
  for (const column of Object.keys(given)) {
    const value = given[column]
    const known = read.get(column)
    if (known) row[known.property] = known.decode !== null && value !== null && value !== undefined ? known.decode(value) : value
    else row[structureOf(cls).columnOf.has(column) ? column : camelCase(column)] = value
  }
  return into
}

function make(cls: object, dialect: Dialect): Codec {
  const { specs, columnOf, jsonAttributes } = structureOf(cls)
  const read = new Map<string, { property: string; decode: Decoder | null }>()
  const write = new Map<string, { column: string; spec: ColumnSpec | undefined }>()
  for (const [property, column] of columnOf) {
    const declared = specs[property]
    const spec = declared ?? (jsonAttributes.has(property) ? jsonSpec : undefined)
    // A column that somebody else made may hold JSON as text on any database.
    const decode = spec ? detaching(spec, decoder(spec, declared ? dialect : 'sqlite')) : null
    if (!read.has(property)) read.set(property, { property, decode })
    read.set(column, { property, decode })
    if (!write.has(column)) write.set(column, { column, spec })
    write.set(property, { column, spec })
  }
  return { read, write }
}

// A driver may hand out an object: the row gets one of its own, so that save() sees what was changed in place.
function detaching(spec: ColumnSpec, decode: Decoder | null): Decoder | null {
  if (spec.type !== 'datetime' && spec.type !== 'json') return decode
  if (spec.type === 'datetime') return (value) => (value instanceof Date ? new Date(value) : decode ? decode(value) : value)
  return (value) => (typeof value === 'object' ? detached(value) : decode ? decode(value) : value)
}

/** A copy that does not change along with the value. */
export function detached(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value
  return value instanceof Date ? new Date(value) : structuredClone(value)
}

const dialects = new WeakMap<object, Dialect>()

/** A static of records: the Knex instance of a class, without looking for a transaction to join. */
export const ownKnex: unique symbol = Symbol('own knex') as never

/** What is used of a class to find its database. */
export interface DatabaseClass {
  knex(): Knex | undefined
  [ownKnex]?(): Knex | null
}

const knexOf = (cls: DatabaseClass): Knex | null => (cls[ownKnex] ? cls[ownKnex]() : (cls.knex() ?? registeredKnex()))

/** The database that a class's queries go to now; the registered one's where it is bound to none. */
export function dialectOfClass(cls: DatabaseClass): Dialect {
  const knex = knexOf(cls)
  return knex ? remember(dialects, knex.client.config as object, () => dialectOf(knex)) : 'sqlite'
}
