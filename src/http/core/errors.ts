import { BadRequestError, ForbiddenError, PermsError } from '../../core/errors.js'

/** 405: the path exists but does not support the method. */
export class MethodNotAllowedError extends PermsError {
  readonly status = 405
  readonly code = 'method_not_allowed'
  /** The supported methods, for the Allow header. */
  readonly allow: readonly string[]

  constructor(allow: readonly string[]) {
    super(`This path supports only ${allow.join(', ')}. Use one of these methods.`)
    this.allow = allow
  }
}

/** 414: the query string is too long. */
export class UriTooLongError extends PermsError {
  readonly status = 414
  readonly code = 'uri_too_long'
  constructor(message = 'The query is longer than 65536 characters. Send fewer or shorter values.') {
    super(message)
  }
}

/** 406: the client does not accept JSON. */
export class NotAcceptableError extends PermsError {
  readonly status = 406
  readonly code = 'not_acceptable'
  constructor(message = 'Responses are application/json. Add it to the Accept header, or omit the header.') {
    super(message)
  }
}

/**
 * 400: the request has a Bearer token and a cookie, or a refresh token in the body and in a cookie. The library does not guess
 * which one to use.
 */
export class AmbiguousCredentialsError extends BadRequestError {
  override readonly code = 'ambiguous_credentials'
  constructor(message = 'The request has both a Bearer token and a cookie. Send only one of them, or sign out with the cookie first.') {
    super(message)
  }
}

/** 403: a page of another site sent a request with cookies that would change something. */
export class ForeignOriginError extends ForbiddenError {
  override readonly code = 'foreign_origin'
  constructor(why: string) {
    super(`A request with cookies that changes something must come from a page of this server. ${why}`)
  }
}
