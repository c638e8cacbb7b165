import { datetimeFromDriver } from '../../schema/canonical.js'
import type { ColumnSpec } from '../../schema/column.js'
import { type PatternPart, partsOf } from '../../schema/like-patterns.js'

/** Compares two values of a column in memory like the database compares their stored forms. */
export function compareValues(spec: ColumnSpec | undefined, operator: string, held: unknown, asked: unknown): boolean {
  const order = spec ? orderOf(spec, spec.isExisting ? inType(spec, held) : held, asked) : untypedOrder(held, asked)
  // The database would not find such a value either.
  if (Number.isNaN(order)) return operator === 'ne'
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

// Code may hold a value of an existing column as its driver returned it, or as JSON has it.
function inType({ type }: ColumnSpec, held: unknown): unknown {
  if (type === 'datetime') return typeof held === 'string' || typeof held === 'number' ? datetimeFromDriver(held) : held
  if ((type === 'integer' || type === 'float') && typeof held === 'string') return Number(held)
  return held
}

// The type of a column that nobody declared is unknown. Drivers return 64-bit integers and decimals as text, and datetimes as Dates.
function untypedOrder(held: unknown, asked: unknown): number {
  const isTime = held instanceof Date || asked instanceof Date
  const isNumber = [held, asked].some((one) => typeof one === 'number' || typeof one === 'boolean' || typeof one === 'bigint')
  if (isTime) return sign(timeOf(held) - timeOf(asked))
  return isNumber ? sign(Number(held) - Number(asked)) : bytesOrder(held, asked)
}

const timeOf = (value: unknown): number => Number(typeof value === 'string' ? datetimeFromDriver(value) : value)

function orderOf(spec: ColumnSpec, a: unknown, b: unknown): number {
  if (a instanceof Date || b instanceof Date) return sign(Number(a) - Number(b))
  if (spec.type === 'bigint') return bigOrder(BigInt(String(a)), BigInt(String(b)))
  if (spec.type === 'decimal') return bigOrder(scaled(String(a), spec.scale ?? 0), scaled(String(b), spec.scale ?? 0))
  if (typeof a === 'number' || typeof a === 'boolean') return sign(Number(a) - Number(b))
  return bytesOrder(a, b)
}

// Databases compare UTF-8 bytes; JavaScript's < compares UTF-16 units.
const bytesOrder = (a: unknown, b: unknown): number => Buffer.compare(Buffer.from(String(a)), Buffer.from(String(b)))

/** NaN for values that cannot be compared. */
const sign = (difference: number): number => (Number.isNaN(difference) ? difference : Math.sign(difference))

const bigOrder = (a: bigint, b: bigint): number => (a > b ? 1 : a < b ? -1 : 0)

function scaled(decimal: string, scale: number): bigint {
  const [whole = '0', fraction = ''] = decimal.split('.')
  return BigInt(whole + fraction.padEnd(scale, '0').slice(0, scale))
}

const patterns = new Map<string, readonly PatternPart[]>()

/** Evaluates SQL's LIKE in memory: case-sensitive; % matches any text, _ one character, \ escapes the next character. */
export function isLike(value: string, pattern: string): boolean {
  let known = patterns.get(pattern)
  if (!known) {
    known = partsOf(pattern)
    if (patterns.size > 500) patterns.clear()
    patterns.set(pattern, known)
  }
  return matches(value, known)
}

// Backtracks only to the last %, so the time is at most the product of both lengths. A regular expression could take exponential
// time.
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
