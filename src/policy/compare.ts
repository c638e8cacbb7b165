import type { ColumnSpec } from '../schema/column.js'

/** Compares two values of a column in memory as the database compares their stored forms. */
export function compareValues(spec: ColumnSpec | undefined, operator: string, held: unknown, asked: unknown): boolean {
  const order = orderOf(spec, held, asked)
  switch (operator) {
    case 'eq':
      return order === 0
    case 'ne':
      return order !== 0
    case 'gt':
      return order > 0
    case 'gte':
      return order >= 0
    case 'lt':
      return order < 0
    case 'lte':
      return order <= 0
    default:
      return false
  }
}

function orderOf(spec: ColumnSpec | undefined, a: unknown, b: unknown): number {
  if (a instanceof Date || b instanceof Date) return sign(Number(a) - Number(b))
  if (spec?.type === 'bigint') return bigOrder(BigInt(String(a)), BigInt(String(b)))
  if (spec?.type === 'decimal') return bigOrder(scaled(String(a), spec.scale ?? 0), scaled(String(b), spec.scale ?? 0))
  if (typeof a === 'number' || typeof a === 'boolean') return sign(Number(a) - Number(b))
  // Byte for byte in UTF-8, as the databases do; JavaScript's < goes by UTF-16.
  return Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b)))
}

const sign = (difference: number): number => (difference > 0 ? 1 : difference < 0 ? -1 : 0)

const bigOrder = (a: bigint, b: bigint): number => (a > b ? 1 : a < b ? -1 : 0)

function scaled(decimal: string, scale: number): bigint {
  const [whole = '0', fraction = ''] = decimal.split('.')
  return BigInt(whole + fraction.padEnd(scale, '0').slice(0, scale))
}

const patterns = new Map<string, ['any' | 'one' | 'text', string][]>()

/** SQL's LIKE in memory: case matters, % is any run, _ one character, \\ takes the next one literally. */
export function isLike(value: string, pattern: string): boolean {
  let known = patterns.get(pattern)
  if (!known) {
    known = parts(pattern)
    if (patterns.size > 500) patterns.clear()
    patterns.set(pattern, known)
  }
  return matches(value, known)
}

// Goes back to the last % alone, so that the time is the product of the two lengths at most; a regular expression may take a
// power of it.
function matches(value: string, pattern: readonly (readonly ['any' | 'one' | 'text', string])[]): boolean {
  const after = (index: number) => index + ((value.codePointAt(index) ?? 0) > 0xffff ? 2 : 1)
  let at = 0
  let next = 0
  let lastAny = -1
  let resumeAt = 0
  while (at < value.length) {
    const [kind, text] = pattern[next] ?? []
    if (kind === 'any') {
      lastAny = next
      resumeAt = at
      next += 1
    } else if (kind === 'one' || (kind === 'text' && value.startsWith(text as string, at))) {
      at = after(at)
      next += 1
    } else if (lastAny >= 0) {
      resumeAt = after(resumeAt)
      at = resumeAt
      next = lastAny + 1
    } else return false
  }
  return pattern.slice(next).every(([kind]) => kind === 'any')
}

/** The same pattern for SQLite's GLOB, whose LIKE would not tell case. */
export function globOf(pattern: string): string {
  return parts(pattern)
    .map(([kind, text]) => (kind === 'any' ? '*' : kind === 'one' ? '?' : text.replace(/[*?[\]]/g, (c) => `[${c}]`)))
    .join('')
}

/** The same for GLOB where case does not matter: each letter as both of its forms. */
export function foldedGlobOf(pattern: string): string {
  return parts(pattern)
    .map(([kind, text]) => (kind === 'any' ? '*' : kind === 'one' ? '?' : anyCase(text)))
    .join('')
}

function anyCase(character: string): string {
  const lower = character.toLowerCase()
  // Some have a partner of several characters, which is none here.
  const forms = [...new Set([character, lower, lower.toUpperCase()])].filter((form) => [...form].length === 1)
  return forms.length > 1 ? `[${forms.join('')}]` : globOf(`\\${character}`)
}

/** The same pattern with every escape spelled out, as PostgreSQL wants it. */
export function likeOf(pattern: string): string {
  return parts(pattern)
    .map(([kind, text]) => (kind === 'any' ? '%' : kind === 'one' ? '_' : text.replace(/[\\%_]/g, (c) => `\\${c}`)))
    .join('')
}

/** Returns how many characters of a pattern stand for others: % and _, unless a backslash precedes them. */
export function wildcardsIn(pattern: string): number {
  return parts(pattern).filter(([kind]) => kind !== 'text').length
}

function parts(pattern: string): ['any' | 'one' | 'text', string][] {
  const found: ['any' | 'one' | 'text', string][] = []
  const characters = [...pattern]
  for (let i = 0; i < characters.length; i += 1) {
    const c = characters[i] as string
    if (c === '\\' && i + 1 < characters.length) found.push(['text', characters[++i] as string])
    else found.push([c === '%' ? 'any' : c === '_' ? 'one' : 'text', c])
  }
  return found
}
