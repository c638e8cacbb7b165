import { ValidationError as ObjectionValidationError } from 'objection'
import { type FieldError, ValidationError } from '../core/errors.js'

/**
 * Returns the fields that the `data` of an Objection ValidationError names, one message each. Objection documents
 * `{ field: [{ message, keyword, params }] }`; a single entry and plain text are read too.
 */
function fieldErrors(data: unknown): FieldError[] {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return []
  return Object.entries(data).flatMap(([field, said]) => {
    const [first] = [said].flat() as unknown[]
    const message = typeof first === 'string' ? first : (first as { message?: unknown } | null | undefined)?.message
    return typeof message === 'string' ? [{ field, message }] : []
  })
}

/** Returns the library's error for what Objection passes to `createValidationError()`: plugins such as objection-unique call it too. */
export function validationErrorOf({ message, data }: { message?: string | undefined; data?: unknown }, cause?: unknown): ValidationError {
  const errors = fieldErrors(data)
  const told = errors.map((one) => `${one.field}: ${one.message}`).join(', ')
  return new ValidationError(message || told || 'The input is not valid.', { errors, ...(cause === undefined ? {} : { cause }) })
}

/** Returns the library's error for a ValidationError of Objection's, of any type; other errors as they are. */
export function mapObjectionError(error: unknown): unknown {
  return error instanceof ObjectionValidationError ? validationErrorOf({ message: error.message, data: error.data }, error) : error
}
