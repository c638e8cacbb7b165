import { PermsError } from '../model/errors.js'

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

/** 406: the client accepts none of the formats that there are. */
export class NotAcceptableError extends PermsError {
  readonly status = 406
  readonly code = 'not_acceptable'
  constructor(message = 'Answers are application/json: name it in Accept, or leave Accept out.') {
    super(message)
  }
}
