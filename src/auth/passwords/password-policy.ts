import { ConfigurationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { assertBreachedRange, type BreachedRange, isInRange } from './breached-range.js'
import { commonPasswords, foldPassword } from './common-passwords.js'
import { refusedPassword, settablePassword } from './password-text.js'

export interface PasswordPolicy {
  /**
   * The minimum number of characters (Unicode code points), at least 8.
   *
   * @defaultValue 8
   */
  minLength?: number | undefined
  /**
   * A list of leaked passwords that is asked by range: it sees only five digits of a hash. Or a function that returns whether a
   * password is known from a leak; its errors reach the caller.
   */
  breached?: BreachedRange | ((password: string) => boolean | Promise<boolean>) | undefined
}

const MIN_LENGTH = 8
const MAX_MIN_LENGTH = 512

/** Throws for options that cannot work. @throws ConfigurationError */
export function assertPasswordPolicy(policy: PasswordPolicy = {}): void {
  minPasswordLength(policy)
  if (typeof policy.breached === 'object') assertBreachedRange(policy.breached)
}

/** Returns the minimum length of a policy. @throws ConfigurationError below 8 (ASVS 6.2.1) or above 512 */
export function minPasswordLength(policy: PasswordPolicy = {}): number {
  const value = policy.minLength ?? MIN_LENGTH
  if (Number.isInteger(value) && value >= MIN_LENGTH && value <= MAX_MIN_LENGTH) return value
  throw new ConfigurationError(`minLength: ${value}: must be ${MIN_LENGTH} to ${MAX_MIN_LENGTH} characters. Change it or leave it out.`)
}

/**
 * Throws when a text must not become a password: too short, over 4096 bytes, one of the most common ones, the user's e-mail address
 * (or the part before the @) or other identifier, or known from a leak. There are no rules about kinds of characters (NIST SP 800-63B-4, 3.1.1.2).
 *
 * @throws ValidationError for the field `password`, with a message for users
 * @throws ConfigurationError if `minLength` is out of range
 * @example await checkPasswordPolicy('correct horse battery', { identifiers: { email: 'ada@example.com' } })
 */
export async function checkPasswordPolicy(
  password: string,
  policy: PasswordPolicy & { identifiers?: Readonly<Record<string, string>> } = {},
): Promise<void> {
  const minLength = minPasswordLength(policy)
  if (typeof password !== 'string') throw refusedPassword(message('password.notText'))
  const text = settablePassword(password)
  // NFKC turns some single characters into many, and some sequences into one. The smaller count is the security-relevant one.
  if (Math.min(codePoints(password), codePoints(text)) < minLength) {
    throw refusedPassword(message('password.tooShort', { limit: minLength }))
  }
  const folded = foldPassword(text)
  for (const [name, value] of Object.entries(policy.identifiers ?? {})) {
    if (isIdentifier(folded, foldPassword(value.trim())))
      throw refusedPassword(message('password.identifier', { identifier: name === 'email' ? message('word.email') : name }))
  }
  if ((await commonPasswords()).has(folded)) {
    throw refusedPassword(message('password.common'))
  }
  if (policy.breached !== undefined && (await isBreached(text, policy.breached))) {
    throw refusedPassword(message('password.breached'))
  }
}

function isBreached(text: string, breached: NonNullable<PasswordPolicy['breached']>): boolean | Promise<boolean> {
  return typeof breached === 'function' ? breached(text) : isInRange(text, breached)
}

function codePoints(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

function isIdentifier(folded: string, value: string): boolean {
  const at = value.lastIndexOf('@')
  return folded === value || (at > 0 && folded === value.slice(0, at))
}
