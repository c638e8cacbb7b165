import { redactError } from '../../database/errors/redacted-errors.js'
import { mayKnowRules } from '../../policy/refusal.js'
import { authenticatorOf } from '../caller/request-authenticator.js'
import type { PermsPort } from '../core/ports.js'
import { isPermsError, languageOf, type OnError, problemResponse } from '../core/problems.js'
import type { HttpRequest } from '../core/request.js'
import type { HttpResponse } from '../core/response.js'

const idPattern = /^[\w.:/+=-]{1,128}$/

/** Returns the X-Request-Id of the request, if it is safe to send back. */
export function requestId(request: HttpRequest): string | undefined {
  const id = request.header('x-request-id')
  return id !== undefined && idPattern.test(id) ? id : undefined
}

const toConsole: OnError = (error, { method, url }) => console.error(`${method} ${url}:`, error)

/** Converts errors to responses, and reports server errors to the application. */
export class Reporter {
  readonly #perms: PermsPort
  readonly #onError: OnError

  constructor(perms: PermsPort, onError: OnError = toConsole) {
    this.#perms = perms
    this.#onError = onError
  }

  /** Returns a response for any error. For the library's own routes. */
  answer(error: unknown, request: HttpRequest): HttpResponse {
    const known = this.#perms.mapError(error)
    if (!isPermsError(known) || known.status >= 500) this.report(error, request)
    const id = requestId(request)
    const caller = authenticatorOf(this.#perms).known(request)
    const response = problemResponse(known, languageOf(request, this.#perms), mayKnowRules(caller))
    return id === undefined ? response : response.with({ 'x-request-id': id })
  }

  /** Returns a response for an error of the library, or null for other errors. For routes of the application. */
  answerLibraryError(error: unknown, request: HttpRequest): HttpResponse | null {
    return isPermsError(this.#perms.mapError(error)) ? this.answer(error, request) : null
  }

  /** Passes an error to the application. An error in onError must not fail the request. */
  report(error: unknown, request: HttpRequest): void {
    try {
      redactError(error)
      this.#onError(error, { method: request.method, url: request.url, requestId: requestId(request) })
    } catch (further) {
      console.error(further)
    }
  }
}
