/** SQL of the library's own in Knex statements: quoted and put together once, where Knex would parse it at each use. */
import type { Knex } from 'knex'
import { columnForIdentifier } from './definition.js'
import { remember } from './remember.js'

/** SQL with `??` for identifiers and `?` for values, as Knex reads it. */
export interface Template {
  readonly sql: string
  readonly bindings: readonly unknown[]
}

type Part = string | typeof identifier | typeof value
const identifier = Symbol('??')
const value = Symbol('?')

const mostKept = 2000
const parsed = new Map<string, readonly Part[]>()

function parse(text: string): readonly Part[] {
  const known = parsed.get(text)
  if (known) return known
  const parts: Part[] = []
  // An escaped question mark is text, to Knex's later steps too.
  for (const piece of text.split(/(\\\?|\?\??)/)) {
    if (piece === '??') parts.push(identifier)
    else if (piece === '?') parts.push(value)
    else if (piece !== '') parts.push(piece)
  }
  if (parsed.size >= mostKept) parsed.clear()
  parsed.set(text, parts)
  return parts
}

const quotedNames = new WeakMap<object, Map<string, string>>()

// As Knex quotes it, the application's wrapIdentifier included. A property that no declaration names stands for its column.
function quoted(client: Knex.Client, given: string): string {
  const name = given.includes('.') ? given.split('.').map(columnForIdentifier).join('.') : columnForIdentifier(given)
  const names = remember(quotedNames, client, () => new Map<string, string>())
  let known = names.get(name)
  if (known === undefined) {
    known = (client as unknown as { raw(text: string, bindings: unknown[]): Knex.Raw }).raw('??', [name]).toSQL().sql
    if (names.size >= mostKept) names.clear()
    names.set(name, known)
  }
  return known
}

/**
 * Makes of a template what Knex takes wherever it takes a raw expression.
 *
 * @throws Error where there are more or fewer bindings than places for them, or one is undefined
 * @example statement.whereRaw(fragment(knex.client, { sql: '?? = ?', bindings: ['t.id', id] }))
 */
export function fragment(client: Knex.Client, { sql, bindings }: Template): Knex.Raw {
  let text = ''
  let next = 0
  const values: unknown[] = []
  for (const part of parse(sql)) {
    if (typeof part === 'string') text += part
    else {
      const binding = bindings[next]
      next += 1
      if (binding === undefined) throw new Error(`SQL of the library's own lacks a value: ${sql}`)
      if (part === identifier) text += quoted(client, binding as string)
      else {
        text += '?'
        values.push(binding)
      }
    }
  }
  if (next !== bindings.length) throw new Error(`SQL of the library's own has values left over: ${sql}`)
  return new Fragment(text, values) as unknown as Knex.Raw
}

/** What Knex asks of a raw expression when it puts it into a statement. */
class Fragment {
  readonly isRawInstance = true

  constructor(
    readonly sql: string,
    readonly bindings: readonly unknown[],
  ) {}

  toSQL(): { method: 'raw'; sql: string; bindings: readonly unknown[] } {
    return { method: 'raw', sql: this.sql, bindings: this.bindings }
  }
}
