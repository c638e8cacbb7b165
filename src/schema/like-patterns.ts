/** LIKE patterns as each database takes them. */
import type { ColumnSpec } from './column.js'
import { likeSql as existingLikeSql } from './existing-storage.js'
import type { Dialect } from './storage.js'

/** A part of a pattern, and its text. */
export type PatternPart = ['any' | 'one' | 'text', string]

/** Converts a LIKE pattern to GLOB for SQLite, whose LIKE ignores case. */
export function globOf(pattern: string): string {
  return partsOf(pattern)
    .map(([kind, text]) => (kind === 'any' ? '*' : kind === 'one' ? '?' : text.replace(/[*?[\]]/g, (c) => `[${c}]`)))
    .join('')
}

/** Converts a LIKE pattern to a case-insensitive GLOB: each letter becomes a set of both cases. */
export function foldedGlobOf(pattern: string): string {
  return partsOf(pattern)
    .map(([kind, text]) => (kind === 'any' ? '*' : kind === 'one' ? '?' : anyCase(text)))
    .join('')
}

function anyCase(character: string): string {
  const lower = character.toLowerCase()
  // Some characters have another case of several characters, which GLOB cannot express: leave it out.
  const forms = [...new Set([character, lower, lower.toUpperCase()])].filter((form) => [...form].length === 1)
  return forms.length > 1 ? `[${forms.join('')}]` : globOf(`\\${character}`)
}

/** Normalizes the escapes of a LIKE pattern, as PostgreSQL requires. */
export function likeOf(pattern: string): string {
  return partsOf(pattern)
    .map(([kind, text]) => (kind === 'any' ? '%' : kind === 'one' ? '_' : text.replace(/[\\%_]/g, (c) => `\\${c}`)))
    .join('')
}

/** Returns the number of unescaped wildcards, % and _, in a pattern. */
export function wildcardsIn(pattern: string): number {
  return partsOf(pattern).filter(([kind]) => kind !== 'text').length
}

/** Splits a LIKE pattern: % matches any text, _ one character, and a backslash escapes the next character. */
export function partsOf(pattern: string): PatternPart[] {
  const found: PatternPart[] = []
  const characters = [...pattern]
  for (let i = 0; i < characters.length; i += 1) {
    const c = characters[i] as string
    if (c === '\\' && i + 1 < characters.length) found.push(['text', characters[++i] as string])
    else found.push([c === '%' ? 'any' : c === '_' ? 'one' : 'text', c])
  }
  return found
}

/** Returns the SQL that compares a column with a pattern, with `??` for the column and `?` for the pattern, and the pattern to bind. */
export function likeSql(
  pattern: string,
  operator: 'like' | 'ilike',
  dialect: Dialect,
  { isExisting }: Pick<ColumnSpec, 'isExisting'>,
): [sql: string, bound: string] {
  // SQLite's LIKE ignores the case of ASCII letters only. GLOB is case-sensitive; a set such as [aA] ignores the case.
  if (dialect === 'sqlite') return ['?? glob ?', operator === 'like' ? globOf(pattern) : foldedGlobOf(pattern)]
  const column = isExisting ? existingLikeSql('??', dialect) : '??'
  if (dialect === 'pg') return [`${column} ${operator} ?`, likeOf(pattern)]
  return [operator === 'like' ? `${column} like ?` : 'lower(??) like lower(?)', likeOf(pattern)]
}

/** Returns a pattern for texts that contain this one, whatever characters it has. */
export const containing = (text: string): string => `%${text.replace(/[\\%_]/g, (c) => `\\${c}`)}%`
