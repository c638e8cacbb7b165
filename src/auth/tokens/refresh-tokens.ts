import { Buffer } from 'node:buffer'
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import { deriveKeys } from './derived-keys.js'
import type { KeySet } from './key-set.js'

/** What a refresh token says, once it has proved to be one of ours. */
export interface RefreshToken {
  readonly sessionId: string
  /** 256 bits: at random for the first of a session, derived for its successors. */
  readonly secret: Buffer
  /** Which of the server's keys made it. */
  readonly key: number
}

const PREFIX = 'rt_'
const SECRET_BYTES = 32
const TAG_BYTES = 16
const MAX_LENGTH = 512
const FORM = /^rt_[\w-]+$/

/**
 * Makes, reads and succeeds refresh tokens: `rt_` and, in base64url, a secret, a tag, and the session's id.
 *
 * The tag, an HMAC with a key of the server's, tells a token that was really handed out from one that somebody made up. So an
 * old one that comes back is known for what it is without any record of it. The successor's secret is an HMAC of the
 * token's own: two tabs that use one token get the same successor, and whoever reads the database can make none.
 */
export class RefreshTokens {
  readonly #tagKeys: readonly [Buffer, ...Buffer[]]
  readonly #nextKeys: readonly Buffer[]

  constructor(keys: KeySet) {
    this.#tagKeys = deriveKeys(keys, 'refresh token tag')
    this.#nextKeys = deriveKeys(keys, 'refresh token successor')
  }

  /** The secret of a session's first token. */
  newSecret(): Buffer {
    return randomBytes(SECRET_BYTES)
  }

  /** The token as it is handed out, tagged with the key that signs now. */
  format(sessionId: string, secret: Buffer): string {
    const tag = tagOf(this.#tagKeys[0], sessionId, secret)
    return `${PREFIX}${Buffer.concat([secret, tag, Buffer.from(sessionId)]).toString('base64url')}`
  }

  /** What a token says; null for whatever was not made by `format` with a key that is still configured. */
  parse(text: unknown): RefreshToken | null {
    if (typeof text !== 'string' || text.length > MAX_LENGTH || !FORM.test(text)) return null
    const bytes = Buffer.from(text.slice(PREFIX.length), 'base64url')
    // One spelling each: what Buffer skips or leaves over is not ours.
    if (bytes.length <= SECRET_BYTES + TAG_BYTES || bytes.toString('base64url') !== text.slice(PREFIX.length)) return null
    const secret = bytes.subarray(0, SECRET_BYTES)
    const tag = bytes.subarray(SECRET_BYTES, SECRET_BYTES + TAG_BYTES)
    const sessionId = bytes.subarray(SECRET_BYTES + TAG_BYTES).toString('utf8')
    const key = this.#tagKeys.findIndex((candidate) => timingSafeEqual(tag, tagOf(candidate, sessionId, secret)))
    return key < 0 ? null : { sessionId, secret, key }
  }

  /**
   * The secret of the one successor. It comes of the key that the token itself was made with: while a new key is being
   * rolled out, processes that know it and processes that do not agree.
   */
  successor(token: RefreshToken): Buffer {
    return successorBy(this.#nextKeys[token.key] as Buffer, token)
  }

  /** The successor whose hash is the one given, whichever of the server's keys made it; null where it is none of this token's. */
  successorWithHash(token: RefreshToken, hash: string): Buffer | null {
    return this.#nextKeys.map((key) => successorBy(key, token)).find((secret) => hashSecret(secret) === hash) ?? null
  }
}

function successorBy(key: Buffer, { sessionId, secret }: RefreshToken): Buffer {
  return createHmac('sha256', key).update(secret).update(sessionId).digest()
}

/**
 * What is stored. The leading byte is in no UTF-8 text, so that a secret cannot be presented as an opaque token of another kind:
 * of those the hash of the text is stored.
 */
export function hashSecret(secret: Buffer): string {
  return createHash('sha256').update(Buffer.of(0xff)).update(secret).digest('hex')
}

function tagOf(key: Buffer, sessionId: string, secret: Buffer): Buffer {
  return createHmac('sha256', key).update(secret).update(sessionId).digest().subarray(0, TAG_BYTES)
}
