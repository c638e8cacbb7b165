import { ConfigurationError } from '../../core/errors.js'
import { commonPasswords, foldPassword } from './common-passwords.js'
import { refusedPassword, settablePassword } from './password-text.js'

export interface PasswordPolicy {
  /** Characters (Unicode code points): 8 when not said, and never less. */
  minLength?: number | undefined
  /**
   * Whether a password is known from a leak, for example by asking a service. What it throws goes to the caller: catch
   * inside it to let passwords pass while the service is down.
   */
  breached?: ((password: string) => boolean | Promise<boolean>) | undefined
}

const MIN_LENGTH = 8
const MAX_MIN_LENGTH = 512

/**
 * The minimum length that a policy asks for.
 *
 * @throws ConfigurationError below 8 (ASVS 6.2.1), or so high that no password would do
 */
export function minPasswordLength(policy: PasswordPolicy = {}): number {
  const value = policy.minLength ?? MIN_LENGTH
  if (Number.isInteger(value) && value >= MIN_LENGTH && value <= MAX_MIN_LENGTH) return value
  throw new ConfigurationError(`minLength: ${value}: set ${MIN_LENGTH} to ${MAX_MIN_LENGTH} characters, or leave it out.`)
}

/**
 * Refuses what must not become a password: too short, over 4096 bytes, one of the most common ones, one's own e-mail address
 * (or the part before the @), or known from a leak. There are no rules about kinds of characters (NIST SP 800-63B-4, 3.1.1.2).
 *
 * @throws ValidationError naming the field `password`, with a message for people
 * @throws ConfigurationError if `minLength` is below 8
 * @example await checkPasswordPolicy('correct horse battery', { email: 'ada@example.com' })
 */
export async function checkPasswordPolicy(
  password: string,
  policy: PasswordPolicy & { email?: string | null | undefined } = {},
): Promise<void> {
  const minLength = minPasswordLength(policy)
  if (typeof password !== 'string') throw refusedPassword('The password must be text.')
  const text = settablePassword(password)
  // Some single characters become many under NFKC, and some sequences one: the lesser count is what a guesser faces.
  if (Math.min(codePoints(password), codePoints(text)) < minLength) {
    throw refusedPassword(`The password is too short: use at least ${minLength} characters.`)
  }
  const folded = foldPassword(text)
  if (policy.email && isOwnAddress(folded, foldPassword(policy.email.trim()))) {
    throw refusedPassword('The password is your e-mail address: choose another.')
  }
  if ((await commonPasswords()).has(folded)) {
    throw refusedPassword('The password is one of the most common ones: choose another.')
  }
  if (policy.breached !== undefined && (await policy.breached(text))) {
    throw refusedPassword('The password is known from a data breach: choose another.')
  }
}

function codePoints(text: string): number {
  let count = 0
  for (const _ of text) count++
  return count
}

function isOwnAddress(folded: string, email: string): boolean {
  const at = email.lastIndexOf('@')
  return folded === email || (at > 0 && folded === email.slice(0, at))
}
