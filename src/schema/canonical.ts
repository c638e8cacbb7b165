import { ValidationError } from '../core/errors.js'
import { canonicalDecimal, isDate, isStorableText, parseDatetime } from './values.js'

// The one spelling of each value that is stored, so that equal values are equal bytes.

function invalid(message: string): ValidationError {
  return new ValidationError(`The value ${message}.`)
}

/** The same error with the name of the field, which those below did not know. */
export function ofField(error: unknown, field: string): unknown {
  if (!(error instanceof ValidationError) || error.errors.length > 0) return error
  const message = error.message.replace(/^The value (.*)\.$/, '$1')
  return new ValidationError(`${field} ${message}`, { errors: [{ field, message }], cause: error })
}

export function storableBoolean(value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid('must be true or false')
  return value
}

export function storableNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid('must be a number')
  return value
}

export function storableText(value: unknown): string {
  if (typeof value !== 'string') throw invalid('must be a string')
  if (!isStorableText(value)) throw invalid('must be well-formed text without NUL characters')
  return value
}

// JSON.stringify escapes NUL and lone surrogates, which PostgreSQL's jsonb refuses; an even number of backslashes before is not an escape.
const unstorableInJson = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i

export function storableJson(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // A cycle or a BigInt.
  }
  if (text === undefined) throw invalid('has no form in JSON')
  if (unstorableInJson.test(text)) throw invalid('must hold well-formed text without NUL characters')
  return text
}

const smallest = -(2n ** 63n)
const largest = 2n ** 63n - 1n

/** A whole number of 64 bits: no plus, no leading zeros, no minus zero. */
export function storableBigint(value: unknown): string {
  const isExact =
    typeof value === 'bigint' ||
    (typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'string' && /^-?\d{1,40}$/.test(value))
  if (!isExact) throw invalid('must be a whole number, as a string of digits')
  const number = BigInt(value as string | number | bigint)
  if (number < smallest || number > largest) throw invalid('must be a whole number of 64 bits')
  return number.toString()
}

/** Exactly `scale` digits after the point. More than the column keeps is refused, not rounded. */
export function storableDecimal(value: unknown, precision: number, scale: number): string {
  const isNumeric = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
  const text = isNumeric ? canonicalDecimal(String(value), precision, scale) : null
  if (text === null) throw invalid(`must be a number of at most ${precision} digits, ${scale} of them after the point`)
  return text
}

export function storableDate(value: unknown, firstYear: number): string {
  if (typeof value !== 'string' || !isDate(value)) throw invalid('must be a day that exists, as YYYY-MM-DD')
  if (Number(value.slice(0, 4)) < firstYear) throw invalid(`must be no day before the year ${firstYear}`)
  return value
}

/** A Date, or RFC 3339 with its offset: without one it would mean another moment in each time zone. */
export function storableDatetime(value: unknown, firstYear: number): Date {
  const moment = typeof value === 'string' ? parseDatetime(value) : value
  if (!(moment instanceof Date) || Number.isNaN(moment.getTime())) {
    throw invalid('must be a moment: a Date, or a date-time with its offset as in RFC 3339')
  }
  const year = moment.getUTCFullYear()
  if (year < firstYear || year > 9999) throw invalid(`must be a moment of the years ${firstYear} to 9999`)
  return moment
}

const exactDays = new WeakMap<Date, string>()

/**
 * Remembers the day that a driver made a Date of. PostgreSQL's driver takes midnight of local time, and there are
 * days without one: 2011-12-30 did not happen in Samoa, and its Date is the 31st.
 */
export function rememberDate(date: Date, day: string): void {
  exactDays.set(date, day)
}

/** The day that the driver read, whatever the time zone of the process. */
export function dateSeen(date: Date): string {
  const exact = exactDays.get(date)
  if (exact !== undefined) return exact
  const two = (number: number) => String(number).padStart(2, '0')
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** A moment as a database spells it: epoch milliseconds, or a text that is UTC where it says no offset. */
export function datetimeSeen(value: unknown): Date {
  if (typeof value !== 'string') return new Date(Number(value))
  // As the library itself writes it, which is most of what it reads.
  if (value.length === 24 && value.endsWith('Z')) return new Date(value)
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?(?:\.\d+)?))?\s*(Z|[+-]\d\d(?::?\d\d)?)?$/i.exec(value)
  if (!match) return new Date(value)
  const [, day, time = '00:00:00', zone = 'Z'] = match
  return new Date(`${day}T${time}${/^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone}`)
}
