import { ValidationError } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import { canonicalDecimal, isDate, isStorableText, parseDatetime } from './values.js'

// Converts values to the one form in which they are stored, so that equal values are equal bytes.

/** An error of a value whose field is not known yet. */
class InvalidValueError extends ValidationError {
  readonly problem: Message

  constructor(problem: Message) {
    super(message('input.value', { problem }))
    this.name = 'ValidationError'
    this.problem = problem
  }
}

function invalid(problem: Message): ValidationError {
  return new InvalidValueError(problem)
}

/** Adds the field's name to an error of the functions below, which do not know it. Returns other errors unchanged. */
export function withField(error: unknown, field: string): unknown {
  if (!(error instanceof InvalidValueError)) return error
  const { problem } = error
  return new ValidationError(message('input.field', { field, problem }), { errors: [{ field, message: problem }], cause: error })
}

/** @throws ValidationError for a value that is not a boolean */
export function storableBoolean(value: unknown): boolean {
  if (typeof value !== 'boolean') throw invalid(message('field.boolean'))
  return value
}

/** @throws ValidationError for a value that is not a finite number */
export function storableNumber(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value)) throw invalid(message('field.number'))
  return value
}

/** @throws ValidationError for a value that is not a string, or that a database cannot store */
export function storableText(value: unknown): string {
  if (typeof value !== 'string') throw invalid(message('field.string'))
  if (!isStorableText(value)) throw invalid(message('field.wellFormed'))
  return value
}

// JSON.stringify() escapes NUL and lone surrogates, which PostgreSQL's jsonb refuses. After an even number of backslashes, `\u` is text.
const unstorableInJson = /(?<!\\)(?:\\\\)*\\u(?:0000|d[89a-f])/i

/** Returns a value as JSON. @throws ValidationError for a value without a JSON form, and for text that a database cannot store */
export function storableJson(value: unknown): string {
  let text: string | undefined
  try {
    text = JSON.stringify(value)
  } catch {
    // The value has a cycle or a BigInt.
  }
  if (text === undefined) throw invalid(message('field.noJson'))
  if (unstorableInJson.test(text)) throw invalid(message('field.jsonText'))
  return text
}

const smallest = -(2n ** 63n)
const largest = 2n ** 63n - 1n

/** Returns a 64-bit integer as digits, without a plus sign, leading zeros or a negative zero. @throws ValidationError */
export function storableBigint(value: unknown): string {
  const isExact =
    typeof value === 'bigint' ||
    (typeof value === 'number' ? Number.isSafeInteger(value) : typeof value === 'string' && /^-?\d{1,40}$/.test(value))
  if (!isExact) throw invalid(message('field.digits'))
  const number = BigInt(value as string | number | bigint)
  if (number < smallest || number > largest) throw invalid(message('field.bits64'))
  return number.toString()
}

/** Returns the digits of an id that SQLite stores as an integer, which its drivers return as a double. @throws ValidationError for inexact ones */
export function storableRowId(value: unknown): string {
  const id = storableBigint(value)
  if (!Number.isSafeInteger(Number(id))) throw invalid(message('field.rowId', { max: Number.MAX_SAFE_INTEGER }))
  return id
}

/** Returns a decimal with exactly `scale` digits after the point. @throws ValidationError for more digits: nothing is rounded */
export function storableDecimal(value: unknown, precision: number, scale: number): string {
  const isNumeric = typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint'
  const text = isNumeric ? canonicalDecimal(String(value), precision, scale) : null
  if (text === null) throw invalid(message('field.decimalValue', { precision, scale }))
  return text
}

/** @throws ValidationError for a value that is not an existing date, as YYYY-MM-DD */
export function storableDate(value: unknown, firstYear: number): string {
  if (typeof value !== 'string' || !isDate(value)) throw invalid(message('field.dateText'))
  if (Number(value.slice(0, 4)) < firstYear) throw invalid(message('field.firstYear', { year: firstYear }))
  return value
}

/**
 * Returns a Date from a Date or RFC 3339 text. The text needs an offset: without one it means another time in each time zone.
 *
 * @throws ValidationError
 */
export function storableDatetime(value: unknown, firstYear: number): Date {
  const datetime = typeof value === 'string' ? parseDatetime(value) : value
  if (!(datetime instanceof Date) || Number.isNaN(datetime.getTime())) {
    throw invalid(message('field.datetimeValue'))
  }
  const year = datetime.getUTCFullYear()
  if (year < firstYear || year > 9999) throw invalid(message('field.datetimeYears', { first: firstYear }))
  return datetime
}

const exactDays = new WeakMap<Date, string>()

/**
 * Stores the text from which a driver made a Date. PostgreSQL's driver returns midnight in local time, which some dates lack:
 * Samoa skipped 2011-12-30, so the driver returns the 31st.
 */
export function recordDateText(date: Date, day: string): void {
  exactDays.set(date, day)
}

/** Returns the date that a driver's Date stands for, as YYYY-MM-DD, independent of the time zone of the process. */
export function dateFromDriver(date: Date): string {
  const exact = exactDays.get(date)
  if (exact !== undefined) return exact
  const two = (number: number) => String(number).padStart(2, '0')
  return `${String(date.getFullYear()).padStart(4, '0')}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
}

/** Returns a Date for a datetime as databases write it: epoch milliseconds, or text that is in UTC if it has no offset. */
export function datetimeFromDriver(value: unknown): Date {
  if (typeof value !== 'string') return new Date(Number(value))
  // Fast path for the form that the library writes.
  if (value.length === 24 && value.endsWith('Z')) return new Date(value)
  const match = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?(?:\.\d+)?))?\s*(Z|[+-]\d\d(?::?\d\d)?)?$/i.exec(value)
  if (!match) return new Date(value)
  const [, day, time = '00:00:00', zone = 'Z'] = match
  return new Date(`${day}T${time}${/^[+-]\d\d$/.test(zone) ? `${zone}:00` : zone}`)
}
