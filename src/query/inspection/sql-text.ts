/**
 * Tokenizes SQL as PostgreSQL, MariaDB, MySQL and SQLite do: strings, quoted names, comments and the names outside of them. Text
 * that servers may read in two ways, such as a backslash before a quote, is reported as unreadable instead of guessed.
 */

import { modelSlot } from '../../runtime.js'
import type { Dialect } from '../../schema/storage.js'

/** Placeholder of a bound value in the text. */
export const VALUE = '\u0000'
/** Placeholder of a bound name in the text. */
export const NAME = '\u0001'

export interface SqlText {
  /** Why the names in the text cannot be determined, or null. */
  readonly unreadable: string | null
  /** Why the text is not one complete expression, or null. */
  readonly incomplete: string | null
  /** Whether the text may name tables: it contains FROM, JOIN or a similar word. */
  readonly namesTables: boolean
  /** Names without quotes; for `schema.table` only the last part. */
  readonly names: readonly string[]
  /** Names of functions: a parenthesis follows. */
  readonly calls: readonly string[]
}

interface Token {
  /** `text` is a string, `quoted` a name in quotes, `mark` an operator or a parenthesis. */
  readonly kind: 'word' | 'quoted' | 'text' | 'number' | 'value' | 'bound' | 'mark'
  readonly text: string
}

/** Thrown by Reader and caught in analyse(). */
class Unreadable {
  constructor(readonly reason: string) {}
}

const CACHE_LIMIT = 500
const LONGEST_CACHED_TEXT = 4000
const known = modelSlot((): Record<Dialect, Map<string, SqlText>> => ({ pg: new Map(), mysql: new Map(), sqlite: new Map() }))

/**
 * Returns the names, calls and problems of an SQL text.
 *
 * @param sql text with VALUE and NAME in place of bindings
 * @example readSql('exists (select 1 from "secret-docs")', 'pg').names // includes 'secret-docs'
 */
export function readSql(sql: string, dialect: Dialect): SqlText {
  const texts = known.get()[dialect]
  const read = texts.get(sql)
  if (read) return read
  const made = analyse(sql, dialect)
  if (sql.length <= LONGEST_CACHED_TEXT) {
    if (texts.size >= CACHE_LIMIT) texts.clear()
    texts.set(sql, made)
  }
  return made
}

/** Words that a table name may follow. */
const tableWords = new Set(['from', 'join', 'straight_join', 'into', 'update', 'table', 'only'])
const isName = ({ kind }: Token) => kind === 'word' || kind === 'quoted'
const isMark = (token: Token | undefined, text: string) => token?.kind === 'mark' && token.text === text

function analyse(sql: string, dialect: Dialect): SqlText {
  const reader = new Reader(sql, dialect)
  let unreadable: string | null = null
  try {
    reader.read()
  } catch (error) {
    if (!(error instanceof Unreadable)) throw error
    unreadable = error.reason
  }
  const { tokens } = reader
  const named = tokens.filter((token, i) => isName(token) && !isMark(tokens[i + 1], '.'))
  const texts = dialect === 'sqlite' ? textsForTables(tokens) : []
  return {
    unreadable,
    incomplete: reader.incomplete ?? unbalanced(tokens, dialect),
    namesTables: tokens.some((token, i) => isTableWord(token, tokens[i + 1])),
    names: [...new Set([...named, ...texts].map(({ text }) => text))],
    calls: tokens.filter((token, i) => isName(token) && isMark(tokens[i + 1], '(')).map(({ text }) => text),
  }
}

// SQLite also allows a table after IN.
function isTableWord({ kind, text }: Token, next: Token | undefined): boolean {
  if (kind !== 'word') return false
  const lower = text.toLowerCase()
  return tableWords.has(lower) || (lower === 'in' && next !== undefined && !isMark(next, '(') && next.kind !== 'value')
}

/** Returns the strings that SQLite reads as table names: those at places where only a name is allowed. */
function textsForTables(tokens: readonly Token[]): Token[] {
  const found: Token[] = []
  // Whether tables may be listed, for the whole text and for each open parenthesis.
  const levels = [false]
  tokens.forEach((token, i) => {
    const before = tokens[i - 1]
    const isListed = levels.at(-1) === true && (isMark(before, ',') || isMark(before, '('))
    const isForTable = isListed || isMark(before, '.') || (before !== undefined && isTableWord(before, token))
    if (token.kind === 'text' && isForTable) found.push(token)
    if (isTableWord(token, tokens[i + 1])) levels[levels.length - 1] = true
    if (isMark(token, '(')) levels.push(isForTable)
    if (isMark(token, ')') && levels.length > 1) levels.pop()
  })
  return found
}

const closing: Readonly<Record<string, string>> = { '(': ')', '[': ']' }

function unbalanced(tokens: readonly Token[], dialect: Dialect): string | null {
  const open: string[] = []
  for (const { kind, text } of tokens) {
    if (kind !== 'mark') continue
    if (text === '(' || (text === '[' && dialect === 'pg')) open.push(closing[text] as string)
    else if ((text === ')' || text === ']') && open.pop() !== text) return 'unbalanced parentheses'
    else if (text === ';') return 'several statements'
  }
  return open.length > 0 ? 'unbalanced parentheses' : null
}

// -- the reader

const space = /[ \t\n\v\f\r]/
// Servers accept every non-ASCII character in names.
const wordStart = /[A-Za-z_\u0080-\uffff]/
const word = /[A-Za-z0-9_$\u0080-\uffff]*/y
const number = /0[xX][0-9A-Fa-f]+|[0-9]+(?:_[0-9]+)*(?:[eE][+-]?[0-9]+)?/y
const dollarQuote = /\$(?:[A-Za-z_\u0080-\uffff][A-Za-z0-9_\u0080-\uffff]*)?\$/y
const marks = { pg: /[-+*/<>=~!@#%^&|,.():[\]]/, sqlite: /[-+*/<>=~!%&|,.()]/, mysql: /[-+*/<>=~!@%^&|,.():]/ }
const byteOrderMark = '\ufeff'

class Reader {
  readonly tokens: Token[] = []
  incomplete: string | null = null
  readonly #sql: string
  readonly #dialect: Dialect
  #at = 0

  constructor(sql: string, dialect: Dialect) {
    this.#sql = sql
    this.#dialect = dialect
  }

  read(): void {
    while (this.#at < this.#sql.length) this.#next()
  }

  #next(): void {
    const at = this.#at
    const character = this.#sql[at] as string
    if (space.test(character)) this.#at += 1
    else if (character === VALUE || character === NAME) this.#add(character === VALUE ? 'value' : 'bound', character, at + 1)
    else if (this.#skipComment(character)) this.incomplete ??= 'a comment'
    else if (character === "'") this.#string(this.#backslash())
    else if (character === '"') this.#quoted('"', this.#dialect === 'mysql' ? 'unsure' : 'literal')
    else if (character === '`' && this.#dialect !== 'pg') this.#quoted('`', 'literal')
    else if (character === '[' && this.#dialect === 'sqlite') this.#bracketed()
    else if (character === '$' && this.#dialect === 'pg') this.#dollar()
    else if (character !== byteOrderMark && wordStart.test(character)) this.#word()
    else if (/[0-9]/.test(character)) this.#number()
    else this.#mark(character)
  }

  #add(kind: Token['kind'], text: string, end: number): void {
    this.tokens.push({ kind, text })
    this.#at = end
  }

  #match(pattern: RegExp): string {
    pattern.lastIndex = this.#at
    return pattern.exec(this.#sql)?.[0] ?? ''
  }

  // In PostgreSQL and MySQL, settings decide whether a backslash escapes.
  #backslash(): 'literal' | 'unsure' {
    return this.#dialect === 'sqlite' ? 'literal' : 'unsure'
  }

  #skipComment(character: string): boolean {
    const sql = this.#sql
    const at = this.#at
    const next = sql[at + 1] ?? ''
    if (character === '/' && next === '*') {
      this.#at = this.#blockEnd(at)
      this.#checkInside(sql.slice(at, this.#at))
      return true
    }
    const isDashes = character === '-' && next === '-' && (this.#dialect !== 'mysql' || (sql[at + 2] ?? ' ') <= ' ')
    if (!isDashes && !(character === '#' && this.#dialect === 'mysql')) return false
    const end = this.#dialect === 'pg' ? /[\n\r]/g : /\n/g
    end.lastIndex = at
    const found = end.exec(sql)
    if (!found) throw new Unreadable('a comment that does not end')
    this.#at = found.index + 1
    this.#checkInside(sql.slice(at, this.#at))
    return true
  }

  #blockEnd(start: number): number {
    const sql = this.#sql
    if (this.#dialect === 'mysql' && /^\/\*M?!/i.test(sql.slice(start, start + 4))) throw new Unreadable('a comment that is executed')
    let depth = 1
    for (let at = start + 2; at < sql.length; at += 1) {
      const two = sql.slice(at, at + 2)
      if (two === '*/') {
        depth -= 1
        at += 1
        if (depth === 0) return at + 1
      } else if (two === '/*' && this.#dialect === 'pg') {
        depth += 1
        at += 1
      } else if (two === '/*') throw new Unreadable('a comment inside a comment')
    }
    throw new Unreadable('a comment that does not end')
  }

  #string(backslash: 'literal' | 'unsure' | 'escape'): void {
    // `escape '\'` has one meaning unless standard_conforming_strings is off.
    const { kind, text = '' } = this.tokens.at(-1) ?? {}
    const isEscape = this.#dialect === 'pg' && kind === 'word' && /^escape$/i.test(text)
    if (isEscape && /^'\\'(?!')/.test(this.#sql.slice(this.#at, this.#at + 4))) this.#add('text', '\\', this.#at + 3)
    else this.#until("'", backslash, 'text')
  }

  #quoted(quote: '"' | '`', backslash: 'literal' | 'unsure'): void {
    this.#until(quote, backslash, 'quoted')
  }

  #until(quote: string, backslash: 'literal' | 'unsure' | 'escape', kind: 'text' | 'quoted'): void {
    const sql = this.#sql
    const start = this.#at + 1
    let at = start
    for (; sql[at] !== quote || sql[at + 1] === quote; at += 1) {
      if (at >= sql.length) throw new Unreadable('a quote that does not end')
      if (sql[at] === quote) at += 1
      else if (sql[at] === '\\' && backslash !== 'literal') {
        at += 1
        if (backslash === 'unsure' && sql[at] === quote) throw new Unreadable('a backslash before a quote')
      }
    }
    const text = sql.slice(start, at)
    this.#checkInside(text)
    this.#add(kind, text.replaceAll(quote + quote, quote), at + 1)
  }

  #bracketed(): void {
    const end = this.#sql.indexOf(']', this.#at)
    if (end < 0) throw new Unreadable('a bracket that does not end')
    const text = this.#sql.slice(this.#at + 1, end)
    this.#checkInside(text)
    this.#add('quoted', text, end + 1)
  }

  #dollar(): void {
    const tag = this.#match(dollarQuote)
    if (tag === '') throw new Unreadable('a numbered parameter or a lone $')
    const start = this.#at + tag.length
    const end = this.#sql.indexOf(tag, start)
    if (end < 0) throw new Unreadable('a dollar quote that does not end')
    const text = this.#sql.slice(start, end)
    this.#checkInside(text)
    this.#add('text', text, end + tag.length)
  }

  #word(): void {
    const text = this.#match(word)
    const end = this.#at + text.length
    const next = this.#sql.slice(end, end + 2)
    if (/^u$/i.test(text) && /^&['"]/.test(next)) throw new Unreadable('names or texts by code points (U&)')
    if (this.#dialect === 'pg' && /^e$/i.test(text) && next[0] === "'") {
      this.#at = end
      this.#until("'", 'escape', 'text')
    } else this.#add('word', text, end)
  }

  #number(): void {
    const text = this.#match(number)
    const end = this.#at + text.length
    if (!/[A-Za-z0-9_$\u0080-\uffff]/.test(this.#sql[end] ?? '')) this.#add('number', text, end)
    // MySQL names may start with a digit. Other servers differ in where the number ends.
    else if (this.#dialect === 'mysql') this.#add('word', this.#match(word), end)
    else throw new Unreadable('a number with letters after it')
  }

  #mark(character: string): void {
    const isOperator = character === '\\' && this.#sql[this.#at + 1] === '?' && this.#dialect !== 'sqlite'
    if (isOperator) this.#add('mark', '?', this.#at + 2)
    else if (character === '?') this.incomplete ??= 'a question mark without a binding'
    else if (character !== ';' && !marks[this.#dialect].test(character)) throw new Unreadable(`the character ${JSON.stringify(character)}`)
    if (!isOperator) this.#add('mark', character, this.#at + 1)
  }

  // Knex and drivers also replace question marks inside quotes and comments, which shifts later bindings.
  #checkInside(text: string): void {
    if (text.includes(VALUE) || text.includes(NAME)) throw new Unreadable('a binding inside quotes or a comment')
    if (this.#dialect === 'sqlite') return
    const isEscaped = (backslashes: string) => this.#dialect === 'pg' && backslashes.length === 1
    if (![...text.matchAll(/(\\*)\?/g)].every(([, backslashes = '']) => isEscaped(backslashes)))
      this.incomplete ??= 'a question mark inside quotes or a comment (bind the text instead)'
  }
}
