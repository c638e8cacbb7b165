/** How connections of the pg driver read days and moments. */
import { rememberDate } from '../schema/canonical.js'

type TypeParser = (text: string) => unknown

/** What is used of a connection of the pg driver. */
export interface TypedConnection {
  getTypeParser?(type: number, format: 'text'): TypeParser
  setTypeParser?(type: number, format: 'text', parser: TypeParser): void
}

const dateType = 1082
const timestamptzType = 1184

/**
 * The application still gets a Date for a `date` of PostgreSQL, and the library can ask which day it was; a `timestamptz` becomes
 * the same Date as before in a tenth of the time. Parsers of the application's own that make anything else stay.
 */
export function readDatesAndDatetimes(connection: TypedConnection): void {
  const parseDay = connection.getTypeParser?.(dateType, 'text')
  if (parseDay)
    connection.setTypeParser?.(dateType, 'text', (text) => {
      const value = parseDay(text)
      if (value instanceof Date) rememberDate(value, text)
      return value
    })
  const parseMoment = connection.getTypeParser?.(timestamptzType, 'text')
  if (parseMoment && makesPlainDates(parseMoment))
    connection.setTypeParser?.(timestamptzType, 'text', (text) => datetimeOf(text) ?? parseMoment(text))
}

function makesPlainDates(parse: TypeParser): boolean {
  try {
    const made = parse('2001-02-03 04:05:06.789+00')
    return made instanceof Date && Object.getPrototypeOf(made) === Date.prototype && made.getTime() === Date.UTC(2001, 1, 3, 4, 5, 6, 789)
  } catch {
    return false
  }
}

const zero = 48
const dash = 45
const plus = 43

/**
 * A moment as PostgreSQL spells it where the session's time zone is UTC: '2001-02-03 04:05:06.789+00', with up to three digits
 * after the point. The driver's own parser takes three regular expressions for it, which is a third of reading a page of rows.
 *
 * @returns null for any other spelling, and for years before 1000, which Date.UTC() may take for those of another century
 */
export function datetimeOf(text: string): Date | null {
  const { length } = text
  const at = (index: number) => text.charCodeAt(index) - zero
  const two = (index: number) => at(index) * 10 + at(index + 1)
  const isShaped =
    length >= 22 &&
    length <= 26 &&
    text.charCodeAt(4) === dash &&
    text.charCodeAt(length - 3) === plus &&
    at(length - 2) === 0 &&
    at(length - 1) === 0 &&
    at(0) > 0
  if (!isShaped) return null
  let ms = 0
  if (length > 23) ms += at(20) * 100
  if (length > 24) ms += at(21) * 10
  if (length > 25) ms += at(22)
  return new Date(Date.UTC(two(0) * 100 + two(2), two(5) - 1, two(8), two(11), two(14), two(17), ms))
}
