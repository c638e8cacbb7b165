import { Buffer } from 'node:buffer'
import { type FieldProblem, ValidationError } from '../../core/errors.js'
import { type Message, message } from '../../core/messages/message.js'

/** The maximum number of UTF-8 bytes of a new password in canonical form. */
export const MAX_PASSWORD_BYTES = 4096

// NFKC shortens a text by at most five UTF-16 units to three bytes. A longer text than this always exceeds MAX_PASSWORD_BYTES and
// need not be normalised.
const MAX_CODE_UNITS = Math.floor((MAX_PASSWORD_BYTES * 5) / 3)

export type PasswordText = { readonly text: string; readonly bytes: number } | { readonly problem: 'too long' | 'not text' }

/**
 * Returns the form of a password that is hashed: NFKC (NIST SP 800-63B-4, 3.1.1.2), so that other keyboards and systems give the
 * same password. It neither trims nor changes case.
 *
 * @example canonicalPassword('ﬁsh')   // { text: 'fish', bytes: 4 }
 */
export function canonicalPassword(password: string): PasswordText {
  if (password.length > MAX_CODE_UNITS) return { problem: 'too long' }
  // A lone surrogate has no UTF-8 form: different passwords would become the same bytes.
  if (/\p{Surrogate}/u.test(password)) return { problem: 'not text' }
  const text = password.normalize('NFKC')
  const bytes = Buffer.byteLength(text)
  return bytes > MAX_PASSWORD_BYTES ? { problem: 'too long' } : { text, bytes }
}

const PROBLEMS = {
  'too long': message('password.tooLong', { limit: MAX_PASSWORD_BYTES }),
  'not text': message('password.surrogate'),
}

/** Returns the canonical form of a new password. @throws ValidationError when it is too long or not valid Unicode text */
export function settablePassword(password: string): string {
  const canonical = canonicalPassword(password)
  if ('problem' in canonical) throw refusedPassword(PROBLEMS[canonical.problem])
  return canonical.text
}

/** Returns the ValidationError for a refused password. */
export function refusedPassword(problem: Message): ValidationError {
  const error: FieldProblem = { field: 'password', message: problem }
  return new ValidationError(problem, [error])
}
