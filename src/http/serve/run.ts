import { BadRequestError, type FieldProblem, ForbiddenError, PermsError, UnauthorizedError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { Actor } from '../../policy/context.js'
import { ADMIN } from '../../policy/user-tables.js'
import { pendingProof, UnprovenCallerError } from '../../query/caller-proof.js'
import { assertNoErrors, schemaErrors } from '../../schema/validator.js'
import { moveTokensToCookies } from '../caller/cookie-session.js'
import { assertAbility, assertRole } from '../caller/request-authenticator.js'
import { requireSession } from '../caller/step-up.js'
import { TokenResponse } from '../caller/token-response.js'
import { type BodyLimits, readJson } from '../core/body.js'
import type { Endpoint, EndpointContext } from '../core/endpoint.js'
import { NotAcceptableError, UriTooLongError } from '../core/errors.js'
import type { PermsPort } from '../core/ports.js'
import type { HttpRequest } from '../core/request.js'
import type { Resource } from '../core/resource.js'
import { HttpResponse } from '../core/response.js'
import type { Found } from '../core/routes.js'

/** The maximum number of characters. Node.js limits headers and URL to 16 KiB; other runtimes have no limit. */
const MAX_QUERY = 65_536

type Open<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Runs an endpoint in the context of its caller. Errors are checked in a fixed order, so that a later check reveals nothing that
 * an earlier one hides: 401, 404, 403, 412, then errors in the input.
 */
export async function runEndpoint(
  found: Found<Endpoint>,
  request: HttpRequest,
  actor: Actor | null,
  perms: PermsPort,
  limits: BodyLimits,
  resources: readonly Resource[],
): Promise<HttpResponse> {
  const endpoint = found.target
  const { options } = endpoint
  const needsCaller = options.public !== true
  if (needsCaller && actor === null) throw new UnauthorizedError()
  if (!options.anyFormat && !acceptsJson(request)) throw new NotAcceptableError()
  if (request.search.length > MAX_QUERY) throw new UriTooLongError()
  const context: Open<EndpointContext> = {
    request,
    params: decodeParams(found),
    query: new URLSearchParams(request.search),
    input: undefined,
    get caller() {
      return actor?.user ?? null
    },
    actor,
    row: undefined,
    parents: [],
    perms,
    resources,
  }
  if (actor?.abilities) assertKey(actor.abilities, options)
  if (options.load) {
    Object.assign(context, await options.load(context))
    // The checks and the handler after this may run code of the application.
    if (pendingProof()) throw new UnprovenCallerError()
  }
  if (options.adminOnly) assertRole(actor, ADMIN)
  if (options.role !== undefined) assertRole(actor, options.role)
  if (options.stepUp) await requireSession(options.stepUp, endpoint, context)
  try {
    options.precondition?.(context)
    checkQuery(context.query, options.queryKeys)
    if (options.readsBody ?? (options.method !== 'GET' && options.method !== 'DELETE')) {
      context.input = await readJson(request, limits)
      if (options.argSchema) checkInput(options.argSchema, context.input)
    }
    const result = await options.handler(context)
    return result instanceof TokenResponse ? await moveTokensToCookies(result, context) : answer(result, options.status)
  } catch (error) {
    if (options.assertAllowed && comesAfter403(error)) await options.assertAllowed(context)
    throw error
  }
}

/** Checks the abilities of an API key. @throws InsufficientAbilityError */
function assertKey(held: readonly string[], { abilities, public: isPublic }: Endpoint['options']): void {
  if (abilities === 'none') assertAbility(held, abilities)
  // Public endpoints need no ability. An API key without one sees what an anonymous caller sees.
  else if (!isPublic) assertAbility(held, abilities?.())
}

function comesAfter403(error: unknown): boolean {
  return error instanceof PermsError && [400, 412, 413, 415, 422].includes(error.status)
}

function answer(result: unknown, status: number | undefined): HttpResponse {
  if (result instanceof HttpResponse) return result
  if (result === undefined) return HttpResponse.empty({ status })
  return HttpResponse.json(result, { status })
}

function decodeParams({ names, values }: Found<Endpoint>): Record<string, string> {
  const params = Object.create(null) as Record<string, string>
  for (let i = 0; i < names.length; i += 1) {
    try {
      params[names[i] as string] = decodeURIComponent(values[i] as string)
    } catch {
      throw new BadRequestError(message('request.percentEncoding'))
    }
  }
  return params
}

function checkQuery(query: URLSearchParams, keys: readonly string[] | undefined): void {
  if (!keys) return
  const errors = new Map<string, FieldProblem>()
  const seen = new Set<string>()
  for (const key of query.keys()) {
    if (!keys.includes(key)) errors.set(key, { field: key, message: message('field.unknown') })
    else if (seen.has(key)) errors.set(key, { field: key, message: message('field.repeated') })
    seen.add(key)
  }
  assertNoErrors([...errors.values()])
}

function checkInput(schema: object, input: unknown): void {
  if (typeof input !== 'object' || input === null || Array.isArray(input)) throw new ValidationError(message('request.bodyObject'))
  assertNoErrors(schemaErrors(schema, input))
}

// The most specific range decides (RFC 9110, 12.5.1). A client that accepts problem+json also accepts JSON.
const jsonRanges = ['application/json', 'application/problem+json', 'application/*', '*/*']
const noWeight = /;\s*q\s*=\s*0(?:\.0*)?\s*(?:;|$)/i

function acceptsJson(request: HttpRequest): boolean {
  const accept = request.header('accept')
  if (accept === undefined || accept === '' || accept === '*/*') return true
  const taken = new Map<string, boolean>()
  for (const part of accept.split(',')) {
    const range = (part.split(';', 1)[0] as string).trim().toLowerCase()
    taken.set(range, taken.get(range) || !noWeight.test(part))
  }
  return taken.get(jsonRanges.find((range) => taken.has(range)) ?? '') ?? false
}

/** Applies the option `accessDenied: 403`: converts a 404 to a 403. Returns other errors unchanged. */
export function applyAccessDenied(error: unknown, perms: PermsPort): unknown {
  const isHidden = perms.options.accessDenied === 403 && error instanceof PermsError && error.status === 404
  return isHidden ? new ForbiddenError(undefined, { refusedRule: () => error.refusedRule }) : error
}
