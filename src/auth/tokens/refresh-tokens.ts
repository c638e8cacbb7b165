import { Buffer } from 'node:buffer'
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { deriveKeys } from './derived-keys.js'
import type { KeySet } from './key-set.js'

/** The parts of an authentic refresh token. */
export interface RefreshToken {
  readonly sessionId: string
  /** 256 bits: random for the first token of a session, derived for its successors. */
  readonly secret: Buffer
  /** The index of the server key that made it. */
  readonly key: number
}

const PREFIX = 'rt_'
const SECRET_BYTES = 32
const TAG_BYTES = 16
const MAX_LENGTH = 512
const FORM = /^rt_[\w-]+$/

/**
 * Creates and parses refresh tokens and derives their successors. A token is `rt_` and, in base64url, a secret, a tag and the
 * session id.
 * The tag is an HMAC with a server key. It distinguishes a token that was issued from an invented one, so that a reused old token
 * is recognised without storing it. The successor's secret is an HMAC of the token's secret: two browser tabs that use one token
 * get the same successor, and read access to the database is not enough to make one.
 */
export class RefreshTokens {
  readonly #tagKeys: readonly [Buffer, ...Buffer[]]
  readonly #nextKeys: readonly Buffer[]

  constructor(keys: KeySet) {
    this.#tagKeys = deriveKeys(keys, 'refresh token tag')
    this.#nextKeys = deriveKeys(keys, 'refresh token successor')
  }

  /** Returns the secret of a session's first token. */
  newSecret(): Buffer {
    return randomBytes(SECRET_BYTES)
  }

  /** Returns the token text, with the tag of the current signing key. */
  format(sessionId: string, secret: Buffer): string {
    const tag = tagOf(this.#tagKeys[0], sessionId, secret)
    return `${PREFIX}${Buffer.concat([secret, tag, Buffer.from(sessionId)]).toString('base64url')}`
  }

  /** Parses a token; null unless `format` made it with a configured key. */
  parse(text: unknown): RefreshToken | null {
    if (typeof text !== 'string' || text.length > MAX_LENGTH || !FORM.test(text)) return null
    const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
    // Accepts one spelling only: Buffer ignores invalid characters and trailing bits.
    if (bytes.length <= SECRET_BYTES + TAG_BYTES || bytes.toString('base64url') !== text.slice(PREFIX.length)) return null
    const secret = bytes.subarray(0, SECRET_BYTES)
    const tag = bytes.subarray(SECRET_BYTES, SECRET_BYTES + TAG_BYTES)
    const sessionId = bytes.subarray(SECRET_BYTES + TAG_BYTES).toString('utf8')
    const key = this.#tagKeys.findIndex((candidate) => timingSafeEqual(tag, tagOf(candidate, sessionId, secret)))
    return key < 0 ? null : { sessionId, secret, key }
  }

  /**
   * Returns the secret of the only successor, derived with the key that made the token. During a key rotation old and new processes
   * agree on it.
   */
  successor(token: RefreshToken): Buffer {
    return successorBy(this.#nextKeys[token.key] as Buffer, token)
  }

  /**
   * Returns the successor with the given hash, made with any of the server keys; null when the hash belongs to no successor of this
   * token.
   */
  successorWithHash(token: RefreshToken, hash: string): Buffer | null {
    return this.#nextKeys.map((key) => successorBy(key, token)).find((secret) => hashSecret(secret) === hash) ?? null
  }
}

function successorBy(key: Buffer, { sessionId, secret }: RefreshToken): Buffer {
  return createHmac('sha256', key).update(secret).update(sessionId).digest()
}

/**
 * Returns the stored hash of a secret. The leading byte occurs in no UTF-8 text, so that a secret cannot be used as an opaque
 * token, whose text is hashed.
 */
export function hashSecret(secret: Buffer): string {
  return createHash('sha256').update(Buffer.of(0xff)).update(secret).digest('hex')
}

function tagOf(key: Buffer, sessionId: string, secret: Buffer): Buffer {
  return createHmac('sha256', key).update(secret).update(sessionId).digest().subarray(0, TAG_BYTES)
}
