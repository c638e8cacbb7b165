import { BadRequestError, ForbiddenError, PermsError } from '../../core/errors.js'

/** 405: the address is there, and not for this method. */
export class MethodNotAllowedError extends PermsError {
  readonly status = 405
  readonly code = 'method_not_allowed'
  /** The methods that it takes, for the Allow header. */
  readonly allow: readonly string[]

  constructor(allow: readonly string[]) {
    super(`This address takes ${allow.join(', ')}.`)
    this.allow = allow
  }
}

/** 414: the query is longer than any client of ours needs. */
export class UriTooLongError extends PermsError {
  readonly status = 414
  readonly code = 'uri_too_long'
  constructor(message = 'The query is longer than 65536 characters: send fewer or shorter values.') {
    super(message)
  }
}

/** 406: the client accepts none of the formats that there are. */
export class NotAcceptableError extends PermsError {
  readonly status = 406
  readonly code = 'not_acceptable'
  constructor(message = 'Answers are application/json: name it in Accept, or leave Accept out.') {
    super(message)
  }
}

/** 400: a Bearer token and a cookie at once, or a refresh token in the body and in a cookie. Which of the two is meant is not guessed. */
export class AmbiguousCredentialsError extends BadRequestError {
  override readonly code = 'ambiguous_credentials'
  constructor(message = 'A Bearer token and a cookie came at once: send one of them, or sign out with the cookie first.') {
    super(message)
  }
}

/** 403: a request with cookies that would change something, sent by another site's page. */
export class ForeignOriginError extends ForbiddenError {
  override readonly code = 'foreign_origin'
  constructor(why: string) {
    super(`A request with cookies that changes something must come from a page of this server. ${why}`)
  }
}
