import { explainPattern } from './validator.js'

/** Characters of the longest e-mail address that can be delivered to (RFC 5321, with the angle brackets left out). */
export const MAX_EMAIL_LENGTH = 254

/** Longer text is no address with blanks around it: it is not normalised, which costs time. */
const MAX_INPUT_LENGTH = 320

/** The Kelvin sign and others, which NFC turns into ASCII characters: text with them is no spelling of an ASCII address. */
const becomesAscii = /[\u037e\u1fef\u212a]/

/**
 * Returns the form of an e-mail address that is stored and looked up: NFC, trimmed, in lower case. Look-alikes stay different.
 * Text of more than 320 characters is returned as it is: no column and no look-up takes it.
 *
 * @example canonicalEmail(' Ada@Example.COM ') // 'ada@example.com'
 */
export function canonicalEmail(email: string): string {
  if (email.length > MAX_INPUT_LENGTH || becomesAscii.test(email)) return email
  return email.normalize('NFC').trim().toLowerCase().normalize('NFC')
}

const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?'

/**
 * The addresses of the HTML standard (`input type=email`), with at most 64 characters before the @, and a domain of two labels
 * or more that does not end in a number. Commas, quotes, brackets, blanks and control characters are never part of one, so that no mail program
 * reads an address as a list.
 */
export const EMAIL_PATTERN = explainPattern(
  `^[A-Za-z0-9.!#$%&'*+/=?^_\`{|}~-]{1,64}@(?:${label}\\.)+(?![0-9]+$)${label}$`,
  'must be an e-mail address',
)

const form = new RegExp(EMAIL_PATTERN)

/**
 * Tells whether a text is exactly one e-mail address that mail can be sent to.
 *
 * @example isEmailAddress('ada@example.com') // true
 * @example isEmailAddress('x1,victim@example.com') // false: a list
 */
export function isEmailAddress(text: unknown): text is string {
  return typeof text === 'string' && text.length <= MAX_EMAIL_LENGTH && form.test(text)
}

/**
 * Returns the mailbox that an address belongs to, for limits: what follows a `+` before the @ is left out, since providers
 * deliver `ada+1@example.com` and `ada+2@example.com` to one mailbox.
 */
export function mailboxOf(email: string): string {
  const address = canonicalEmail(email)
  const at = address.lastIndexOf('@')
  const plus = address.indexOf('+')
  return plus > 0 && plus < at ? address.slice(0, plus) + address.slice(at) : address
}
