import { Buffer } from 'node:buffer'
import { createHmac, timingSafeEqual } from 'node:crypto'

/**
 * Stored passwords have one of two forms.
 *
 *     $2b$12$<salt, 22 characters><hash, 31>                    passwords under 72 bytes without NUL
 *     $bcrypt-sha384$2b$12$<salt, 22 characters><hash, 31>      all others
 *
 * bcrypt reads 72 bytes, including a NUL at the end, and repeats shorter input: 'a' and 'a\0a' give the same hash. Passwords that
 * this would affect are hashed with HMAC-SHA-384 first, whose 48 bytes are 64 characters of base64. The salt is the HMAC key, so
 * that plain SHA-384 hashes stolen elsewhere cannot be tried against the stored hashes ("password shucking").
 */
const STORED = /^(\$bcrypt-sha384)?\$(2[abxy])\$(\d\d)\$([./A-Za-z0-9]{22})([./A-Za-z0-9]{31})$/

/** The number of bytes that bcrypt reads. */
const BCRYPT_BYTES = 72

/** The lowest cost of bcrypt, and the highest that a stored hash may have: 16 takes sixteen times as long as 12. */
const MIN_STORED_COST = 4
export const MAX_COST = 16

export interface StoredHash {
  readonly prehashed: boolean
  /**
   * `2b` is the current version; `2a` and `2y` are made by other libraries. `2x` marks hashes of an old crypt_blowfish, which confused
   * characters outside ASCII; other passwords have the same hash.
   */
  readonly version: string
  /** The binary logarithm of the work. */
  readonly cost: number
  /** The salt argument of bcrypt: `$2b$12$` and 22 characters. */
  readonly setting: string
  readonly hash: string
}

/** Parses a stored hash; undefined for other text and for a cost that is too high. */
export function parseStored(stored: unknown): StoredHash | undefined {
  const match = typeof stored === 'string' ? STORED.exec(stored) : null
  if (match === null) return undefined
  const [, marker, version = '', digits = '', salt = '', hash = ''] = match
  const cost = Number(digits)
  if (cost < MIN_STORED_COST || cost > MAX_COST) return undefined
  const setting = `$${version === '2x' ? '2b' : version}$${digits}$${salt}`
  return { prehashed: marker !== undefined, version, cost, setting, hash }
}

/** Returns the form to store: the bcrypt hash, with a prefix if the password was hashed before. */
export function formatStored(bcryptHash: string, prehashed: boolean): string {
  return prehashed ? `$bcrypt-sha384${bcryptHash}` : bcryptHash
}

/** Returns whether an unmarked hash can be the one of this password. */
export function canRepresent(text: string, { version }: StoredHash): boolean {
  // Implementations of bcrypt treat NUL as the end or as a part of the password.
  return !text.includes('\0') && (version !== '2x' || /^\p{ASCII}*$/u.test(text))
}

/** Returns whether bcrypt would truncate this password or confuse it with another. */
export function needsPrehash(text: string): boolean {
  return text.includes('\0') || Buffer.byteLength(text) >= BCRYPT_BYTES
}

/** Returns the input of bcrypt for such a password. */
export function prehash(text: string, setting: string): string {
  return createHmac('sha384', setting.slice(-22)).update(text, 'utf8').digest('base64')
}

/**
 * Returns whether the result of bcrypt equals the stored hash. It compares only the last 31 characters: other libraries set unused
 * bits in the last character of the salt, which bcryptjs writes back as zero.
 */
export function sameHash(bcryptHash: string, stored: StoredHash): boolean {
  return timingSafeEqual(Buffer.from(bcryptHash.slice(-31)), Buffer.from(stored.hash))
}
