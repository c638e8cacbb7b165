/** Formats datetimes for JSON. Date.prototype.toISOString() takes most of the time in which JSON.stringify() writes a list. */

const DAY = 86_400_000
/** The most days whose text is kept. */
const MAX_DAYS = 1000

const two = Array.from({ length: 100 }, (_, i) => String(i).padStart(2, '0'))
const three = Array.from({ length: 1000 }, (_, i) => String(i).padStart(3, '0'))
/** The texts of days such as '2026-11-28T', by the number of days since 1970. */
const days = new Map<number, string>()

const { toJSON, toISOString } = Date.prototype

/** Returns whether JSON.stringify() writes this value as toISOString() does: no subclass and no method of the application. */
const isUsual = (date: Date): boolean =>
  Object.getPrototypeOf(date) === Date.prototype &&
  Date.prototype.toJSON === toJSON &&
  Date.prototype.toISOString === toISOString &&
  !Object.hasOwn(date, 'toJSON')

/**
 * Returns a value as JSON.stringify() would write it, where that is faster: the text of a Date. Other values stay as they are.
 *
 * @example jsonValue(new Date(0)) // '1970-01-01T00:00:00.000Z'
 */
export function jsonValue(value: unknown): unknown {
  return value instanceof Date && isUsual(value) ? datetimeText(value) : value
}

function datetimeText(date: Date): string | Date {
  const ms = date.getTime()
  const day = Math.floor(ms / DAY)
  const start = days.get(day) ?? textOfDay(date, day)
  // An invalid date, or a year that ISO 8601 writes with a sign.
  if (start === '') return date
  const rest = ms - day * DAY
  const minutes = Math.floor(rest / 60_000)
  const hour = two[Math.floor(minutes / 60)]
  const second = two[Math.floor(rest / 1000) % 60]
  return `${start}${hour}:${two[minutes % 60]}:${second}.${three[rest % 1000]}Z`
}

function textOfDay(date: Date, day: number): string {
  const text = Number.isNaN(day) ? '' : date.toISOString()
  const start = text.length === 24 ? text.slice(0, 11) : ''
  if (days.size >= MAX_DAYS) days.clear()
  days.set(day, start)
  return start
}
