import { ValidationError as ObjectionValidationError } from 'objection'
import { type FieldProblem, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'

/**
 * Reads the field errors from `data` of an Objection ValidationError, one message per field. Objection documents
 * `{ field: [{ message, keyword, params }] }`. A single entry and plain text are accepted too.
 */
function fieldErrors(data: unknown): FieldProblem[] {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) return []
  return Object.entries(data).flatMap(([field, entries]) => {
    const [first] = [entries].flat()
    const problem = typeof first === 'string' ? first : (first as { message?: unknown } | null | undefined)?.message
    return typeof problem === 'string' ? [{ field, message: problem }] : []
  })
}

/** Converts the argument of Objection's `createValidationError()`, which plugins such as objection-unique call too. */
export function validationErrorOf(
  { message: text, data }: { message?: string | undefined; data?: unknown },
  cause?: unknown,
): ValidationError {
  const errors = fieldErrors(data)
  const summary = errors.map((one) => `${one.field}: ${one.message}`).join(', ')
  return new ValidationError(text || summary || message('input.invalid'), { errors, ...(cause === undefined ? {} : { cause }) })
}

const noted = new WeakMap<object, { message?: string | undefined; data?: unknown }>()

/** Marks an error that the application's own createValidationError() made, so that a response names its fields. Returns the error. */
export function noteValidationError(error: Error, props: { message?: string | undefined; data?: unknown }): Error {
  noted.set(error, props)
  return error
}

/** Converts a ValidationError of Objection to the library's. Returns other errors unchanged. */
export function mapObjectionError(error: unknown): unknown {
  const own = typeof error === 'object' && error !== null ? noted.get(error) : undefined
  if (own) return validationErrorOf({ ...own, message: own.message ?? (error as Error).message }, error)
  return error instanceof ObjectionValidationError ? validationErrorOf({ message: error.message, data: error.data }, error) : error
}
