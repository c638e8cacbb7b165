/** Puts SQL of this library into Knex statements. The text is parsed and quoted once, while Knex parses it at each use. */
import type { Knex } from 'knex'
import type { KnexClient } from '../database/knex-internals.js'
import { columnForLibrary, versionOfNames } from '../schema/definition/known-names.js'

/** SQL with `??` for identifiers and `?` for values, as Knex reads it. */
export interface Template {
  readonly sql: string
  readonly bindings: readonly unknown[]
}

/** A template that is a condition. */
export interface Sql extends Template {
  /** The column and the value, where the condition only compares them: Knex builds that without parsing text. */
  readonly equals?: readonly [string, unknown]
}

/** A rule for a known caller: all rows, no rows, or the rows for which the SQL is true. */
export type Condition = boolean | Sql

const CACHE_LIMIT = 2000

/** The texts between placeholders, and for each placeholder whether it takes a name. */
interface Parsed {
  readonly texts: readonly string[]
  readonly isName: readonly boolean[]
}

const parsed = new Map<string, Parsed>()

function parse(sql: string): Parsed {
  const known = parsed.get(sql)
  if (known) return known
  const texts = ['']
  const isName: boolean[] = []
  // An escaped question mark is text, also for the later steps of Knex.
  for (const piece of sql.split(/(\\\?|\?\??)/)) {
    if (piece === '?' || piece === '??') {
      isName.push(piece === '??')
      texts.push('')
    } else texts.push(texts.pop() + piece)
  }
  const made = { texts, isName }
  if (parsed.size >= CACHE_LIMIT) parsed.clear()
  parsed.set(sql, made)
  return made
}

/** Texts with names filled in and `?` for values. Valid while names map to the same columns. */
interface Composed {
  readonly version: number
  readonly texts: Map<string, string>
}

const composed = new WeakMap<object, Composed>()

function textsOf(client: Knex.Client): Map<string, string> {
  const version = versionOfNames()
  let known = composed.get(client)
  if (!known || known.version !== version || known.texts.size >= CACHE_LIMIT) {
    known = { version, texts: new Map() }
    composed.set(client, known)
  }
  return known.texts
}

// Quotes like Knex, including the application's wrapIdentifier. A property without a declaration is its own column.
function quoted(client: Knex.Client, name: string): string {
  const column = name.split('.').map(columnForLibrary).join('.')
  return (client as KnexClient).raw('??', [column]).toSQL().sql
}

/**
 * Returns a template as a raw expression for Knex.
 *
 * @throws Error if the number of bindings differs from the number of placeholders, or a binding is undefined
 * @example knex('token').whereRaw(fragment(knex.client, { sql: '?? = ?', bindings: ['user_id', user.id] }))
 */
export function fragment(client: Knex.Client, { sql, bindings }: Template): Knex.Raw {
  const { texts, isName } = parse(sql)
  if (bindings.length > isName.length) throw new Error(`This SQL of objection-perms has more bindings than placeholders: ${sql}`)
  const values: unknown[] = []
  let key = sql
  for (let i = 0; i < isName.length; i += 1) {
    const binding = bindings[i]
    if (binding === undefined) throw new Error(`This SQL of objection-perms has a placeholder without a binding: ${sql}`)
    if (isName[i]) key += `\0${binding}`
    else values.push(binding)
  }
  const known = textsOf(client)
  let text = known.get(key)
  if (text === undefined) {
    text = texts[0] as string
    for (let i = 0; i < isName.length; i += 1) text += (isName[i] ? quoted(client, String(bindings[i])) : '?') + texts[i + 1]
    known.set(key, text)
  }
  return new Fragment(text, values) as unknown as Knex.Raw
}

/** The members of a raw expression that Knex uses when it compiles a statement. */
class Fragment {
  readonly isRawInstance = true

  constructor(
    readonly sql: string,
    readonly bindings: readonly unknown[],
  ) {}

  // Knex sets these on raw expressions. They are ignored, because a kept value would keep the last statement alive.
  set client(_: unknown) {}
  set queryContext(_: unknown) {}

  toSQL(): { method: 'raw'; sql: string; bindings: readonly unknown[] } {
    return { method: 'raw', sql: this.sql, bindings: this.bindings }
  }
}

/** Returns whether fragment() created a raw expression: SQL of this library, which needs no inspection. */
export function isFragment(raw: unknown): boolean {
  return raw instanceof Fragment
}
