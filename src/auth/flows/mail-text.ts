import { isIP } from 'node:net'

/** Characters of a user's text that a mail shows. */
const LONGEST_WORDS = 60
const LONGEST_SUBJECT = 200

/**
 * Returns what a mail may show of text that a user wrote, such as the name of a role or a domain: letters, digits, blanks and
 * `-_()’`, 60 characters at most, on one line. Without dots, slashes, colons and `@` no mail program makes a link of it; without `<`, `>`,
 * `&` and quotes it is also safe in HTML.
 *
 * @returns '' if nothing is left
 * @example plainWords('editor: see https://evil.example\nnow') // 'editor see https evil example now'
 */
export function plainWords(text: string): string {
  // Bounded before it is normalised: time is for what is shown.
  const words = text
    .slice(0, 4 * LONGEST_WORDS)
    .normalize('NFC')
    .replace(/['‘]/g, '’')
    .replace(/[^\p{L}\p{M}\p{N}_()’-]+/gu, ' ')
    .trim()
  const characters = Array.from(words)
  return characters.length > LONGEST_WORDS
    ? `${characters
        .slice(0, LONGEST_WORDS - 1)
        .join('')
        .trim()}…`
    : words
}

/** Returns a subject on one line, without control characters, so that no further header can begin in it. */
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

/** Returns a moment as mails show it: `2026-11-27 10:15 UTC`. */
export function momentText(moment: Date): string {
  return `${moment.toISOString().slice(0, 16).replace('T', ' ')} UTC`
}

/** Returns a client's address if it is an IP address; what else an adapter passes on may be text from a header. */
export function networkAddress(address: string | undefined): string | undefined {
  return address !== undefined && isIP(address) !== 0 ? address : undefined
}
