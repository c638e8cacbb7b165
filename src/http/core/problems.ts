import {
  InsufficientAbilityError,
  InsufficientUserAuthenticationError,
  InvalidTokenError,
  PermsError,
  type RefusedRule,
} from '../../core/errors.js'
import { Languages } from '../../core/messages/languages.js'
import { MethodNotAllowedError } from './errors.js'
import type { PermsPort } from './ports.js'
import type { HttpRequest } from './request.js'
import { HttpResponse } from './response.js'
import { statusText } from './status-text.js'

/** The body of an error response (RFC 9457). */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  /** A stable code for programs. */
  readonly code: string
  readonly detail?: string
  readonly errors: readonly { readonly field: string; readonly message: string }[]
  /** With `insufficient_user_authentication` (RFC 9470): the seconds within which the user must have confirmed the session. */
  readonly max_age?: number
  /** With `insufficient_user_authentication`: the second factors of which the user needs one, separated by spaces. */
  readonly acr_values?: string
  /** The rule that refused the action. Only in development, and for global admins. */
  readonly refusal?: RefusedRule
}

/** Describes the request in which a server error occurred. The client does not see it. */
export interface ErrorInfo {
  readonly method: string
  readonly url: string
  readonly requestId: string | undefined
}

export type OnError = (error: unknown, info: ErrorInfo) => void

/** Returns whether an error belongs to this library. On an application's own routes, only these are answered. */
export function isPermsError(error: unknown): error is PermsError {
  return error instanceof PermsError
}

/** The part of a request that chooses the language of a problem, and the languages of the application. */
export interface ProblemLanguage {
  readonly languages: Languages
  /** The header Accept-Language. */
  readonly accepted: string | undefined
}

/** Returns the languages of the application with the choice of a request. */
export function languageOf(request: Pick<HttpRequest, 'header'>, perms: Pick<PermsPort, 'options'>): ProblemLanguage {
  return { languages: perms.options.languages ?? english, accepted: request.header('accept-language') }
}

const english = new Languages({ languages: { de: false } })
const inEnglish: ProblemLanguage = { languages: english, accepted: undefined }

/**
 * Returns the problem details for an error. A 500 contains no details.
 *
 * @param showsRules whether to name the rule of a policy that refused the action
 */
export function problemOf(error: unknown, { languages, accepted }: ProblemLanguage = inEnglish, showsRules = false): Problem {
  const language = languages.choose(accepted)
  const titleOf = (status: number) => languages.renderId(`title.${status}`, language) ?? statusText(status) ?? 'Error'
  if (!isPermsError(error) || error.status === 500)
    return { type: 'about:blank', title: titleOf(500), status: 500, code: 'internal', errors: [] }
  const { status, code, texts } = error
  const errors = texts.errors
    .slice(0, most.errors)
    .map((one) => ({ field: cut(one.field, most.field), message: cut(languages.render(one.message, language), most.message) }))
  const problem = {
    type: 'about:blank',
    title: titleOf(status),
    status,
    code,
    detail: cut(languages.render(texts.detail, language), most.detail),
    errors,
    ...(showsRules && refusalOf(error)),
  }
  return error instanceof InsufficientUserAuthenticationError ? { ...problem, ...stepUpOf(error) } : problem
}

// An error in the words of a rule must not replace the response.
function refusalOf(error: PermsError): Pick<Problem, 'refusal'> {
  try {
    const refused = error.refusedRule
    if (!refused) return {}
    const { model, action, rule } = refused
    return { refusal: { model: cut(model, most.field), action: cut(action, most.field), rule: cut(rule, most.detail) } }
  } catch {
    return {}
  }
}

function stepUpOf({ maxAge, acrValues }: InsufficientUserAuthenticationError): Pick<Problem, 'max_age' | 'acr_values'> {
  return { ...(maxAge !== undefined && { max_age: maxAge }), ...(acrValues.length > 0 && { acr_values: acrValues.join(' ') }) }
}

/** Returns the challenge of a 401 (RFC 6750, 3; RFC 9470, 3). */
function challengeOf(error: unknown): string {
  if (error instanceof InvalidTokenError) return 'Bearer error="invalid_token"'
  if (!(error instanceof InsufficientUserAuthenticationError)) return 'Bearer'
  const { max_age, acr_values } = stepUpOf(error)
  const parts = [
    'error="insufficient_user_authentication"',
    'error_description="A more recent or stronger authentication is required"',
    ...(acr_values === undefined ? [] : [`acr_values="${acr_values}"`]),
    ...(max_age === undefined ? [] : [`max_age="${max_age}"`]),
  ]
  return `Bearer ${parts.join(', ')}`
}

// Field names come from the client: limit them, so that the response does not grow with the input.
const most = { errors: 100, field: 200, message: 500, detail: 4000 }

function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).replace(/[\ud800-\udbff]$/, '')}…`
}

/** Returns the response for an error. @param showsRules whether to name the rule of a policy that refused the action */
export function problemResponse(error: unknown, language: ProblemLanguage = inEnglish, showsRules = false): HttpResponse {
  const problem = problemOf(error, language, showsRules)
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json; charset=utf-8',
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  }
  if (problem.status === 401) headers['www-authenticate'] = challengeOf(error)
  // RFC 6750, 3.1.
  if (error instanceof InsufficientAbilityError) {
    const scope = error.abilities.filter((one) => /^[\w:*-]+$/.test(one)).join(' ')
    headers['www-authenticate'] = `Bearer error="insufficient_scope"${scope === '' ? '' : `, scope="${scope}"`}`
  }
  if (isPermsError(error) && error.retryAfter !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(error.retryAfter)))
  if (error instanceof MethodNotAllowedError) headers.allow = error.allow.join(', ')
  return new HttpResponse(problem.status, { ...headers, ...languageHeaders(language) }, JSON.stringify(problem))
}

// Problems are never stored by caches, so a response to a request without Accept-Language needs neither header.
function languageHeaders({ languages, accepted }: ProblemLanguage): Record<string, string> {
  if (accepted === undefined) return languages.fallback === 'en' ? {} : { 'content-language': languages.fallback }
  return { 'content-language': languages.choose(accepted), vary: 'Accept-Language' }
}
