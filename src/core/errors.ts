/** One thing that is wrong with one field of the input. */
export interface FieldError {
  /** The property's name as the client knows it (camelCase), or a path such as `address.city`. */
  field: string
  message: string
}

export interface PermsErrorOptions {
  errors?: readonly FieldError[] | undefined
  /** Seconds after which a further try makes sense; becomes `Retry-After`. */
  retryAfter?: number | undefined
  cause?: unknown
  /** What an HTTP response says in place of the message. Default: the message. */
  clientMessage?: string | undefined
}

/**
 * What every error of this library is. `status` is the HTTP status it becomes, `code` is stable and
 * made for programs, `message` is for people and says what to do next. It never holds SQL or a stack.
 */
export abstract class PermsError extends Error {
  abstract readonly status: number
  abstract readonly code: string
  readonly errors: readonly FieldError[]
  readonly retryAfter: number | undefined
  /** What an HTTP response says: the message without what only developers may know, such as the rules of a policy. */
  readonly clientMessage: string

  constructor(message: string, options: PermsErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.errors = options.errors ?? []
    this.retryAfter = options.retryAfter
    this.clientMessage = options.clientMessage ?? message
  }
}

/** 400: the request cannot be read at all (malformed JSON, a bad percent-encoding). */
export class BadRequestError extends PermsError {
  readonly status = 400
  readonly code: string = 'bad_request'
}

/** 401: a caller is needed and there is none, or the credential that came is not valid. */
export class UnauthorizedError extends PermsError {
  readonly status = 401
  readonly code: string = 'unauthorized'
  constructor(message = 'Sign in first: this needs a valid access token in the Authorization header.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 401: the token is malformed, expired, revoked, or not of the kind that this door takes. */
export class InvalidTokenError extends UnauthorizedError {
  override readonly code = 'invalid_token'
  constructor(message = 'The token is not valid or has expired: sign in again.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 401: unknown e-mail address or wrong password; which of the two is not told. */
export class InvalidCredentialsError extends UnauthorizedError {
  override readonly code = 'invalid_credentials'
  constructor(message = 'The e-mail address or the password is wrong.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 403: known, but not allowed. */
export class ForbiddenError extends PermsError {
  readonly status = 403
  readonly code: string = 'forbidden'
  constructor(message = 'You may not do this.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 403: the caller's API key lacks an ability, whatever its owner may. */
export class InsufficientAbilityError extends ForbiddenError {
  override readonly code = 'insufficient_ability'
  /** One of these would do. */
  readonly abilities: readonly string[]
  constructor(abilities: readonly string[], options: PermsErrorOptions = {}) {
    super(
      abilities.length > 0
        ? `This API key lacks the ability ${abilities.map((one) => `'${one}'`).join(' or ')}: make one that has it.`
        : 'No API key reaches this: sign in.',
      options,
    )
    this.abilities = abilities
  }
}

/** 403: the password was right, the account is switched off. */
export class AccountDisabledError extends ForbiddenError {
  override readonly code = 'account_disabled'
  constructor(message = 'This account is disabled: ask an administrator to enable it.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 404: not there, or not for you. */
export class NotFoundError extends PermsError {
  readonly status = 404
  readonly code = 'not_found'
  constructor(message = 'There is nothing here under this address or id.', options: PermsErrorOptions = {}) {
    super(message, options)
  }
}

/** 409: a value that must be unique is taken, or the row is still in use. */
export class ConflictError extends PermsError {
  readonly status = 409
  readonly code: string = 'conflict'
}

/** 409: a unique value is taken. `errors` names the field. */
export class UniqueViolationError extends ConflictError {
  override readonly code = 'taken'
}

/** 409: other rows still refer to this one. */
export class StillReferencedError extends ConflictError {
  override readonly code = 'still_referenced'
}

/** 412: the row changed since it was read (If-Match). */
export class PreconditionFailedError extends PermsError {
  readonly status = 412
  readonly code = 'precondition_failed'
}

/** 413: the body, or a part of it, is too large. */
export class PayloadTooLargeError extends PermsError {
  readonly status = 413
  readonly code = 'payload_too_large'
}

/** 415: the body's content type is none that is read here. */
export class UnsupportedMediaTypeError extends PermsError {
  readonly status = 415
  readonly code = 'unsupported_media_type'
}

/** 422: the input is not valid. `errors` names each field. */
export class ValidationError extends PermsError {
  readonly status = 422
  readonly code: string = 'invalid'
  constructor(message: string, options: PermsErrorOptions | readonly FieldError[] = {}) {
    super(message, Array.isArray(options) ? { errors: options as readonly FieldError[] } : (options as PermsErrorOptions))
  }
}

/** 422: the input refers to a row that is not there, or not for this caller. */
export class MissingReferenceError extends ValidationError {
  override readonly code = 'missing_reference'
}

/** 422: a statement holds more values than the database takes. The message names the limit. */
export class TooManyValuesError extends ValidationError {
  override readonly code = 'too_many_values'
}

/** 429: too many tries; `retryAfter` says when the next one makes sense. */
export class TooManyAttemptsError extends PermsError {
  readonly status = 429
  readonly code = 'too_many_attempts'
}

/** 503: the database, or a queue, cannot take this now. */
export class ServiceUnavailableError extends PermsError {
  readonly status = 503
  readonly code: string = 'unavailable'
  constructor(message = 'The service cannot answer right now: try again shortly.', options: PermsErrorOptions = {}) {
    super(message, { retryAfter: 2, ...options })
  }
}

/**
 * 503: the secret behind a user's authenticator app was encrypted with a key that is not among those of initPerms({ jwt }), as after a
 * start with another secret. `cause` says to the operator what to do; the user's recovery codes work all the same.
 */
export class SecondFactorUnreadableError extends ServiceUnavailableError {
  override readonly code = 'second_factor_unreadable'
  constructor(
    message = 'Codes of your authenticator app cannot be checked here at present: use a recovery code, or ask an administrator.',
    options: PermsErrorOptions = {},
  ) {
    super(message, { retryAfter: 300, ...options })
  }
}

/** 500: `hasRole` was asked of a user whose roles were not loaded. */
export class RolesNotLoadedError extends PermsError {
  readonly status = 500
  readonly code = 'roles_not_loaded'
  constructor(
    message = 'The roles of this user are not loaded: call `await user.loadRoles()`, or fetch it with User.get(), getBy() or withGraphFetched("roles").',
    options: PermsErrorOptions = {},
  ) {
    super(message, options)
  }
}

/** 500: protected data was asked for where nobody is known to be calling. */
export class NoContextError extends PermsError {
  readonly status = 500
  readonly code = 'no_context'
  constructor(
    message = 'Nobody is known to be calling here: wrap the code in runAs(user, fn), asAnonymous(fn) or, if it is the application itself, asSystem(fn).',
    options: PermsErrorOptions = {},
  ) {
    super(message, options)
  }
}

/** 500: several runtimes are alive, and the code that runs belongs to none of them. */
export class NoRuntimeError extends PermsError {
  readonly status = 500
  readonly code = 'no_runtime'
  constructor(
    message = 'Several databases are set up, and this code belongs to none of them: wrap it in perms.run(fn) of one, or pass its transaction.',
    options: PermsErrorOptions = {},
  ) {
    super(message, options)
  }
}

/** 500: the runtime of this code was closed. */
export class RuntimeClosedError extends PermsError {
  readonly status = 500
  readonly code = 'runtime_closed'
  constructor(
    message = 'perms.close() has ended the runtime of this code: call close() after the last request and job, or initPerms() again.',
    options: PermsErrorOptions = {},
  ) {
    super(message, options)
  }
}

/** 500: a row, a query or a transaction of one runtime was used inside another one. */
export class RuntimeMismatchError extends PermsError {
  readonly status = 500
  readonly code = 'other_runtime'
  constructor(
    message = 'This row, query or transaction belongs to the database of another runtime: load it again inside perms.run(fn) of the one you mean.',
    options: PermsErrorOptions = {},
  ) {
    super(message, options)
  }
}

/** 500: the application uses the library in a way that cannot work; the message says what to write instead. */
export class ConfigurationError extends PermsError {
  readonly status = 500
  readonly code = 'configuration'
}

/** 500: the database lacks a table that a model declares; the message says which migration makes it. */
export class MissingTableError extends ConfigurationError {
  /** The name of the table, without its schema where the library makes it. */
  readonly table: string

  constructor(table: string, message: string, options: PermsErrorOptions = {}) {
    super(message, options)
    this.table = table
  }
}
