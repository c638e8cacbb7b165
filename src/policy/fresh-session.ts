/** The sessions with which a caller could repeat a refused write (RFC 9470). */

import {
  ConfigurationError,
  ForbiddenError,
  InsufficientAbilityError,
  InsufficientUserAuthenticationError,
  UnauthorizedError,
} from '../core/errors.js'
import { message } from '../core/messages/message.js'
import type { Actor } from './context.js'
import { type AnyRule, type Rule, type SqlRule, walk } from './rules.js'
import { allowsSession, decidingRule, sessionRulesIn } from './session-part.js'
import { everyMethod, type Factor, hasProved, isConfirmable, isRecent } from './session-rules.js'

/** The caller as it would be after it has confirmed its session, and the error that asks for that. */
export interface FreshSession {
  readonly actor: Actor
  readonly error: InsufficientUserAuthenticationError
}

/**
 * Returns the fresh sessions to try, the least demanding first. There are none if the rules name neither recent() nor factor(), if
 * the session satisfies them all, and for callers who cannot confirm: anonymous ones, API keys and impersonations.
 */
export function freshSessions(rules: readonly Rule[], actor: Actor | null): readonly FreshSession[] {
  if (!isConfirmable(actor)) return []
  const parts = rules.flatMap((rule) => sessionRulesIn(decidingRule(rule)))
  const ages = parts.flatMap((part) => (part.kind === 'recent' && !isRecent(actor, part.seconds) ? [part.seconds] : []))
  const factors = parts.flatMap((part) => (part.kind === 'factor' && !hasProved(actor, part.factor) ? [part.factor] : []))
  const maxAge = ages.length > 0 ? Math.min(...ages) : undefined
  const authTime = new Date()
  const fresh: FreshSession[] = []
  if (maxAge !== undefined) fresh.push({ actor: { ...actor, authTime }, error: new InsufficientUserAuthenticationError({ maxAge }) })
  if (factors.length > 0) {
    const error = new InsufficientUserAuthenticationError({ maxAge, acrValues: acrValuesOf(factors) })
    fresh.push({ actor: { ...actor, authTime, amr: everyMethod }, error })
  }
  return fresh
}

/** Returns the names of the factors that a client may use, in order of preference. */
function acrValuesOf(factors: readonly Factor[]): readonly string[] {
  const named = factors.filter((one) => one !== 'any')
  return named.length > 0 ? [...new Set(named)] : ['passkey', 'totp']
}

/** A rule about the session alone: recent(), factor() and their combinations. */
export type StepUpRule = SqlRule

/**
 * Throws for a rule that says more than what the session is.
 *
 * @param at the name of the option, for the message
 * @throws ConfigurationError
 */
export function assertStepUpRule(rule: StepUpRule, at: string): void {
  const isRule = typeof rule === 'object' && rule !== null
  const fits = (part: AnyRule): boolean =>
    part.kind === 'recent' ||
    part.kind === 'factor' ||
    part.kind === 'not' ||
    ((part.kind === 'allOf' || part.kind === 'anyOf') && part.rules.length > 0)
  if (isRule && [...walk(rule)].every(fits)) return
  throw new ConfigurationError(
    `${at}: use recent(), factor() and their combinations only, such as recent(300). Other rules belong in a policy.`,
  )
}

/**
 * Checks a rule about the session alone.
 *
 * @throws UnauthorizedError for an anonymous caller, InsufficientUserAuthenticationError if a fresh session would suffice
 * @throws ForbiddenError for an API key or an impersonation, which cannot be confirmed
 */
export function assertSession(actor: Actor | null, rule: StepUpRule): void {
  if (actor === null) throw new UnauthorizedError()
  if (allowsSession(rule, actor)) return
  const fresh = freshSessions([rule], actor).find((one) => allowsSession(rule, one.actor))
  if (fresh) throw fresh.error
  if (actor.abilities) throw new InsufficientAbilityError([])
  throw new ForbiddenError(actor.impersonatorId === null ? undefined : message('impersonation.notAllowed'))
}
