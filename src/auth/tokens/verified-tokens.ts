import { hash } from 'node:crypto'
import { LruMap } from '../../core/lru-map.js'
import { ACCESS_TOKEN_TYPE, type JwtClaims, MAX_TOKEN_LENGTH, verifyJwt } from './jwt.js'
import type { KeySet } from './key-set.js'

/** The most tokens that are remembered. */
const MAX_TOKENS = 10_000

/**
 * Verifies access tokens, and remembers the claims of those that it has verified, since clients send a token many times. The memory ends
 * with the keys: another configuration has its own. It says nothing about sessions, which each request checks in the database.
 */
export class VerifiedTokens {
  readonly #keys: KeySet
  /** By the hash of the whole token, so that the memory of the process holds no tokens. */
  readonly #claims = new LruMap<string, JwtClaims>(MAX_TOKENS)

  constructor(keys: KeySet) {
    this.#keys = keys
  }

  /** Returns the claims of a token. Callers share the object: copy it before it leaves the library. @throws InvalidTokenError */
  claimsOf(token: string): JwtClaims {
    // verifyJwt() refuses it. An unbounded text must not be hashed.
    if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) return this.#verify(token)
    const key = hash('sha256', token, 'base64url')
    const known = this.#claims.get(key)
    if (known && this.#isCurrent(known)) return known
    this.#claims.delete(key)
    const claims = this.#verify(token)
    this.#claims.set(key, claims)
    return claims
  }

  #verify(token: string): JwtClaims {
    return verifyJwt(this.#keys, token, { typ: ACCESS_TOKEN_TYPE })
  }

  // Whether jsonwebtoken would still accept the times.
  #isCurrent({ exp, nbf }: JwtClaims): boolean {
    const now = Math.floor(Date.now() / 1000)
    const { leeway } = this.#keys
    return now < exp + leeway && (nbf === undefined || nbf <= now + leeway)
  }
}
