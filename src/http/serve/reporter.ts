import { redactError } from '../../database/redacted-errors.js'
import type { PermsPort } from '../core/ports.js'
import { isPermsError, type OnError, problemResponse } from '../core/problems.js'
import type { HttpRequest } from '../core/request.js'
import type { HttpResponse } from '../core/response.js'

const idPattern = /^[\w.:/+=-]{1,128}$/

/** The id that a proxy or the client gave the request, where it is one that may be sent back. */
export function requestId(request: HttpRequest): string | undefined {
  const id = request.header('x-request-id')
  return id !== undefined && idPattern.test(id) ? id : undefined
}

const toConsole: OnError = (error, { method, url }) => console.error(`${method} ${url}:`, error)

/** Turns errors into answers, and tells the application of those that are not the client's doing. */
export class Reporter {
  readonly #perms: PermsPort
  readonly #onError: OnError

  constructor(perms: PermsPort, onError: OnError = toConsole) {
    this.#perms = perms
    this.#onError = onError
  }

  /** For the library's own routes: whatever it is, it becomes an answer. */
  answer(error: unknown, request: HttpRequest): HttpResponse {
    const known = this.#perms.mapError(error)
    if (!isPermsError(known) || known.status >= 500) this.#tell(error, request)
    const id = requestId(request)
    const response = problemResponse(known)
    return id === undefined ? response : response.with({ 'x-request-id': id })
  }

  /** For an application's routes: null where the error is none of ours. */
  answerOwn(error: unknown, request: HttpRequest): HttpResponse | null {
    return isPermsError(this.#perms.mapError(error)) ? this.answer(error, request) : null
  }

  // What the application does with it must not become a further error of the request.
  #tell(error: unknown, request: HttpRequest): void {
    try {
      redactError(error)
      this.#onError(error, { method: request.method, url: request.url, requestId: requestId(request) })
    } catch (further) {
      console.error(further)
    }
  }
}
