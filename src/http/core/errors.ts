import { BadRequestError, ForbiddenError, PermsError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'

/** 405: the path exists but does not support the method. */
export class MethodNotAllowedError extends PermsError {
  readonly status = 405
  readonly code = 'method_not_allowed'
  /** The supported methods, for the Allow header. */
  readonly allow: readonly string[]

  constructor(allow: readonly string[]) {
    super(message('request.methods', { methods: allow }))
    this.allow = allow
  }
}

/** 414: the query string is too long. */
export class UriTooLongError extends PermsError {
  readonly status = 414
  readonly code = 'uri_too_long'
  constructor() {
    super(message('request.longQuery'))
  }
}

/** 406: the client does not accept JSON. */
export class NotAcceptableError extends PermsError {
  readonly status = 406
  readonly code = 'not_acceptable'
  constructor() {
    super(message('request.onlyJson'))
  }
}

/**
 * 400: the request has a Bearer token and a cookie, or a refresh token in the body and in a cookie. The library does not guess
 * which one to use.
 */
export class AmbiguousCredentialsError extends BadRequestError {
  override readonly code = 'ambiguous_credentials'
  constructor(text = message('request.twoCredentials')) {
    super(text)
  }
}

/** 403: a page of another site sent a request with cookies that would change something. */
export class ForeignOriginError extends ForbiddenError {
  override readonly code = 'foreign_origin'
  constructor(isMissing: boolean) {
    super(isMissing ? message('request.noOrigin') : message('request.foreignOrigin'))
  }
}
