import { isIP } from 'node:net'

/** The maximum number of characters of a user's text in a mail. */
const MAX_WORDS_LENGTH = 60
const LONGEST_SUBJECT = 200

/**
 * Returns the part of a user's text, such as the name of a role or domain, that is safe in a mail: letters, digits, blanks and
 * `-_()’`, at most 60 characters, on one line. Without dots, slashes, colons and `@`, mail programs do not turn it into a link.
 * Without `<`, `>`, `&` and quotes it is safe in HTML.
 *
 * @returns '' if nothing is left
 * @example plainWords('editor: see https://evil.example\nnow') // 'editor see https evil example now'
 */
export function plainWords(text: string): string {
  // Cuts the text before normalising it, so that long input takes no time.
  const words = text
    .slice(0, 4 * MAX_WORDS_LENGTH)
    .normalize('NFC')
    .replace(/['‘]/g, '’')
    .replace(/[^\p{L}\p{M}\p{N}_()’-]+/gu, ' ')
    .trim()
  const characters = Array.from(words)
  return characters.length > MAX_WORDS_LENGTH
    ? `${characters
        .slice(0, MAX_WORDS_LENGTH - 1)
        .join('')
        .trim()}…`
    : words
}

/** Returns a subject on one line, without control characters: a line break could start another header. */
export function subjectLine(text: string): string {
  return Array.from(
    text
      .slice(0, 4 * LONGEST_SUBJECT)
      .replace(/[\p{Cc}\p{Zl}\p{Zp}]+/gu, ' ')
      .trim(),
  )
    .slice(0, LONGEST_SUBJECT)
    .join('')
}

/** Returns a date and time in the format of mails: `2026-11-27 10:15 UTC`. */
export function formatDateTime(datetime: Date): string {
  return `${datetime.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** Returns the client address if it is an IP address: an adapter may pass other text from a header. */
export function networkAddress(address: string | undefined): string | undefined {
  return address !== undefined && isIP(address) !== 0 ? address : undefined
}
