import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

const PREFIX = 'opk_'
const SECRET = 43
const CHECKSUM = 6
const FORM = new RegExp(`^${PREFIX}[0-9A-Za-z]{${SECRET + CHECKSUM}}$`)
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * A new API key: `opk_`, 256 bits of the CSPRNG and a checksum, all of letters and digits. Secret scanners find the prefix,
 * editors select it as one word, and one that was mistyped or made up is known without a look-up.
 */
export function newApiKey(): string {
  const secret = base62(BigInt(`0x${randomBytes(32).toString('hex')}`), SECRET)
  return `${PREFIX}${secret}${checksum(secret)}`
}

/** Whether a text has the form of an API key, and its checksum is right. Says nothing of whether there is such a key. */
export function isApiKey(text: unknown): text is string {
  if (typeof text !== 'string' || !FORM.test(text)) return false
  const secret = text.slice(PREFIX.length, PREFIX.length + SECRET)
  return text.endsWith(checksum(secret))
}

/** Whether a text claims to be an API key, well-formed or not. */
export function looksLikeApiKey(text: unknown): text is string {
  return typeof text === 'string' && text.startsWith(PREFIX)
}

function checksum(secret: string): string {
  return base62(BigInt(crc32(secret)), CHECKSUM)
}

function base62(number: bigint, length: number): string {
  let text = ''
  for (let rest = number; rest > 0n; rest /= 62n) text = digits[Number(rest % 62n)] + text
  return text.padStart(length, '0')
}

/** What is stored of an opaque token: SHA-256 is enough for 256 random bits. */
export function hashToken(plain: string): string {
  return createHash('sha256').update(plain, 'utf8').digest('hex')
}
