import { message } from '../core/messages/message.js'
import { describePattern } from './validator.js'

/** The most characters of an e-mail address (RFC 5321, without the angle brackets). */
export const MAX_EMAIL_LENGTH = 254

/** The most characters that are accepted as input: an address with blanks around it. Normalising longer text would cost time. */
export const MAX_EMAIL_INPUT_LENGTH = 320

/** Characters that NFC turns into ASCII, such as the Kelvin sign. Text with one of them is not treated as an ASCII address. */
const becomesAscii = /[\u037e\u1fef\u212a]/

/**
 * Returns the form in which an e-mail address is stored and looked up: NFC, trimmed, in lower case. Characters that only look
 * alike stay different. Text of more than 320 characters is returned unchanged, since it fits no column.
 *
 * @example canonicalEmail(' Ada@Example.COM ') // 'ada@example.com'
 */
export function canonicalEmail(email: string): string {
  if (email.length > MAX_EMAIL_INPUT_LENGTH || becomesAscii.test(email)) return email
  return email.normalize('NFC').trim().toLowerCase().normalize('NFC')
}

const label = '[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?'

/**
 * The e-mail addresses of the HTML standard (`input type=email`), with at most 64 characters before the @ and a domain of two or
 * more labels that does not end in a number. Commas, quotes, brackets, blanks and control characters are not allowed: a mail
 * program could read the address as a list.
 */
export const EMAIL_PATTERN = describePattern(
  `^[A-Za-z0-9.!#$%&'*+/=?^_\`{|}~-]{1,64}@(?:${label}\\.)+(?![0-9]+$)${label}$`,
  message('field.email'),
)

const form = new RegExp(EMAIL_PATTERN)

/**
 * Returns whether a text is exactly one valid e-mail address.
 *
 * @example isEmailAddress('ada@example.com') // true
 * @example isEmailAddress('x1,victim@example.com') // false: a list
 */
export function isEmailAddress(text: unknown): text is string {
  return typeof text === 'string' && text.length <= MAX_EMAIL_LENGTH && form.test(text)
}

/**
 * Returns the mailbox of an address, for rate limits. The part after a `+` is removed, since providers deliver
 * `ada+1@example.com` and `ada+2@example.com` to one mailbox.
 *
 * @example mailboxOf('Ada+1@example.com') // 'ada@example.com'
 */
export function mailboxOf(email: string): string {
  const address = canonicalEmail(email)
  const at = address.lastIndexOf('@')
  const plus = address.indexOf('+')
  return plus > 0 && plus < at ? address.slice(0, plus) + address.slice(at) : address
}
