import { explainPattern } from '../model/validator.js'

/**
 * The one form of an e-mail address that is stored and looked up: NFC, without blanks around, in lower case. Look-alikes
 * stay different.
 *
 * @example canonicalEmail(' Ada@Example.COM ') // 'ada@example.com'
 */
export function canonicalEmail(email: string): string {
  return email.normalize('NFC').trim().toLowerCase().normalize('NFC')
}

/** One @, something on both sides of it, a dot in the domain, no blanks: the confirmation mail tells the rest. */
export const EMAIL_PATTERN = explainPattern('^[^\\s@]+@[^\\s@.]+(\\.[^\\s@.]+)+$', 'must be an e-mail address')
