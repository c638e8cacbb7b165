/** The clauses of a column definition of SQLite. */
import type { SqlToken } from '../../../database/catalogue/sql-tokens.js'

/** A clause of a column. */
export interface ColumnClause {
  readonly kind: 'primary' | 'not null' | 'null' | 'unique' | 'check' | 'default' | 'collate' | 'references' | 'generated' | 'other'
  /** The clause with its name, if it has one. */
  readonly sql: string
  readonly name?: string | undefined
  /** The table that REFERENCES names. */
  readonly target?: string | undefined
}

const starts = new Set(['constraint', 'primary', 'not', 'null', 'unique', 'check', 'default', 'collate', 'references', 'generated', 'as'])

/** Reads tokens from left to right. */
class Reader {
  at = 0
  readonly #tokens: readonly SqlToken[]

  constructor(tokens: readonly SqlToken[]) {
    this.#tokens = tokens
  }

  get isAtEnd(): boolean {
    return this.at >= this.#tokens.length
  }

  get token(): SqlToken | undefined {
    return this.#tokens[this.at]
  }

  get keyword(): string {
    const { token } = this
    return token?.kind === 'name' && !token.isQuoted ? token.text.toLowerCase() : ''
  }

  /** Skips keywords, if they come next in this order. */
  skip(...words: string[]): boolean {
    const isNext = words.every((word, i) => {
      const token = this.#tokens[this.at + i]
      return token?.kind === 'name' && !token.isQuoted && token.text.toLowerCase() === word
    })
    if (isNext) this.at += words.length
    return isNext
  }

  /** Skips a group in parentheses, if one comes next. */
  skipGroup(): boolean {
    if (this.token?.kind !== 'sign' || this.token.text !== '(') return false
    let depth = 0
    do {
      if (this.token?.kind === 'sign') depth += this.token.text === '(' ? 1 : this.token.text === ')' ? -1 : 0
      this.at += 1
    } while (depth > 0 && !this.isAtEnd)
    return true
  }

  slice(start: number): readonly SqlToken[] {
    return this.#tokens.slice(start, this.at)
  }
}

/**
 * Reads the type and the clauses of a column.
 *
 * @param tokens those after the name of the column
 * @param textOf returns the text of tokens
 */
export function clausesIn(
  tokens: readonly SqlToken[],
  textOf: (tokens: readonly SqlToken[]) => string,
): { readonly type: string; readonly clauses: ColumnClause[] } {
  const reader = new Reader(tokens)
  while (!reader.isAtEnd && !starts.has(reader.keyword)) if (!reader.skipGroup()) reader.at += 1
  const type = reader.at === 0 ? '' : textOf(reader.slice(0))
  const clauses: ColumnClause[] = []
  while (!reader.isAtEnd) {
    const start = reader.at
    let name: string | undefined
    if (reader.skip('constraint')) {
      name = reader.token?.text
      reader.at += 1
    }
    const clause = readClause(reader)
    clauses.push({ ...clause, sql: textOf(reader.slice(start)), ...(name === undefined ? {} : { name }) })
  }
  return { type, clauses }
}

function readClause(reader: Reader): Pick<ColumnClause, 'kind' | 'target'> {
  if (reader.skip('primary', 'key')) {
    if (!reader.skip('asc')) reader.skip('desc')
    skipConflict(reader)
    reader.skip('autoincrement')
    return { kind: 'primary' }
  }
  if (reader.skip('not', 'null')) return skipConflict(reader, 'not null')
  if (reader.skip('null')) return skipConflict(reader, 'null')
  if (reader.skip('unique')) return skipConflict(reader, 'unique')
  if (reader.skip('check')) {
    reader.skipGroup()
    return { kind: 'check' }
  }
  if (reader.skip('default')) {
    if (!reader.skipGroup()) reader.at += reader.token?.text === '-' || reader.token?.text === '+' ? 2 : 1
    return { kind: 'default' }
  }
  if (reader.skip('collate')) {
    reader.at += 1
    return { kind: 'collate' }
  }
  if (reader.skip('references')) return { kind: 'references', target: readReference(reader) }
  if (reader.skip('generated', 'always', 'as') || reader.skip('as')) {
    reader.skipGroup()
    if (!reader.skip('stored')) reader.skip('virtual')
    return { kind: 'generated' }
  }
  reader.at += 1
  return { kind: 'other' }
}

function skipConflict(reader: Reader, kind: ColumnClause['kind'] = 'other'): Pick<ColumnClause, 'kind'> {
  if (reader.skip('on', 'conflict')) reader.at += 1
  return { kind }
}

function readReference(reader: Reader): string | undefined {
  const target = reader.token?.text
  reader.at += 1
  reader.skipGroup()
  for (;;) {
    if (reader.skip('on', 'delete') || reader.skip('on', 'update')) {
      if (!reader.skip('set', 'null') && !reader.skip('set', 'default') && !reader.skip('no', 'action')) reader.at += 1
    } else if (reader.skip('match')) reader.at += 1
    else if (reader.skip('not', 'deferrable') || reader.skip('deferrable')) {
      if (reader.skip('initially')) reader.at += 1
    } else return target
  }
}
