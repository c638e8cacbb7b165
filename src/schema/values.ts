import type { FieldProblem } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import { type ColumnSpec, MAX_DECIMAL_PRECISION } from './column.js'

/** A normalised value, or the message of its error. */
export type Checked = { readonly value: unknown; readonly error?: undefined } | { readonly error: Message; readonly value?: undefined }

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
  if (value === null) return spec.isNullable ? { value } : { error: message('field.null') }
  switch (spec.type) {
    case 'string':
    case 'text':
      return text(spec, value)
    case 'enum':
      return typeof value === 'string' && (spec.values ?? []).includes(value)
        ? { value }
        : { error: message('field.enum', { values: spec.values ?? [] }) }
    case 'integer':
      return Number.isInteger(value) ? range(spec, value as number) : { error: message('field.wholeNumber') }
    case 'float':
      return typeof value === 'number' && Number.isFinite(value) ? range(spec, value) : { error: message('field.number') }
    case 'bigint':
      return spec.isKey && typeof value === 'string' && !canonicalInteger.test(value) ? { error: message('field.id') } : bigint(value)
    case 'decimal':
      return decimal(spec, value)
    case 'boolean':
      return typeof value === 'boolean' ? { value } : { error: message('field.boolean') }
    case 'date':
      return typeof value === 'string' && isDate(value) ? { value } : { error: message('field.date') }
    case 'datetime':
      return datetime(value)
    case 'uuid':
      return isUuid(value) ? { value: value.toLowerCase() } : { error: message('field.uuid') }
    case 'json':
      return jsonIsStorable(value) ? { value } : { error: message('field.json') }
  }
}

function text(spec: ColumnSpec, value: unknown): Checked {
  if (typeof value !== 'string') return { error: message('field.string') }
  const { maxLength, minLength } = spec
  // A character has at most two code units, so longer text need not be counted.
  if (maxLength !== undefined && value.length > maxLength && (value.length > 2 * maxLength || codePoints(value) > maxLength))
    return { error: message('field.maxLength', { limit: maxLength }) }
  if (!isStorableText(value)) return { error: message('field.storableText') }
  if (minLength !== undefined && value.length < 2 * minLength && codePoints(value) < minLength)
    return { error: minLength === 1 ? message('field.empty') : message('field.minLength', { limit: minLength }) }
  return { value }
}

function codePoints(value: string): number {
  let count = 0
  for (const _ of value) count += 1
  return count
}

function range(spec: ColumnSpec, value: number): Checked {
  if (spec.minimum !== undefined && value < spec.minimum) return { error: message('field.minimum', { limit: spec.minimum }) }
  if (spec.maximum !== undefined && value > spec.maximum) return { error: message('field.maximum', { limit: spec.maximum }) }
  return { value: value === 0 ? 0 : value }
}

const notBigint: Checked = { error: message('field.bigint') }

function bigint(value: unknown): Checked {
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return notBigint
  const digits = typeof value === 'bigint' || typeof value === 'number' ? String(value) : value
  if (typeof digits !== 'string' || !/^-?\d{1,19}$/.test(digits)) return notBigint
  const whole = BigInt(digits)
  return whole > bigintMax || whole < -bigintMax - 1n ? notBigint : { value: String(whole) }
}

function decimal(spec: ColumnSpec, value: unknown): Checked {
  const precision = spec.precision ?? MAX_DECIMAL_PRECISION
  const scale = spec.scale ?? 0
  const isNumeric = typeof value === 'string' || typeof value === 'number'
  const canonical = isNumeric ? canonicalDecimal(String(value), precision, scale) : null
  return canonical === null ? { error: message('field.decimal', { precision, scale }) } : { value: canonical }
}

function datetime(value: unknown): Checked {
  const date = value instanceof Date ? value : typeof value === 'string' ? parseDatetime(value) : null
  return date && isStorable(date) ? { value: date } : { error: message('field.datetime') }
}

function jsonIsStorable(value: unknown): boolean {
  if (typeof value === 'string') return isStorableText(value)
  if (typeof value === 'number') return Number.isFinite(value)
  if (typeof value !== 'object' || value === null) return value === null || typeof value === 'boolean'
  return Object.entries(value).every(([key, item]) => isStorableText(key) && (item === undefined || jsonIsStorable(item)))
}

/** Joins field errors into one sentence, for logs and for the `detail` of a response. */
export function describe(errors: readonly FieldProblem[]): Message {
  const items = errors.map(({ field, message: problem }) => message('input.field', { field, problem }))
  return message('input.fields', { problems: { items, separator: '; ' } })
}
