/** Reads the column and the values of CHECK constraints that list values, such as those of `column.enum()`. */

import { type SqlToken, sqlTokens } from './sql-tokens.js'

/** A CHECK constraint that allows a list of values. */
export interface ValueCheck {
  readonly column: string
  readonly values: readonly string[]
}

/**
 * Returns the column and the values of a check that lists values.
 *
 * @param sql the expression, in the form of any catalogue: `"a" in ('x', 'y')`, `((a)::text = ANY (ARRAY['x'::text]))`, `` `a` = 'x' ``
 * @param hasBackslashes whether a backslash in a literal begins an escape, as on MariaDB
 * @returns undefined for other checks
 * @example valueCheck(`"status" in ('open', 'done')`) // { column: 'status', values: ['open', 'done'] }
 */
export function valueCheck(sql: string, hasBackslashes = false): ValueCheck | undefined {
  const [column, operator, ...rest] = withoutCasts(sqlTokens(sql, hasBackslashes))
  if (column?.kind !== 'name' || operator === undefined) return undefined
  const words = rest.filter(({ kind }) => kind !== 'string').map(({ text }) => text.toLowerCase())
  const literals = rest.filter(({ kind }) => kind === 'string').map(({ text }) => text)
  const shape = `${operator.text.toLowerCase()} ${words.filter((word) => word !== ',').join(' ')}`.trim()
  const commas = words.filter((word) => word === ',').length
  const isList = shape === 'in' || shape === '= any array [ ]'
  if (literals.length === 0 || commas !== literals.length - 1 || !(isList || (shape === '=' && literals.length === 1))) return undefined
  return { column: column.text, values: literals }
}

/** Removes parentheses, casts of PostgreSQL, and character sets of MariaDB before literals. */
function withoutCasts(tokens: readonly SqlToken[]): SqlToken[] {
  const kept: SqlToken[] = []
  for (let i = 0; i < tokens.length; i += 1) {
    const token = tokens[i] as SqlToken
    if (token.text === '::' && token.kind === 'sign') {
      i = endOfType(tokens, i + 1) - 1
      continue
    }
    const isCharacterSet = token.kind === 'name' && !token.isQuoted && token.text.startsWith('_') && tokens[i + 1]?.kind === 'string'
    const isParenthesis = token.kind === 'sign' && (token.text === '(' || token.text === ')')
    if (!isCharacterSet && !isParenthesis) kept.push(token)
  }
  return kept
}

/** Returns the position after the name of a type: words, a length in parentheses, and brackets. */
function endOfType(tokens: readonly SqlToken[], start: number): number {
  let at = start
  while (tokens[at]?.kind === 'name') at += 1
  if (tokens[at]?.text === '(' && tokens[at]?.kind === 'sign' && tokens[at + 2]?.text === ')') at += 3
  while (tokens[at]?.text === '[' && tokens[at + 1]?.text === ']') at += 2
  return at
}
