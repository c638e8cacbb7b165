/** Reads the parts of CREATE TABLE statements that the catalogues of SQLite and MariaDB do not return. */

import { type SqlToken, sqlTokens } from './sql-tokens.js'

/** A CHECK constraint of a column or of the table. */
export interface DeclaredCheck {
  readonly name: string
  /** The expression, without the parentheses around it. */
  readonly sql: string
}

/** The parts of a CREATE TABLE statement. */
export interface DeclaredTable {
  readonly checks: readonly DeclaredCheck[]
  /** The expressions of computed columns, by the name of the column in lower case. */
  readonly computed: ReadonlyMap<string, string>
}

/** @param sql a CREATE TABLE statement of the catalogue */
export function declaredIn(sql: string, dialect: 'sqlite' | 'mysql'): DeclaredTable {
  const tokens = sqlTokens(sql, dialect === 'mysql', dialect === 'sqlite')
  const checks: DeclaredCheck[] = []
  const computed = new Map<string, string>()
  for (const item of itemsOf(tokens)) {
    for (const [i, token] of item.entries()) {
      if (token.isQuoted || depthAt(item, i) > 0) continue
      const keyword = token.text.toLowerCase()
      if (keyword === 'check') checks.push({ name: nameBefore(item, i), sql: groupAfter(sql, item, i) })
      const [column] = item
      if (keyword === 'as' && column && i > 0) computed.set(column.text.toLowerCase(), groupAfter(sql, item, i))
    }
  }
  return { checks, computed }
}

/** Returns the tokens of each column and table constraint. */
function itemsOf(tokens: readonly SqlToken[]): SqlToken[][] {
  const start = tokens.findIndex(isOpening)
  const items: SqlToken[][] = [[]]
  let depth = 0
  for (const token of start < 0 ? [] : tokens.slice(start + 1)) {
    if (isClosing(token) && depth === 0) break
    depth += isOpening(token) ? 1 : isClosing(token) ? -1 : 0
    if (depth === 0 && token.kind === 'sign' && token.text === ',') items.push([])
    else items.at(-1)?.push(token)
  }
  return items
}

const isOpening = ({ kind, text }: SqlToken): boolean => kind === 'sign' && text === '('
const isClosing = ({ kind, text }: SqlToken): boolean => kind === 'sign' && text === ')'

function depthAt(item: readonly SqlToken[], position: number): number {
  return item.slice(0, position).reduce((depth, token) => depth + (isOpening(token) ? 1 : isClosing(token) ? -1 : 0), 0)
}

function nameBefore(item: readonly SqlToken[], position: number): string {
  const [keyword, name] = [item[position - 2], item[position - 1]]
  return keyword && name && !keyword.isQuoted && keyword.text.toLowerCase() === 'constraint' ? name.text : ''
}

/** Returns the text between the parentheses that follow a token. */
function groupAfter(sql: string, item: readonly SqlToken[], position: number): string {
  const start = item[position + 1]
  const from = depthAt(item, position)
  const end = item.findIndex((token, i) => i > position + 1 && isClosing(token) && depthAt(item, i + 1) === from)
  return start && end >= 0 ? sql.slice(start.end, item[end]?.start).trim() : ''
}
