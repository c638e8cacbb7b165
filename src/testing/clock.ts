import { ConfigurationError } from '../core/errors.js'

export interface FakeClock {
  /** What `new Date()` says now. */
  readonly now: Date
  /** Moves the clock on. @param seconds less than 0 moves it back */
  advance(seconds: number): void
  /** Gives the real clock back; a second call does nothing. */
  restore(): void
}

let isFaked = false

/**
 * Moves `Date` for the whole process: what expires does so without waiting. Time goes on from there as fast as it does, and timers
 * keep to the real clock, so that connections, pools and servers live on. The clocks of databases and of other processes
 * stay as they are; the library asks neither.
 *
 * @param start where to begin: a Date, RFC 3339 text or milliseconds; now when not said
 * @throws ConfigurationError where another fake clock has not been restored
 * @example
 * const clock = fakeClock()
 * clock.advance(900)
 * await perms.authenticate(accessToken) // throws InvalidTokenError
 * clock.restore()
 */
export function fakeClock(start?: Date | string | number): FakeClock {
  if (isFaked) throw new ConfigurationError('fakeClock(): there is one already: restore() it first, in afterEach().')
  const RealDate = globalThis.Date
  let offset = start === undefined ? 0 : new RealDate(start).getTime() - RealDate.now()
  if (!Number.isFinite(offset)) throw new ConfigurationError(`fakeClock('${start}'): that is no date.`)
  const now = () => RealDate.now() + offset
  // A proxy keeps the prototype: dates of before and after are instances of the same class.
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
      if (!Number.isFinite(seconds)) throw new ConfigurationError(`advance(${seconds}): give a number of seconds.`)
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
