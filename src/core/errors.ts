import { inEnglish } from './messages/in-english.js'
import { either, type Message, message, quoted } from './messages/message.js'

/** One error in one field of the input. */
export interface FieldError {
  /** The property name that the client sent (camelCase), or a path such as `address.city`. */
  field: string
  message: string
}

/** One error in one field, before it is rendered in the language of the client. */
export interface FieldProblem {
  readonly field: string
  readonly message: string | Message
}

/** The texts of an error, before they are rendered in the language of the client. */
export interface ErrorTexts {
  readonly detail: string | Message
  readonly errors: readonly FieldProblem[]
}

/** The rule of a policy that refused an action, for developers and admins. */
export interface RefusedRule {
  readonly model: string
  /** 'read', 'create', 'update', 'delete', or a key of the policy such as 'publish'. */
  readonly action: string
  /** The rule in words, without values of hidden columns. */
  readonly rule: string
}

export interface PermsErrorOptions {
  errors?: readonly FieldProblem[] | undefined
  /** Seconds until the client should try again; sent as `Retry-After`. */
  retryAfter?: number | undefined
  cause?: unknown
  /** The text of an HTTP response. @defaultValue the message */
  clientMessage?: string | Message | undefined
  /** Returns the rule that refused the action. Called when it is read. */
  refusedRule?: (() => RefusedRule | undefined) | undefined
}

/**
 * The `code` of every error of this library, and 'internal', the code of HTTP responses for all other errors. Codes do not change
 * between versions.
 *
 * @example
 * function hintOf(code: PermsErrorCode): string | null {
 *   return code === 'too_many_attempts' ? 'Wait a moment.' : null
 * }
 */
export type PermsErrorCode =
  | 'bad_request'
  | 'unauthorized'
  | 'invalid_token'
  | 'invalid_credentials'
  | 'insufficient_user_authentication'
  | 'forbidden'
  | 'insufficient_ability'
  | 'account_disabled'
  | 'not_found'
  | 'conflict'
  | 'taken'
  | 'still_referenced'
  | 'precondition_failed'
  | 'payload_too_large'
  | 'unsupported_media_type'
  | 'invalid'
  | 'missing_reference'
  | 'too_many_values'
  | 'too_many_attempts'
  | 'unavailable'
  | 'second_factor_unreadable'
  | 'roles_not_loaded'
  | 'no_context'
  | 'no_runtime'
  | 'runtime_closed'
  | 'other_runtime'
  | 'configuration'
  | 'method_not_allowed'
  | 'uri_too_long'
  | 'not_acceptable'
  | 'ambiguous_credentials'
  | 'foreign_origin'
  | 'internal'

/**
 * The base class of all errors of this library. `status` is the HTTP status. `code` is stable, so that programs can compare it.
 * `message` is for people and says what to do next. It never contains SQL or a stack trace.
 *
 * @example if (error instanceof PermsError) console.error(error.status, error.code, error.errors)
 */
export abstract class PermsError extends Error {
  abstract readonly status: number
  abstract readonly code: PermsErrorCode
  readonly errors: readonly FieldError[]
  readonly retryAfter: number | undefined
  /** The text of an HTTP response: the message without details for developers, such as the rules of a policy. */
  readonly clientMessage: string
  readonly #texts: ErrorTexts
  readonly #refusedRule: (() => RefusedRule | undefined) | undefined

  /** @param text a string, or a Message, which responses contain in the client's language. `message` is English. */
  constructor(text: string | Message, options: PermsErrorOptions = {}) {
    super(String(text), options.cause === undefined ? undefined : { cause: options.cause })
    const { errors = [], clientMessage = text } = options
    this.name = new.target.name
    this.errors = inEnglish(errors)
    this.retryAfter = options.retryAfter
    this.clientMessage = String(clientMessage)
    this.#texts = { detail: clientMessage, errors }
    this.#refusedRule = options.refusedRule
  }

  /** The texts of an HTTP response, before they are rendered in the language of the client. */
  get texts(): ErrorTexts {
    return this.#texts
  }

  /**
   * The rule of a policy that refused the action. Undefined for other errors. Responses contain it in development, and for global
   * admins.
   */
  get refusedRule(): RefusedRule | undefined {
    return this.#refusedRule?.()
  }
}

/**
 * 400: the request is malformed, such as invalid JSON or a bad percent-encoding.
 *
 * @example throw new BadRequestError('The query parameter limit must be a number.')
 */
export class BadRequestError extends PermsError {
  readonly status = 400
  readonly code: PermsErrorCode = 'bad_request'
}

/**
 * 401: the request needs a signed-in caller, and it has no credential or an invalid one.
 *
 * @example throw new UnauthorizedError()
 */
export class UnauthorizedError extends PermsError {
  readonly status = 401
  readonly code: PermsErrorCode = 'unauthorized'
  constructor(text: string | Message = message('signIn.required'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 401: the token is malformed, expired or revoked, or this endpoint does not accept its kind.
 *
 * @example if (error instanceof InvalidTokenError) await signInAgain()
 */
export class InvalidTokenError extends UnauthorizedError {
  override readonly code = 'invalid_token'
  constructor(text: string | Message = message('token.invalid'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 401: the e-mail address is unknown or the password is wrong. The error does not tell which, so that nobody can test addresses.
 *
 * @example if (error instanceof InvalidCredentialsError) showError(error.message)
 */
export class InvalidCredentialsError extends UnauthorizedError {
  override readonly code = 'invalid_credentials'
  constructor(text: string | Message = message('signIn.wrong'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 401: the caller may do this after confirming the session, with `POST me/confirm/` or by signing in again (RFC 9470).
 *
 * @example if (error instanceof InsufficientUserAuthenticationError) showError(`Confirm your session: ${error.acrValues.join(' or ') || 'password'}`)
 */
export class InsufficientUserAuthenticationError extends UnauthorizedError {
  override readonly code = 'insufficient_user_authentication'
  /** The user must have proved to be present within this number of seconds. Undefined: any time is enough. */
  readonly maxAge: number | undefined
  /** The user needs one of these second factors, the preferred one first: 'passkey', 'totp'. Empty: the password is enough. */
  readonly acrValues: readonly string[]
  constructor(
    needs: { readonly maxAge?: number | undefined; readonly acrValues?: readonly string[] | undefined } = {},
    options: PermsErrorOptions = {},
  ) {
    const { maxAge, acrValues = [] } = needs
    super(acrValues.length > 0 ? message('session.confirmFactor', { factors: either(acrValues) }) : message('session.confirm'), options)
    this.maxAge = maxAge
    this.acrValues = acrValues
  }
}

/**
 * 403: the caller is known, but may not do this.
 *
 * @example throw new ForbiddenError('Only editors may publish.')
 */
export class ForbiddenError extends PermsError {
  readonly status = 403
  readonly code: PermsErrorCode = 'forbidden'
  constructor(text: string | Message = message('row.forbidden'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 403: the caller's API key lacks an ability. The permissions of its owner do not matter.
 *
 * @example if (error instanceof InsufficientAbilityError) console.error('needs one of', error.abilities)
 */
export class InsufficientAbilityError extends ForbiddenError {
  override readonly code = 'insufficient_ability'
  /** The key needs one of these abilities. Empty when no API key may call this endpoint. */
  readonly abilities: readonly string[]
  constructor(abilities: readonly string[], options: PermsErrorOptions = {}) {
    super(
      abilities.length > 0 ? message('apiKey.lacksAbility', { abilities: either(abilities.map(quoted)) }) : message('apiKey.notHere'),
      options,
    )
    this.abilities = abilities
  }
}

/**
 * 403: the password was right, but the account is disabled.
 *
 * @example if (error instanceof AccountDisabledError) showContactForm()
 */
export class AccountDisabledError extends ForbiddenError {
  override readonly code = 'account_disabled'
  constructor(text: string | Message = message('signIn.disabled'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 404: the row does not exist, or the caller may not see it.
 *
 * @example throw new NotFoundError('There is no report for this month.')
 */
export class NotFoundError extends PermsError {
  readonly status = 404
  readonly code = 'not_found'
  constructor(text: string | Message = message('row.notFound'), options: PermsErrorOptions = {}) {
    super(text, options)
  }
}

/**
 * 409: the row conflicts with another row. UniqueViolationError and StillReferencedError extend this class.
 *
 * @example throw new ConflictError('This order is already paid.')
 */
export class ConflictError extends PermsError {
  readonly status = 409
  readonly code: PermsErrorCode = 'conflict'
}

/**
 * 409: a unique value is taken. `errors` names the field.
 *
 * @example if (error instanceof UniqueViolationError) console.error(error.errors[0]?.field) // 'email'
 */
export class UniqueViolationError extends ConflictError {
  override readonly code = 'taken'
}

/**
 * 409: other rows still refer to this one.
 *
 * @example if (error instanceof StillReferencedError) console.error('Delete the rows that refer to it first.')
 */
export class StillReferencedError extends ConflictError {
  override readonly code = 'still_referenced'
}

/**
 * 412: the row has changed since the client read it (If-Match).
 *
 * @example if (error instanceof PreconditionFailedError) await reload()
 */
export class PreconditionFailedError extends PermsError {
  readonly status = 412
  readonly code = 'precondition_failed'
}

/**
 * 413: the body, or a part of it, is too large.
 *
 * @example throw new PayloadTooLargeError('Send at most 1000 rows.')
 */
export class PayloadTooLargeError extends PermsError {
  readonly status = 413
  readonly code = 'payload_too_large'
}

/**
 * 415: the endpoint does not read the content type of the body.
 *
 * @example throw new UnsupportedMediaTypeError('Send application/json.')
 */
export class UnsupportedMediaTypeError extends PermsError {
  readonly status = 415
  readonly code = 'unsupported_media_type'
}

/**
 * 422: the input is not valid. `errors` names each field.
 *
 * @example throw new ValidationError('The dates are in the wrong order.', [{ field: 'endsAt', message: 'must be after startsAt' }])
 */
export class ValidationError extends PermsError {
  readonly status = 422
  readonly code: PermsErrorCode = 'invalid'
  constructor(text: string | Message, options: PermsErrorOptions | readonly FieldProblem[] = {}) {
    super(text, Array.isArray(options) ? { errors: options } : (options as PermsErrorOptions))
  }
}

/**
 * 422: the input refers to a row that does not exist or that the caller may not see.
 *
 * @example if (error instanceof MissingReferenceError) console.error(error.errors[0]?.field) // 'ownerId'
 */
export class MissingReferenceError extends ValidationError {
  override readonly code = 'missing_reference'
}

/**
 * 422: a statement has more values than the database accepts. The message names the limit.
 *
 * @example if (error instanceof TooManyValuesError) await insertInBatches(rows)
 */
export class TooManyValuesError extends ValidationError {
  override readonly code = 'too_many_values'
}

/**
 * 429: too many attempts. `retryAfter` is the number of seconds to wait.
 *
 * @example if (error instanceof TooManyAttemptsError) console.error(`Wait ${error.retryAfter} seconds.`)
 */
export class TooManyAttemptsError extends PermsError {
  readonly status = 429
  readonly code = 'too_many_attempts'
}

/**
 * 503: the database or a queue is not available, or is overloaded.
 *
 * @example if (error instanceof ServiceUnavailableError) await retryLater(error.retryAfter)
 */
export class ServiceUnavailableError extends PermsError {
  readonly status = 503
  readonly code: PermsErrorCode = 'unavailable'
  constructor(text: string | Message = message('service.unavailable'), options: PermsErrorOptions = {}) {
    super(text, { retryAfter: 2, ...options })
  }
}

/**
 * 503: the secret of a user's authenticator app was encrypted with a key that initPerms({ jwt }) no longer lists, for example after
 * the secret was changed. `cause` tells the operator what to do. The user's recovery codes still work.
 *
 * @example if (error instanceof SecondFactorUnreadableError) console.error(error.cause)
 */
export class SecondFactorUnreadableError extends ServiceUnavailableError {
  override readonly code = 'second_factor_unreadable'
  constructor(text: string | Message = message('factor.unreadable'), options: PermsErrorOptions = {}) {
    super(text, { retryAfter: 300, ...options })
  }
}

/**
 * 500: `hasRole()` was called on a user whose roles are not loaded.
 *
 * @example if (error instanceof RolesNotLoadedError) await user.loadRoles()
 */
export class RolesNotLoadedError extends PermsError {
  readonly status = 500
  readonly code = 'roles_not_loaded'
  constructor(
    text = 'The roles of this user are not loaded: call `await user.loadRoles()`, or fetch it with User.get(), getBy() or withGraphFetched("roles").',
    options: PermsErrorOptions = {},
  ) {
    super(text, options)
  }
}

/**
 * 500: a query read or wrote protected data outside runAs(), asAnonymous() and asSystem().
 *
 * @example await asSystem(() => Post.query()) // without asSystem() this may throw NoContextError
 */
export class NoContextError extends PermsError {
  readonly status = 500
  readonly code = 'no_context'
  constructor(
    text = 'This code has no caller: wrap it in runAs(user, fn), asAnonymous(fn) or, if it is the application itself, asSystem(fn). Routes need authenticate() before them, also those that everyone may call.',
    options: PermsErrorOptions = {},
  ) {
    super(text, options)
  }
}

/**
 * 500: several runtimes are active, and the context of this code names none of them.
 *
 * @example await tenantB.run(() => asSystem(() => User.query())) // without run() this throws NoRuntimeError
 */
export class NoRuntimeError extends PermsError {
  readonly status = 500
  readonly code = 'no_runtime'
  constructor(
    text = 'Several databases are set up, and this code does not say which one it uses: wrap it in perms.run(fn), or pass a transaction.',
    options: PermsErrorOptions = {},
  ) {
    super(text, options)
  }
}

/**
 * 500: the runtime of this code was closed.
 *
 * @example if (error instanceof RuntimeClosedError) console.error('A job outlived perms.close().')
 */
export class RuntimeClosedError extends PermsError {
  readonly status = 500
  readonly code = 'runtime_closed'
  constructor(
    text = 'perms.close() has closed the runtime of this code: call close() after the last request and job, or call initPerms() again.',
    options: PermsErrorOptions = {},
  ) {
    super(text, options)
  }
}

/**
 * 500: a row, a query or a transaction of one runtime was used inside another one.
 *
 * @example await tenantB.run(() => userOfTenantA.save()) // throws RuntimeMismatchError
 */
export class RuntimeMismatchError extends PermsError {
  readonly status = 500
  readonly code = 'other_runtime'
  constructor(
    text = 'This row, query or transaction belongs to the database of another runtime: load it again inside perms.run(fn) of that runtime.',
    options: PermsErrorOptions = {},
  ) {
    super(text, options)
  }
}

/**
 * 500: the application uses the library in a way that cannot work. The message says what to write instead.
 *
 * @example throw new ConfigurationError('Set the environment variable JWT_SECRET.')
 */
export class ConfigurationError extends PermsError {
  readonly status = 500
  readonly code = 'configuration'
}

/**
 * 500: the database has no table for a model. The message says which migration creates it.
 *
 * @example if (error instanceof MissingTableError) console.error(error.table)
 */
export class MissingTableError extends ConfigurationError {
  /** The name of the table. The tables of the library are named without their schema. */
  readonly table: string

  constructor(table: string, text: string, options: PermsErrorOptions = {}) {
    super(text, options)
    this.table = table
  }
}
