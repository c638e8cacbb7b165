import { Buffer } from 'node:buffer'
import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Stored passwords come in two forms.
 *
 *     $2b$12$<salt, 22 characters><hash, 31>                    passwords under 72 bytes without NUL
 *     $bcrypt-sha384$2b$12$<salt, 22 characters><hash, 31>      all others
 *
 * bcrypt reads 72 bytes, the NUL that ends the password included, and repeats shorter ones, so that 'a' and 'a\0a' are the
 * same to it. Passwords that this could touch go through HMAC-SHA-384 first, whose 48 bytes are 64 characters of base64.
 * The salt is its key, so that plain SHA-384 hashes stolen elsewhere cannot be tried against ours ("password shucking").
 */
const STORED = /^(\$bcrypt-sha384)?\$(2[aby])\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/** bcrypt's own limit on what it reads. */
const BCRYPT_BYTES = 72

/** The lowest cost that bcrypt knows, and the highest that a stored hash may ask for: 16 is sixteen times the work of 12. */
const MIN_STORED_COST = 4
export const MAX_COST = 16

export interface StoredHash {
  readonly prehashed: boolean
  /** `2b` is what is made today; `2a` and `2y` come from elsewhere. */
  readonly version: string
  /** The work is 2 to the power of this. */
  readonly cost: number
  /** What bcrypt takes as salt: `$2b$12$` and 22 characters. */
  readonly setting: string
  readonly hash: string
}

/** Reads a stored hash; undefined for everything that is no bcrypt hash of a bearable cost. */
export function parseStored(stored: unknown): StoredHash | undefined {
  const match = typeof stored === 'string' ? STORED.exec(stored) : null
  if (match === null) return undefined
  const [, marker, version = '', digits = '', salt = '', hash = ''] = match
  const cost = Number(digits)
  if (cost < MIN_STORED_COST || cost > MAX_COST) return undefined
  return { prehashed: marker !== undefined, version, cost, setting: `$${version}$${digits}$${salt}`, hash }
}

/** The form to store: what bcrypt gave, marked if the password was hashed before. */
export function formatStored(bcryptHash: string, prehashed: boolean): string {
  return prehashed ? `$bcrypt-sha384${bcryptHash}` : bcryptHash
}

/** Whether bcrypt alone would cut this password, or take it for another. */
export function needsPrehash(text: string): boolean {
  return text.includes('\0') || Buffer.byteLength(text) >= BCRYPT_BYTES
}

/** What bcrypt is given in the place of such a password. */
export function prehash(text: string, setting: string): string {
  return createHmac('sha384', setting.slice(-22)).update(text, 'utf8').digest('base64')
}

/**
 * Whether bcrypt's answer is the stored hash. Only the last 31 characters are compared: other libraries leave bits in the
 * salt's last character that mean nothing, and bcryptjs writes them back as zero.
 */
export function sameHash(bcryptHash: string, stored: StoredHash): boolean {
  return timingSafeEqual(Buffer.from(bcryptHash.slice(-31)), Buffer.from(stored.hash))
}
