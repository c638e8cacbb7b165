import { createHash, randomBytes } from 'node:crypto'
import { crc32 } from 'node:zlib'

const PREFIX = 'opk_'
const SECRET = 43
const CHECKSUM = 6
const FORM = new RegExp(`^${PREFIX}[0-9A-Za-z]{${SECRET + CHECKSUM}}$`)
const digits = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/**
 * Returns a new API key: `opk_`, 256 random bits and a checksum, in letters and digits. Secret scanners find the prefix, a double
 * click selects the whole key, and the checksum rejects mistyped keys without a query.
 */
export function newApiKey(): string {
  const secret = base62(BigInt(`0x${randomBytes(32).toString('hex')}`), SECRET)
  return `${PREFIX}${secret}${checksum(secret)}`
}

/** Returns whether a text has the form of an API key and a correct checksum. It does not check whether the key exists. */
export function isApiKey(text: unknown): text is string {
  if (typeof text !== 'string' || !FORM.test(text)) return false
  const secret = text.slice(PREFIX.length, PREFIX.length + SECRET)
  return text.endsWith(checksum(secret))
}

/** Returns whether a text starts like an API key, well-formed or not. */
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

/** Returns the hash that the database stores for an opaque token. SHA-256 is enough for 256 random bits. */
export function hashToken(plain: string): string {
  return createHash('sha256').update(plain, 'utf8').digest('hex')
}
