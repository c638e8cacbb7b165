import { ValidationError } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import { isStorableText } from './values.js'

export const UNSTORABLE_TEXT = message('field.storableText')

/** Returns undefined for a string that is not blank, and an error message for all other values. */
export function textProblem(value: unknown): Message | undefined {
  if (typeof value !== 'string') return value === undefined ? message('field.required') : message('field.string')
  return value.trim() === '' ? message('field.blank') : undefined
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
export function invalidField(field: string, problem: string | Message): ValidationError {
  return new ValidationError(message('input.fieldSentence', { field, problem }), [{ field, message: problem }])
}
