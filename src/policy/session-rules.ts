/** Rules about the caller's session: when and how its user last proved to be present. */
import { ConfigurationError } from '../core/errors.js'
import type { RuleLike } from '../schema/column.js'
import type { Actor } from './context.js'

/** A second factor that a rule can ask for. 'any': a passkey, a code of an authenticator app, or a recovery code. */
export type Factor = 'passkey' | 'totp' | 'any'

export interface RecentRule extends RuleLike {
  readonly kind: 'recent'
  readonly sql: true
  readonly seconds: number
}

export interface FactorRule extends RuleLike {
  readonly kind: 'factor'
  readonly sql: true
  readonly factor: Factor
}

/** The methods of a session, in names of RFC 8176 where it has one, that prove a factor. */
const methodsOf: Readonly<Record<Factor, readonly string[]>> = {
  passkey: ['hwk', 'swk'],
  totp: ['otp'],
  any: ['hwk', 'swk', 'otp', 'recovery'],
}

const TEN_YEARS = 315_360_000
/** Milliseconds by which the clock of another process may be ahead. */
const CLOCK_SKEW = 60_000

/**
 * Allows callers who proved within the last `seconds` that they are present: by signing in, or with `POST me/confirm/`. API keys,
 * impersonations, and sessions whose time of proof is unknown are never recent. Admins do not bypass this rule.
 *
 * @param seconds a whole number of seconds, 1 or more
 * @throws ConfigurationError for another number
 * @example const policy: Policy = { delete: allOf(owner(), recent(300)) }
 */
export function recent(seconds: number): RecentRule {
  if (!Number.isInteger(seconds) || seconds < 1 || seconds > TEN_YEARS)
    throw new ConfigurationError(`recent(${seconds}): needs a whole number of seconds from 1 to ${TEN_YEARS}, for example recent(300).`)
  return Object.freeze({ kind: 'recent', sql: true, seconds })
}

/**
 * Allows callers whose session was last proved with this second factor. API keys and impersonations have no factor. Admins do not
 * bypass this rule.
 *
 * @param name 'passkey', 'totp' (an authenticator app), or 'any' (one of these, or a recovery code)
 * @throws ConfigurationError for another name
 * @example const policy: Policy = { update: allOf(owner(), factor('any')) }
 */
export function factor(name: Factor): FactorRule {
  if (typeof name !== 'string' || !Object.hasOwn(methodsOf, name))
    throw new ConfigurationError(`factor('${String(name)}'): unknown factor. Use ${Object.keys(methodsOf).join(', ')}.`)
  return Object.freeze({ kind: 'factor', sql: true, factor: name })
}

/** The facts about a caller's credential that rules ask for. */
export type SessionFacts = Pick<Actor, 'abilities' | 'impersonatorId' | 'authTime' | 'amr'>

/** Returns whether the actor's credential is one that a user can confirm: a session, rather than an API key or an impersonation. */
export function isConfirmable<A extends SessionFacts>(actor: A | null): actor is A {
  return actor !== null && actor.abilities === null && actor.impersonatorId === null
}

/** Returns whether the user of a session proved to be present within these seconds. An unknown time is not recent. */
export function isRecent(actor: SessionFacts | null, seconds: number): boolean {
  if (!isConfirmable(actor) || !(actor.authTime instanceof Date)) return false
  const age = Date.now() - actor.authTime.getTime()
  return age >= -CLOCK_SKEW && age <= seconds * 1000
}

/** Returns whether the session was last proved with a factor. */
export function hasProved(actor: SessionFacts | null, name: Factor): boolean {
  const amr = actor?.amr
  return isConfirmable(actor) && Array.isArray(amr) && methodsOf[name].some((method) => amr.includes(method))
}

/** The methods of a session that has proved every factor. */
export const everyMethod: readonly string[] = methodsOf.any
