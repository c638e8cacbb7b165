/** Compares SQL types by the kind of values that they hold. */
import type { Dialect } from '../../schema/storage.js'

type Family = 'integer' | 'bigint' | 'number' | 'boolean' | 'text' | 'uuid' | 'date' | 'datetime' | 'json'

const families: readonly (readonly [RegExp, Family])[] = [
  [/^(?:bool|boolean|bit(?:\(1\))?|tinyint\(1\))/, 'boolean'],
  [/^(?:bigint|int8|bigserial)\b/, 'bigint'],
  [/^(?:int|integer|smallint|mediumint|tinyint|int2|int4|serial|smallserial)\b/, 'integer'],
  [/^(?:decimal|numeric|float|double|real|money|number)\b/, 'number'],
  [/^(?:uuid|uniqueidentifier)\b/, 'uuid'],
  [/^jsonb?\b/, 'json'],
  [/^(?:datetime|timestamp)/, 'datetime'],
  [/^date\b/, 'date'],
  [/^(?:char|character|varchar|nchar|nvarchar|text|tinytext|mediumtext|longtext|clob|citext|enum|set|name|bpchar)\b/, 'text'],
]

/** Returns the family of a type; undefined for types that no model describes, such as arrays and types of the application. */
function familyOf(type: string): Family | undefined {
  const spelled = type.toLowerCase()
  return spelled.endsWith('[]') ? undefined : families.find(([pattern]) => pattern.test(spelled))?.[1]
}

/** The families in which an application may store values that a JSON Schema describes in one way. Drivers return bigint and decimal as text. */
const compatible: Readonly<Record<Family, readonly Family[]>> = {
  integer: ['bigint', 'number', 'boolean'],
  bigint: ['integer', 'number', 'text'],
  number: ['integer', 'bigint'],
  boolean: ['integer'],
  text: ['uuid', 'date', 'datetime', 'json', 'bigint', 'number'],
  uuid: ['text'],
  date: ['datetime', 'text'],
  datetime: ['date', 'text', 'integer', 'bigint', 'number'],
  json: ['text'],
}

/** The same for SQLite, which stores any value in any column: the declared types are often those of another database. */
const compatibleOnSqlite: Partial<Record<Family, readonly Family[]>> = { boolean: ['integer', 'number', 'bigint'], json: ['text'] }

/**
 * Returns whether a column can hold the values of a model.
 *
 * @param existing the type of the column in the database
 * @param declared the type that the model's column would have
 * @example isSameFamily('int(10) unsigned', 'int(11)', 'mysql') // true
 */
export function isSameFamily(existing: string, declared: string, dialect: Dialect): boolean {
  const [from, to] = [familyOf(existing), familyOf(declared)]
  if (from === undefined || to === undefined || from === to) return true
  const further = dialect === 'sqlite' ? (compatibleOnSqlite[to] ?? []) : []
  return compatible[to].includes(from) || further.includes(from)
}
