/** SQL of the library's own in Knex statements: quoted and put together once, where Knex would parse it at each use. */
import type { Knex } from 'knex'
import { columnForIdentifier, versionOfNames } from '../schema/definition.js'

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

const mostKept = 2000

/** A text between its places, and for each place whether a name goes there. */
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
  // An escaped question mark is text, to Knex's later steps too.
  for (const piece of sql.split(/(\\\?|\?\??)/)) {
    if (piece === '?' || piece === '??') {
      isName.push(piece === '??')
      texts.push('')
    } else texts.push(texts.pop() + piece)
  }
  const made = { texts, isName }
  if (parsed.size >= mostKept) parsed.clear()
  parsed.set(sql, made)
  return made
}

/** With the names in their places; of the values, the place. As long as names mean the same columns. */
interface Composed {
  readonly version: number
  readonly texts: Map<string, string>
}

const composed = new WeakMap<object, Composed>()

function textsOf(client: Knex.Client): Map<string, string> {
  const version = versionOfNames()
  let known = composed.get(client)
  if (!known || known.version !== version || known.texts.size >= mostKept) {
    known = { version, texts: new Map() }
    composed.set(client, known)
  }
  return known.texts
}

// As Knex quotes it, the application's wrapIdentifier included. A property that no declaration names stands for its column.
function quoted(client: Knex.Client, name: string): string {
  const column = name.split('.').map(columnForIdentifier).join('.')
  return (client as unknown as { raw(text: string, bindings: unknown[]): Knex.Raw }).raw('??', [column]).toSQL().sql
}

/**
 * Makes of a template what Knex takes wherever it takes a raw expression.
 *
 * @throws Error where there are more or fewer bindings than places for them, or one is undefined
 * @example statement.whereRaw(fragment(knex.client, { sql: '?? = ?', bindings: ['t.id', id] }))
 */
export function fragment(client: Knex.Client, { sql, bindings }: Template): Knex.Raw {
  const { texts, isName } = parse(sql)
  if (bindings.length > isName.length) throw new Error(`SQL of the library's own has values left over: ${sql}`)
  const values: unknown[] = []
  let key = sql
  for (let i = 0; i < isName.length; i += 1) {
    const binding = bindings[i]
    if (binding === undefined) throw new Error(`SQL of the library's own lacks a value: ${sql}`)
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

/** What Knex asks of a raw expression when it puts it into a statement. */
class Fragment {
  readonly isRawInstance = true

  constructor(
    readonly sql: string,
    readonly bindings: readonly unknown[],
  ) {}

  // Knex sets these on whatever it takes for raw. Here nothing reads them, and one that is kept would hold on to the last statement.
  set client(_: unknown) {}
  set queryContext(_: unknown) {}

  toSQL(): { method: 'raw'; sql: string; bindings: readonly unknown[] } {
    return { method: 'raw', sql: this.sql, bindings: this.bindings }
  }
}

/** Whether a raw expression was made by `fragment`: a rule, or another part of the library's own statements. */
export function isFragment(raw: unknown): boolean {
  return raw instanceof Fragment
}
