/** Expands raw expressions of Knex, including nested ones, into text for inspection. */
import type { Knex } from 'knex'
import { isKnexBuilder, isRaw, methodOf, type RawSql, schemaOfRef, wrappingOf } from '../../database/knex-internals.js'
import { isFragment } from '../fragments.js'
import { NAME, VALUE } from './sql-text.js'

export interface RawText {
  /** The text with VALUE and NAME in place of bindings. */
  readonly sql: string
  /** The names bound by `??`. */
  readonly names: readonly string[]
  /** The bound builders and functions: each becomes a subquery in parentheses. */
  readonly queries: readonly unknown[]
  /** The part that cannot be expanded, or null. */
  readonly problem: string | null
}

/**
 * Expands a raw expression like Knex, with VALUE instead of its values.
 *
 * @param client the client of the statement
 */
export function textOfRaw(raw: RawSql, client: Knex.Client): RawText {
  const writer = new Writer(client)
  const sql = writer.write(raw, 0)
  return { sql, names: writer.names, queries: writer.queries, problem: writer.problem }
}

const MAX_DEPTH = 16

class Writer {
  readonly names: string[] = []
  readonly queries: unknown[] = []
  problem: string | null = null
  readonly #client: Knex.Client

  constructor(client: Knex.Client) {
    this.#client = client
  }

  write(raw: RawSql, depth: number): string {
    if (depth > MAX_DEPTH) this.problem ??= 'raw SQL nested this deeply'
    // Knex sends any text that such an object returns.
    if (!isOfKnex(raw, this.#client) && !isFragment(raw)) this.problem ??= 'an object that only looks like raw SQL of Knex'
    if (this.problem !== null) return ''
    const schema = schemaOfRef(raw)
    if (typeof raw.ref === 'string') return this.#name(schema ? `${schema}.${raw.ref}` : raw.ref)
    const { sql, bindings } = raw
    const { before, after } = wrappingOf(raw)
    const whole = `${before}${sql}${after}`
    if (whole.includes(VALUE) || whole.includes(NAME)) this.problem ??= 'raw SQL with control characters'
    return `${before}${this.#filled(sql, bindings, depth)}${after}`
  }

  // These patterns are copied from Knex (formatter/rawFormatter.js).
  #filled(sql: string, bindings: unknown, depth: number): string {
    if (bindings === undefined || bindings === null) return sql
    if (Array.isArray(bindings)) {
      let next = 0
      return sql.replace(/\\?\?\??/g, (match) => {
        if (match === '\\?') return match
        const value: unknown = bindings[next++]
        return match === '??' ? this.#identifiers(value, depth) : this.#value(value, depth)
      })
    }
    if (typeof bindings === 'object' && isPlainObject(bindings)) {
      const values = bindings as Record<string, unknown>
      return sql.replace(/\\?(:(\w+):(?=::)|:(\w+):(?!:)|:(\w+))/g, (match: string, given: string, ...keys: (string | undefined)[]) => {
        if (match !== given) return given
        const value = values[keys.slice(0, 3).find((key) => key !== undefined) as string]
        if (value === undefined) return match
        return match.trim().endsWith(':') ? this.#identifiers(value, depth) : this.#value(value, depth)
      })
    }
    if (typeof bindings === 'object' && !(bindings instanceof Date) && !(bindings instanceof Uint8Array))
      this.problem ??= 'bindings that are neither an array nor a plain object'
    return sql.replace('?', () => this.#value(bindings, depth))
  }

  #value(value: unknown, depth: number): string {
    if (typeof value === 'function') return this.#query(value)
    if (typeof value !== 'object' || value === null) return VALUE
    if (isRaw(value)) return this.write(value, depth + 1)
    if (carriesSql(value)) this.problem ??= 'a value with toSqlString(), which a driver takes for SQL'
    if (!isKnexBuilder(value)) return VALUE
    // Knex adds parentheses only around these. The text around another query would become part of it.
    const method = methodOf(value)
    if (!/^(select|first)$/.test(method)) this.problem ??= `raw SQL around a query made by ${method}()`
    return this.#query(value)
  }

  #identifiers(value: unknown, depth: number): string {
    if (Array.isArray(value)) return value.map((one) => this.#identifiers(one, depth)).join(', ')
    if (typeof value === 'string') return this.#name(value)
    if (typeof value === 'number') return String(value)
    if (typeof value === 'object' && value !== null && isRaw(value)) return this.write(value, depth + 1)
    if (typeof value === 'function') return this.#query(value)
    // Here Knex adds no parentheses around a query, and reads an object as { alias: name }.
    this.problem ??= "raw SQL with a query or an object bound by '??' (bind a query by '?')"
    return NAME
  }

  #name(name: string): string {
    this.names.push(name)
    return NAME
  }

  #query(query: unknown): string {
    this.queries.push(query)
    return `(${VALUE})`
  }
}

/** Returns whether mysql and mysql2 would replace a value, or a nested value, by SQL that it returns. */
export function carriesSql(value: object): boolean {
  if (typeof (value as { toSqlString?: unknown }).toSqlString === 'function') return true
  return (
    (Array.isArray(value) || value instanceof Set) && [...value].some((one) => typeof one === 'object' && one !== null && carriesSql(one))
  )
}

interface RawMaker {
  raw(sql: string): { readonly toSQL: unknown }
  ref(name: string): { readonly toSQL: unknown }
}

const ofKnex = new WeakMap<object, readonly unknown[]>()

function isOfKnex(raw: object, client: Knex.Client): boolean {
  let known = ofKnex.get(client.constructor)
  if (!known) {
    const maker = client as Knex.Client & RawMaker
    known = [maker.raw('').toSQL, maker.ref('a').toSQL]
    ofKnex.set(client.constructor, known)
  }
  return known.includes((raw as { toSQL?: unknown }).toSQL)
}

export function isPlainObject(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value)
  return prototype === null || prototype === Object.prototype
}
