import { Buffer } from 'node:buffer'
import { type FieldError, ValidationError } from '../../core/errors.js'

/** UTF-8 bytes of the canonical form; more is refused when a password is set. */
export const MAX_PASSWORD_BYTES = 4096

// No UTF-16 text of more code units than this comes down to MAX_PASSWORD_BYTES under NFKC (five units for three bytes is the
// most that composition saves), so that longer ones need not be normalised to know.
const MAX_CODE_UNITS = Math.floor((MAX_PASSWORD_BYTES * 5) / 3)

export type PasswordText = { readonly text: string; readonly bytes: number } | { readonly problem: 'too long' | 'not text' }

/**
 * The form of a password that is hashed: NFKC (NIST SP 800-63B-4, 3.1.1.2), so that the same keys pressed on another
 * keyboard or system give the same password. Nothing is trimmed and no case is folded.
 *
 * @example canonicalPassword('ﬁsh')   // { text: 'fish', bytes: 4 }
 */
export function canonicalPassword(password: string): PasswordText {
  if (password.length > MAX_CODE_UNITS) return { problem: 'too long' }
  // A lone surrogate has no UTF-8 form: different ones would become the same bytes.
  if (/\p{Surrogate}/u.test(password)) return { problem: 'not text' }
  const text = password.normalize('NFKC')
  const bytes = Buffer.byteLength(text)
  return bytes > MAX_PASSWORD_BYTES ? { problem: 'too long' } : { text, bytes }
}

const PROBLEMS = {
  'too long': `The password is too long: use at most ${MAX_PASSWORD_BYTES} bytes.`,
  'not text': 'The password holds half a character (a lone UTF-16 surrogate): type it anew.',
}

/**
 * The canonical form of a password that is about to be set.
 *
 * @throws ValidationError if it is too long, or no valid Unicode text
 */
export function settablePassword(password: string): string {
  const canonical = canonicalPassword(password)
  if ('problem' in canonical) throw refusedPassword(PROBLEMS[canonical.problem])
  return canonical.text
}

/** The error for a password that may not be set, naming the field. */
export function refusedPassword(message: string): ValidationError {
  const error: FieldError = { field: 'password', message }
  return new ValidationError(message, [error])
}
