import { ValidationError } from '../core/errors.js'
import { isStorableText } from './values.js'

export const UNSTORABLE_TEXT = 'may not contain NUL characters or unpaired surrogates'

/** Returns undefined for a string that is not blank, and an error message for all other values. */
export function textProblem(value: unknown): string | undefined {
  if (typeof value !== 'string') return value === undefined ? 'is required' : 'must be a string'
  return value.trim() === '' ? 'may not be blank' : undefined
}

/**
 * Returns the value if it is a string that is not blank.
 *
 * @throws ValidationError for other values
 * @example const token = requireText(req.body.token, 'token')
 */
export function requireText(value: unknown, field: string): string {
  const problem = textProblem(value)
  if (problem !== undefined) throw invalidField(field, problem)
  return value as string
}

/** Returns the value if it is a non-blank string that every database can store. @throws ValidationError for other values */
export function requireStorableText(value: unknown, field: string): string {
  const text = requireText(value, field)
  if (!isStorableText(text)) throw invalidField(field, UNSTORABLE_TEXT)
  return text
}

/** Returns the ValidationError of one field. */
export function invalidField(field: string, message: string): ValidationError {
  return new ValidationError(`${field} ${message}.`, [{ field, message }])
}
