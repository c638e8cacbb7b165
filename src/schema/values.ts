import type { FieldError } from '../core/errors.js'
import { type ColumnSpec, MAX_DECIMAL_PRECISION } from './column.js'

/** A normalised value, or the message of its error. */
export type Checked = { readonly value: unknown; readonly error?: undefined } | { readonly error: string; readonly value?: undefined }

/** A whole number in its only spelling: no plus sign, no leading zeros, no negative zero. */
export const canonicalInteger = /^(?:0|-?[1-9]\d{0,18})$/

const bigintMax = 9223372036854775807n
const datePattern = /^(\d{4})-(\d{2})-(\d{2})$/
const datetimePattern = /^(\d{4}-\d{2}-\d{2})[Tt ](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/
const uuidPattern = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const decimalPattern = /^([+-]?)(\d*)(?:\.(\d*))?$/

/** Returns whether a value is a UUID in its usual form, in upper or lower case. */
export function isUuid(value: unknown): value is string {
  return typeof value === 'string' && uuidPattern.test(value)
}

/** Returns whether a text is an existing date from 0001-01-01 to 9999-12-31. */
export function isDate(value: string): boolean {
  const match = datePattern.exec(value)
  if (!match) return false
  const [year, month, day] = [Number(match[1]), Number(match[2]), Number(match[3])]
  if (year < 1 || month < 1 || month > 12 || day < 1) return false
  const last = new Date(0)
  last.setUTCFullYear(year, month, 0)
  return day <= last.getUTCDate()
}

/** Parses RFC 3339 text with seconds and an offset. @returns null for other text */
export function parseDatetime(value: string): Date | null {
  const match = datetimePattern.exec(value)
  if (!match || !isDate(match[1] as string)) return null
  if (Number(match[2]) > 23 || Number(match[3]) > 59 || Number(match[4]) > 59) return null
  const date = new Date(value.replace(' ', 'T').toUpperCase())
  return isStorable(date) ? date : null
}

// Every supported database can store these years.
function isStorable(date: Date): boolean {
  const year = date.getUTCFullYear()
  return !Number.isNaN(date.getTime()) && year >= 1 && year <= 9999
}

/** Returns whether every database can store a text: it has no NUL and no lone surrogate. */
export function isStorableText(value: string): boolean {
  return !value.includes('\0') && (value as string & { isWellFormed(): boolean }).isWellFormed()
}

// Allows redundant zeros, as in '000001.500000'.
const spareDigits = 100

/** Returns a decimal in canonical form ('-1.50' at scale 2); null if it has too many digits. */
export function canonicalDecimal(input: string, precision: number, scale: number): string | null {
  if (input.length > precision + spareDigits) return null
  const match = decimalPattern.exec(input)
  if (!match) return null
  const whole = (match[2] ?? '').replace(/^0+/, '')
  const fraction = withoutTrailingZeros(match[3] ?? '')
  if ((match[2] ?? '') === '' && (match[3] ?? '') === '') return null
  if (fraction.length > scale || whole.length > precision - scale) return null
  const isZero = whole === '' && fraction === ''
  const digits = `${whole || '0'}${scale > 0 ? `.${fraction.padEnd(scale, '0')}` : ''}`
  return match[1] === '-' && !isZero ? `-${digits}` : digits
}

// The regular expression /0+$/ would take quadratic time.
function withoutTrailingZeros(digits: string): string {
  let end = digits.length
  while (end > 0 && digits.charCodeAt(end - 1) === 48) end -= 1
  return digits.slice(0, end)
}

/** Validates a value of a column and returns it in normalised form. */
export function normalize(spec: ColumnSpec, value: unknown): Checked {
  if (value === null) return spec.isNullable ? { value } : { error: 'may not be null' }
  switch (spec.type) {
    case 'string':
    case 'text':
      return text(spec, value)
    case 'enum':
      return typeof value === 'string' && (spec.values ?? []).includes(value)
        ? { value }
        : { error: `must be one of ${(spec.values ?? []).join(', ')}` }
    case 'integer':
      return Number.isInteger(value) ? range(spec, value as number) : { error: 'must be a whole number' }
    case 'float':
      return typeof value === 'number' && Number.isFinite(value) ? range(spec, value) : { error: 'must be a number' }
    case 'bigint':
      return spec.isKey && typeof value === 'string' && !canonicalInteger.test(value) ? { error: 'must be an id' } : bigint(value)
    case 'decimal':
      return decimal(spec, value)
    case 'boolean':
      return typeof value === 'boolean' ? { value } : { error: 'must be true or false' }
    case 'date':
      return typeof value === 'string' && isDate(value) ? { value } : { error: "must be an existing date, as 'YYYY-MM-DD'" }
    case 'datetime':
      return datetime(value)
    case 'uuid':
      return isUuid(value) ? { value: value.toLowerCase() } : { error: 'must be a UUID' }
    case 'json':
      return jsonIsStorable(value) ? { value } : { error: 'must be a JSON value without NUL characters or broken surrogate pairs' }
  }
}

function text(spec: ColumnSpec, value: unknown): Checked {
  if (typeof value !== 'string') return { error: 'must be a string' }
  const { maxLength, minLength } = spec
  // A character has at most two code units, so longer text need not be counted.
  const isTooLong = maxLength !== undefined && value.length > maxLength && (value.length > 2 * maxLength || codePoints(value) > maxLength)
  if (isTooLong) return { error: `must have at most ${maxLength} characters` }
  if (!isStorableText(value)) return { error: 'may not contain NUL characters or unpaired surrogates' }
  if (minLength !== undefined && value.length < 2 * minLength && codePoints(value) < minLength)
    return { error: minLength === 1 ? 'may not be empty' : `must have at least ${minLength} characters` }
  return { value }
}

function codePoints(value: string): number {
  let count = 0
  for (const _ of value) count += 1
  return count
}

function range(spec: ColumnSpec, value: number): Checked {
  if (spec.minimum !== undefined && value < spec.minimum) return { error: `must be at least ${spec.minimum}` }
  if (spec.maximum !== undefined && value > spec.maximum) return { error: `must be at most ${spec.maximum}` }
  return { value: value === 0 ? 0 : value }
}

function bigint(value: unknown): Checked {
  const error = 'must be a 64-bit whole number, as a string of digits'
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return { error }
  const digits = typeof value === 'bigint' || typeof value === 'number' ? String(value) : value
  if (typeof digits !== 'string' || !/^-?\d{1,19}$/.test(digits)) return { error }
  const whole = BigInt(digits)
  return whole > bigintMax || whole < -bigintMax - 1n ? { error } : { value: String(whole) }
}

function decimal(spec: ColumnSpec, value: unknown): Checked {
  const precision = spec.precision ?? MAX_DECIMAL_PRECISION
  const scale = spec.scale ?? 0
  const error = `must be an exact number of at most ${precision} digits, ${scale} of them after the point`
  if (typeof value !== 'string' && typeof value !== 'number') return { error }
  const canonical = canonicalDecimal(String(value), precision, scale)
  return canonical === null ? { error } : { value: canonical }
}

function datetime(value: unknown): Checked {
  const date = value instanceof Date ? value : typeof value === 'string' ? parseDatetime(value) : null
  return date && isStorable(date) ? { value: date } : { error: 'must be a datetime, as RFC 3339 with an offset (2030-01-31T12:00:00.000Z)' }
}

function jsonIsStorable(value: unknown): boolean {
  if (typeof value === 'string') return isStorableText(value)
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return value === null || typeof value === 'boolean'
  return Object.entries(value).every(([key, item]) => isStorableText(key) && (item === undefined || jsonIsStorable(item)))
}

/** Joins field errors into one sentence, for logs and for the `detail` of a response. */
export function describe(errors: readonly FieldError[]): string {
  return errors.map(({ field, message }) => `${field} ${message}`).join('; ')
}
