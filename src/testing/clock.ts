import { ConfigurationError } from '../core/errors.js'

export interface FakeClock {
  /** The current time of the fake clock. */
  readonly now: Date
  /** Moves the clock forward. @param seconds a negative number moves it back. @throws ConfigurationError for NaN and Infinity */
  advance(seconds: number): void
  /** Restores the real clock. A second call does nothing. */
  restore(): void
}

let isFaked = false

/**
 * Shifts `Date` for the whole process, so that tests need not wait until something expires. The clock continues to run. Timers use the
 * real clock, so that connections, pools and servers keep working. The clocks of databases and of other processes do not change;
 * the library does not use them.
 *
 * @param start the first time: a Date, RFC 3339 text or milliseconds. Default: now.
 * @throws ConfigurationError when another fake clock is in use, or `start` is not a date
 * @example
 * const clock = fakeClock()
 * clock.advance(900)
 * await perms.authenticate(accessToken) // throws InvalidTokenError
 * clock.restore()
 */
export function fakeClock(start?: Date | string | number): FakeClock {
  if (isFaked)
    throw new ConfigurationError('fakeClock(): another fake clock is in use. Call its restore() first, for example in afterEach().')
  const RealDate = globalThis.Date
  let offset = start === undefined ? 0 : new RealDate(start).getTime() - RealDate.now()
  if (!Number.isFinite(offset))
    throw new ConfigurationError(`fakeClock('${start}'): start is not a date. Pass a Date, RFC 3339 text or milliseconds.`)
  const now = () => RealDate.now() + offset
  // A proxy keeps instanceof working for dates made before and after it is installed.
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, given, newTarget) => Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
    apply: () => new RealDate(now()).toString(),
    get: (target, key) => (key === 'now' ? now : Reflect.get(target, key)),
  })
  isFaked = true
  let isRestored = false
  return {
    get now() {
      return new RealDate(now())
    },
    advance(seconds) {
      if (!Number.isFinite(seconds)) throw new ConfigurationError(`advance(${seconds}): pass a finite number of seconds.`)
      offset += seconds * 1000
    },
    restore() {
      if (isRestored) return
      isRestored = true
      isFaked = false
      globalThis.Date = RealDate
    },
  }
}
