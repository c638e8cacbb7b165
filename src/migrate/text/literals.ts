/** Writes names and values of a database into SQL and into code. They are data: none of them can end its literal. */
import type { Dialect } from '../../schema/storage.js'

/**
 * Returns a string literal of JavaScript on one line.
 *
 * @example codeString("a'b") // 'a\'b' in single quotes
 */
export function codeString(text: string): string {
  let literal = ''
  for (let i = 0; i < text.length; i += 1) literal += escaped(text[i] as string, text.charCodeAt(i))
  return `'${literal}'`
}

const short: Readonly<Record<string, string>> = { "'": "\\'", '\\': '\\\\', '\n': '\\n', '\r': '\\r', '\t': '\\t' }

function escaped(sign: string, code: number): string {
  // Beyond ASCII, letters stay readable. Line separators, marks of direction, and halves of surrogate pairs do not belong into code.
  const isHidden = code < 0x20 || code === 0x7f || (code > 0x7f && !/[\p{L}\p{N}\p{M}\p{P}\p{S}]/u.test(sign))
  return short[sign] ?? (isHidden ? `\\u${code.toString(16).padStart(4, '0')}` : sign)
}

/** Returns the lines of a template literal of JavaScript, for SQL of several lines. A line break inside a line is escaped. */
export function codeTemplate(lines: readonly string[]): string[] {
  const literals = lines.map((line) => codeString(line).slice(1, -1).replaceAll("\\'", "'").replaceAll('`', '\\`').replaceAll('${', '\\${'))
  return literals.map((line, i) => `${i === 0 ? '`' : ''}${line}${i === literals.length - 1 ? '`' : ''}`)
}

/**
 * Returns text that may stand in a comment of code, in quotes: it cannot end the line.
 *
 * @example inComment('title') // title
 */
export function inComment(text: string): string {
  return /^[\p{L}\p{N}_.$ -]+$/u.test(text) ? text : codeString(text)
}

/** Returns a string literal of SQL. It contains no question mark on PostgreSQL, where Knex takes each for a placeholder. */
export function sqlString(dialect: Dialect, text: string): string {
  const quoted = text.replaceAll("'", "''")
  if (dialect === 'mysql') return `'${quoted.replaceAll('\\', '\\\\')}'`
  if (dialect === 'pg' && text.includes('?')) return `E'${quoted.replaceAll('\\', '\\\\').replaceAll('?', '\\x3f')}'`
  return `'${quoted}'`
}

/** Returns a quoted name of SQL. It contains no question mark on PostgreSQL. */
export function sqlName(dialect: Dialect, name: string): string {
  if (dialect === 'mysql') return `\`${name.replaceAll('`', '``')}\``
  const quoted = `"${name.replaceAll('"', '""')}"`
  return dialect === 'pg' && name.includes('?') ? `U&${quoted.replaceAll('\\', '\\\\').replaceAll('?', '\\003f')}` : quoted
}

/** Returns a quoted table, whose name may contain a schema. */
export function sqlTable(dialect: Dialect, table: string): string {
  return table
    .split('.')
    .map((part) => sqlName(dialect, part))
    .join('.')
}

/** Returns quoted names with commas. */
export function sqlNames(dialect: Dialect, names: readonly string[]): string {
  return names.map((name) => sqlName(dialect, name)).join(', ')
}
