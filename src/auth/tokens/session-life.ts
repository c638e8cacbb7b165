import { ConfigurationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { invalidField } from '../../schema/text-input.js'

const DEFAULT_ABSOLUTE_LIFETIME = 7_776_000
const TEN_YEARS = 315_360_000

/** The bounds within which a client chooses the lifetime of its session, in seconds. */
export interface RememberMeOptions {
  /** The lifetime without `remember: true`, and the shortest one that `sessionExpires` may choose. */
  readonly min: number
  /** The lifetime with `remember: true`, and the longest one that `sessionExpires` may choose. */
  readonly max: number
}

/** The lifetime that a client chooses at sign-in. Give at most one of the two. */
export interface LifetimeChoice {
  /** Whether the session lasts for `jwt.rememberMe.max` seconds instead of `jwt.rememberMe.min`. */
  readonly remember?: boolean | undefined
  /** Seconds after which the session ends even if it is refreshed. */
  readonly sessionExpires?: number | undefined
}

/** Decides when sessions end, however often they are refreshed. */
export class SessionLife {
  /** The lifetime of sessions whose client cannot choose, in seconds. */
  readonly usual: number
  readonly #bounds: RememberMeOptions | undefined

  /** @throws ConfigurationError for invalid times */
  constructor(
    options: { readonly sessionExpires?: number | undefined; readonly rememberMe?: RememberMeOptions | undefined },
    refreshTokenExpires: number,
  ) {
    const { sessionExpires, rememberMe } = options
    this.usual = usualLife(sessionExpires, refreshTokenExpires)
    if (rememberMe === undefined) return
    const { min, max } = rememberMe
    const isTime = (value: unknown) => Number.isInteger(value) && (value as number) >= 1 && (value as number) <= TEN_YEARS
    if (!isTime(min) || !isTime(max) || min > max)
      throw new ConfigurationError(
        `jwt.rememberMe: { min: ${min}, max: ${max} }: both must be whole numbers of seconds, and min may not exceed max. For example { min: 43_200, max: 2_592_000 }.`,
      )
    this.#bounds = { min, max }
  }

  /** Whether clients may choose. */
  get isChosen(): boolean {
    return this.#bounds !== undefined
  }

  /**
   * Returns the seconds after which a session ends, or undefined for the usual lifetime.
   *
   * @throws ValidationError for a choice outside of the bounds, of a wrong type, or where clients may not choose
   */
  of({ remember, sessionExpires }: LifetimeChoice): number | undefined {
    const bounds = this.#bounds
    if (bounds === undefined) {
      if (remember !== undefined) throw invalidField('remember', message('field.unknown'))
      if (sessionExpires !== undefined) throw invalidField('sessionExpires', message('field.unknown'))
      return undefined
    }
    if (remember !== undefined && typeof remember !== 'boolean') throw invalidField('remember', message('field.boolean'))
    if (sessionExpires === undefined) return remember === true ? bounds.max : bounds.min
    if (remember !== undefined) throw invalidField('sessionExpires', message('field.notCombined', { other: 'remember' }))
    if (!Number.isInteger(sessionExpires) || sessionExpires < bounds.min || sessionExpires > bounds.max)
      throw invalidField('sessionExpires', message('field.secondsBetween', { min: bounds.min, max: bounds.max }))
    return sessionExpires
  }
}

function usualLife(sessionExpires: number | undefined, refreshTokenExpires: number): number {
  if (sessionExpires === undefined) return Math.max(DEFAULT_ABSOLUTE_LIFETIME, refreshTokenExpires)
  if (Number.isInteger(sessionExpires) && sessionExpires > 0) return sessionExpires
  throw new ConfigurationError(`jwt.sessionExpires: ${sessionExpires}: must be a whole number of seconds, 1 or more.`)
}
