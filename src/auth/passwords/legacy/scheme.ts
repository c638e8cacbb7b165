import { Buffer } from 'node:buffer'
import { timingSafeEqual } from 'node:crypto'
import { ConfigurationError } from '../../../core/errors.js'

/**
 * Verifies password hashes that another system made: an entry of `initPerms({ passwords: { legacy } })`. The package has `pbkdf2`,
 * `scrypt`, `firebaseScrypt`, `phpass` and `saltedDigest`; an application may write its own.
 *
 * Each password check calls either `verify` or `dummy` of every scheme, exactly once, whatever hash the user has. Both must take the
 * same time, for every stored text and every result, and must not block the event loop.
 *
 * @example
 * import { createHmac } from 'node:crypto'
 *
 * const keyed = (password: string) => createHmac('sha256', secret).update(password).digest('hex')
 * const oldShop: LegacyPasswordScheme = {
 *   name: 'old-shop',
 *   recognises: (stored) => /^hmac:[0-9a-f]{64}$/.test(stored),
 *   verify: async (password, stored) => stored === `hmac:${keyed(password)}`,
 *   dummy: async (password) => void keyed(password),
 * }
 */
export interface LegacyPasswordScheme {
  /** A name for messages and wrapped hashes: lower-case letters, digits and `-`, at most 32 characters. */
  readonly name: string
  /** Returns whether a stored text, of at most 2048 characters, has the form of this scheme. It must return false for hashes of others. */
  recognises(stored: string): boolean
  /**
   * Returns the name of the parameter of a recognised text that exceeds the bounds of the scheme, such as `'iterations'`; undefined if
   * there is none. No password matches such a text: `dummy` runs, and the name is logged once.
   */
  exceeds?(stored: string): string | undefined
  /**
   * Returns whether the password is the one of a recognised text. An error counts as no match.
   *
   * @param password the password as the user typed it, at most 4096 bytes in NFKC form
   */
  verify(password: string, stored: string): Promise<boolean>
  /** Does the work of one call of `verify`. */
  dummy(password: string): Promise<void>
  /** Set by schemes that are too fast to protect stolen hashes: lets `importUsers({ wrap: true })` hash the digests again. */
  readonly wrapping?: LegacyWrapping | undefined
}

/** How a fast digest is hashed again by the current hasher. */
export interface LegacyWrapping {
  /** Divides a recognised text. `setting` is what digest() needs besides the password: the salt. */
  split(stored: string): { readonly digest: string; readonly setting: string }
  /** Returns the digest of a password. It does the work of `verify`. */
  digest(password: string, setting: string): Promise<string>
}

/** The most characters of a stored text that a scheme looks at. */
export const MAX_STORED = 2048

/** Returns a function that reads a stored hash with the first reader that knows its format. */
export function readerOf<T>(readers: readonly ((stored: string) => T | undefined)[]): (stored: string) => T | undefined {
  return (stored) => {
    if (stored.length > MAX_STORED) return undefined
    for (const reader of readers) {
      const found = reader(stored)
      if (found) return found
    }
    return undefined
  }
}
/** The most bytes of a salt. */
export const MAX_SALT = 256
/** The fewest and the most bytes of a derived key. Fewer would match by chance. */
export const MIN_KEY = 16
export const MAX_KEY = 512

/** Compares secrets in a time that does not depend on their content. */
export function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Returns the bytes of Base64 text with or without padding, also of the alphabets with `-_` and with `.` in place of `+`. */
export function fromBase64(text: string): Buffer {
  return Buffer.from(text.replaceAll('.', '+'), 'base64')
}

/** Returns the name of the length that is out of bounds, if any. */
export function lengthProblem({ salt, key }: { readonly salt: Uint8Array; readonly key: Uint8Array }): string | undefined {
  if (salt.length > MAX_SALT) return 'salt length'
  return key.length < MIN_KEY || key.length > MAX_KEY ? 'key length' : undefined
}

/** @throws ConfigurationError for an option that is no whole number in the range */
export function assertOption(place: string, name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`${place}({ ${name}: ${value} }): ${name} must be a whole number from ${least} to ${most}.`)
}
