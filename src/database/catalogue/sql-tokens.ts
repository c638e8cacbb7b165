/** Splits the SQL of catalogues, which servers have checked, into tokens. */

/** A token of SQL: a name or keyword without its quotes, the content of a string, a number, or another sign. */
export interface SqlToken {
  readonly kind: 'name' | 'string' | 'number' | 'sign'
  readonly text: string
  readonly isQuoted: boolean
  /** The positions of the first character and after the last one. */
  readonly start: number
  readonly end: number
}

const closing: Readonly<Record<string, string>> = { '"': '"', '`': '`', '[': ']' }
const space = /\s/y
const word = /[\p{L}_\u0080-\uffff][\p{L}\p{N}_$\u0080-\uffff]*/uy
const number = /\d[\w.]*/y

/**
 * Returns the tokens of SQL without comments.
 *
 * @param hasBackslashes whether a backslash in a string begins an escape, as on MariaDB
 * @param hasBrackets whether `[name]` is a name, as on SQLite
 */
export function sqlTokens(sql: string, hasBackslashes = false, hasBrackets = false): SqlToken[] {
  const tokens: SqlToken[] = []
  const match = (pattern: RegExp, at: number): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(sql)?.[0]
  }
  for (let at = 0; at < sql.length; ) {
    const sign = sql[at] as string
    const comment = endOfComment(sql, at)
    if (comment > at || match(space, at) !== undefined) {
      at = Math.max(comment, at + 1)
      continue
    }
    const found = quoted(sql, at, hasBackslashes, hasBrackets)
    const name = found ? undefined : match(word, at)
    const digits = found || name !== undefined ? undefined : match(number, at)
    const text = name ?? digits ?? (sql.startsWith('::', at) ? '::' : sign)
    const kind = name !== undefined ? 'name' : digits !== undefined ? 'number' : 'sign'
    const token = found ?? { kind, text, isQuoted: false, start: at, end: at + text.length }
    tokens.push(token)
    at = token.end
  }
  return tokens
}

function endOfComment(sql: string, at: number): number {
  const [start, end] = sql.startsWith('--', at) ? ['--', '\n'] : sql.startsWith('/*', at) ? ['/*', '*/'] : []
  if (start === undefined || end === undefined) return at
  const close = sql.indexOf(end, at + start.length)
  return close < 0 ? sql.length : close + end.length
}

/** Returns a string or a quoted name that begins at a position. PostgreSQL writes E before a string with escapes. */
function quoted(sql: string, start: number, hasBackslashes: boolean, hasBrackets: boolean): SqlToken | undefined {
  const isEscaped = /^[eE]$/.test(sql[start] as string) && sql[start + 1] === "'"
  const open = isEscaped ? start + 1 : start
  const quote = sql[open] as string
  const isString = quote === "'"
  const close = isString ? quote : quote === '[' && !hasBrackets ? undefined : closing[quote]
  if (close === undefined) return undefined
  let text = ''
  let at = open + 1
  while (at < sql.length) {
    const sign = sql[at] as string
    if (isString && (isEscaped || hasBackslashes) && sign === '\\') {
      text += unescaped(sql[at + 1] ?? '')
      at += 2
    } else if (sign !== close) {
      text += sign
      at += 1
    } else if (close !== ']' && sql[at + 1] === close) {
      text += close
      at += 2
    } else break
  }
  return { kind: isString ? 'string' : 'name', text, isQuoted: true, start, end: at + 1 }
}

const escapes: Readonly<Record<string, string>> = { n: '\n', r: '\r', t: '\t', b: '\b', '0': '\0', Z: '\x1a' }

const unescaped = (sign: string): string => escapes[sign] ?? sign
