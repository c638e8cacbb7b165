/**
 * Removes the bound values of a failed statement from its error. Knex writes the SQL with its values before the message, mysql2
 * adds `sql`, and PostgreSQL repeats rows in `detail` and parameters in `where`.
 */
import createKnex, { type Knex } from 'knex'
import { wholeWordPattern } from '../../core/names.js'
import { dialectOf } from '../../schema/storage.js'
import { beforeStream } from '../knex-internals.js'
import { failureOf } from './driver-errors.js'

/** The Knex client of an instance or of a transaction. */
export interface FailingClient {
  readonly config?: { compileSqlOnError?: boolean }
  prependListener(event: 'query-error', listener: (error: unknown, query: FailedQuery) => void): unknown
  removeListener(event: 'query-error', listener: (error: unknown, query: FailedQuery) => void): unknown
}

interface FailedQuery {
  readonly sql?: string
  bindings?: unknown
}

interface ErrorSource {
  prependListener(event: 'error', listener: (error: unknown) => void): unknown
}

const redacted = '?'
const watched = new WeakSet<object>()

/**
 * Removes bound values from all errors of a Knex client. Listeners of `query-error` see no values in the error and no bindings.
 * A second call for the same client does nothing.
 *
 * @returns a function that restores the client: later errors contain their values again
 */
export function redactErrorsOf(client: FailingClient): () => void {
  if (watched.has(client)) return () => {}
  watched.add(client)
  const dialect = dialectOf({ client } as Knex)
  const { config } = client
  const before = config?.compileSqlOnError
  // With this setting Knex writes the SQL with placeholders before the message.
  if (config) config.compileSqlOnError = false
  const onError = (error: unknown, query: FailedQuery) => {
    // Read the kind of failure first, since redaction may remove a part of the driver's message that equals a value.
    failureOf(error, dialect)
    redactError(error, query)
    if (Array.isArray(query.bindings)) query.bindings = query.bindings.map(() => redacted)
  }
  // Knex emits this before it rejects, and only for statements that failed.
  client.prependListener('query-error', onError)
  // No event is emitted for a stream that fails.
  const undoStream = beforeStream(client, (query, stream) => {
    ;(stream as ErrorSource).prependListener('error', (error) => redactError(error, query))
  })
  return () => {
    watched.delete(client)
    client.removeListener('query-error', onError)
    if (config && before === undefined) Reflect.deleteProperty(config, 'compileSqlOnError')
    else if (config) config.compileSqlOnError = before as boolean
    undoStream()
  }
}

/** Removes the bindings from Knex's timeout errors. Knex assigns them after its last event, right before it throws. */
export function redactTimeouts(): void {
  const { KnexTimeoutError } = createKnex
  if (Object.hasOwn(KnexTimeoutError.prototype, 'bindings')) return
  Object.defineProperty(KnexTimeoutError.prototype, 'bindings', { configurable: true, get: () => undefined, set: () => {} })
}

/** The properties with text. Names (`table`, `constraint`, `column`) and codes stay unchanged. */
const texts = ['message', 'detail', 'hint', 'where', 'internalQuery', 'sqlMessage'] as const

/** The properties in which drivers and Knex put a statement and its values. */
const statements = ['sql', 'bindings', 'values', 'parameters'] as const

const maxLinks = 10

/**
 * Removes the values of a statement from an error, its causes and its wrapped errors. Changes them in place.
 *
 * @param error any caught value
 * @param query the failed statement; without it only `sql` and `bindings` are removed, and texts stay unchanged
 */
export function redactError(error: unknown, query?: FailedQuery): void {
  const values = query ? valuesOf(query.bindings) : null
  const seen = new Set<object>()
  const open: unknown[] = [error]
  while (open.length > 0 && seen.size < maxLinks) {
    const link = open.shift()
    if (typeof link !== 'object' || link === null || seen.has(link)) continue
    seen.add(link)
    redactLink(link as Record<string, unknown>, query?.sql ?? '', values)
    const { nativeError, cause, errors } = link as { nativeError?: unknown; cause?: unknown; errors?: unknown }
    open.push(nativeError, cause, ...(Array.isArray(errors) ? errors : []))
  }
}

function redactLink(link: Record<string, unknown>, sql: string, values: readonly string[] | null): void {
  // An error with `sql` or `bindings` is from a driver, so its `values` and `parameters` are bound values.
  if (typeof link['sql'] === 'string' || Array.isArray(link['bindings'])) for (const name of statements) remove(link, name)
  if (values === null) return
  const { message, stack } = link
  for (const name of texts) {
    const text = link[name]
    if (typeof text === 'string') assign(link, name, redactText(text, name === 'message' ? sql : '', values))
  }
  if (typeof stack !== 'string') return
  const head = typeof message === 'string' ? stack.replace(message, () => String(link['message'])) : stack
  const lines = head.split('\n').map((line) => (/^\s+at /.test(line) ? line : redactText(line, sql, values)))
  assign(link, 'stack', lines.join('\n'))
}

function remove(link: Record<string, unknown>, name: string): void {
  if (Object.hasOwn(link, name) && !Reflect.deleteProperty(link, name)) throw new TypeError(`An error's '${name}' cannot be removed.`)
}

function assign(link: Record<string, unknown>, name: string, text: string): void {
  if (link[name] === text) return
  // Not enumerable like `message` and `stack`, unless the property was enumerable.
  const enumerable = Object.getOwnPropertyDescriptor(link, name)?.enumerable ?? false
  Object.defineProperty(link, name, { value: text, configurable: true, writable: true, enumerable })
}

// -- texts

const longestText = 8000
const longestValue = 4096
const gram = 8
/** The most characters of all values of a statement. Searching for more would take too long. */
const maxCharacters = 500_000
const tooMuch = '[removed: the statement has too many values to search for]'

function redactText(text: string, sql: string, values: readonly string[]): string {
  // The SQL before the message has placeholders, and names that may equal a value: keep it.
  const prefix = sql !== '' && text.startsWith(`${sql} - `) ? `${sql} - ` : ''
  const rest = text.slice(prefix.length)
  return prefix + redactValues(redactQuoted(rest.length > longestText ? `${rest.slice(0, longestText)} [cut]` : rest), values)
}

/** Parts of messages in which servers repeat values: of the existing row, or of the whole failing row. */
const places: readonly [RegExp, string][] = [
  // PostgreSQL, in every language: Key (a, b)=(1, 2) already exists.
  [/\)=\([\s\S]*\)/, `)=(${redacted})`],
  [/^(Failing row contains )\([\s\S]*\)/, `$1(${redacted})`],
  [/(invalid (?:input|byte|text)[^:]*: )[\s\S]*$/, `$1${redacted}`],
  // MySQL and MariaDB: Duplicate entry 'x-y' for key 'k'; Incorrect integer value: 'x' for column 'c'
  [/(Duplicate entry |value:? )'[\s\S]*'(?= for (?:key|column) )/, `$1'${redacted}'`],
  [/((?:Truncated incorrect|Incorrect) [\w ()]+ value:? )'[\s\S]*'/, `$1'${redacted}'`],
  [/ near '[\s\S]*'(?= at line \d+)/, ` near '${redacted}'`],
]

function redactQuoted(text: string): string {
  return places.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), text)
}

/** Replaces short values as whole words, and any part of a long value, since servers cut and escape long values. */
function redactValues(text: string, values: readonly string[]): string {
  if (values.reduce((sum, value) => sum + Math.min(value.length, longestValue), 0) > maxCharacters) return tooMuch
  const rest = values.filter((value) => value.length < gram && text.includes(value)).reduce(withoutWord, text)
  const parts = new Set<string>()
  for (let i = 0; i + gram <= rest.length; i += 1) parts.add(rest.slice(i, i + gram))
  const found = new Set<string>()
  for (const value of values) {
    const end = Math.min(value.length, longestValue) - gram
    for (let i = 0; i <= end; i += 1) if (parts.has(value.slice(i, i + gram))) found.add(value.slice(i, i + gram))
  }
  if (found.size === 0) return rest
  let shown = ''
  let hiddenUntil = 0
  for (let i = 0; i < rest.length; i += 1) {
    if (found.has(rest.slice(i, i + gram))) {
      if (i >= hiddenUntil) shown += redacted
      hiddenUntil = i + gram
    } else if (i >= hiddenUntil) shown += rest[i]
  }
  return shown
}

const withoutWord = (text: string, value: string): string => text.replace(wholeWordPattern(value, 'gu'), redacted)

function valuesOf(bindings: unknown): string[] {
  const values = new Set<string>()
  collect(bindings, values, 0)
  return [...values]
}

function collect(value: unknown, into: Set<string>, depth: number): void {
  if (typeof value === 'string') {
    if (value.trim() !== '') into.add(value)
  } else if (typeof value === 'number' || typeof value === 'bigint') into.add(String(value))
  else if (value instanceof Date) {
    if (!Number.isNaN(value.getTime())) into.add(value.toISOString()).add(value.toISOString().replace('T', ' ')).add(value.toString())
  } else if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    for (const encoding of ['hex', 'base64', 'utf8', 'latin1'] as const) into.add(bytes.toString(encoding))
  } else if (typeof value === 'object' && value !== null && depth < 8) {
    for (const inner of Object.values(value)) collect(inner, into, depth + 1)
  }
}
