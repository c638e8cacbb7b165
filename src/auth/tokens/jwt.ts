import { Buffer } from 'node:buffer'
import jsonwebtoken from 'jsonwebtoken'
import { ConfigurationError, InvalidTokenError } from '../../core/errors.js'
import type { JwtKey } from './key.js'
import type { KeySet, VerificationKeys } from './key-set.js'

/** The claims of a token. `sub` is the id of the user; times are seconds since 1970. */
export interface JwtClaims {
  readonly sub: string
  readonly exp: number
  readonly iat?: number | undefined
  readonly nbf?: number | undefined
  readonly iss?: string | undefined
  readonly aud?: string | readonly string[] | undefined
  readonly jti?: string | undefined
  readonly [claim: string]: unknown
}

/** The `typ` header of access tokens (RFC 9068, 2.1). */
export const ACCESS_TOKEN_TYPE = 'at+jwt'

/** In characters. Longer tokens are neither created nor parsed. */
export const MAX_TOKEN_LENGTH = 8192

/** The claims that come from the configuration and the clock. */
const RESERVED_CLAIMS = ['exp', 'iat', 'iss', 'aud'] as const

/** Headers that supply a key or change the signed text. They are refused (RFC 8725, 3.9 and 3.10). */
const REFUSED_HEADERS = ['crit', 'jku', 'jwk', 'x5u', 'x5c', 'b64']

/**
 * Signs a token with the first key that is not retired.
 *
 * @param options `expiresIn` in seconds; `typ` is the kind of token, which verifyJwt must receive too
 * @throws ConfigurationError when the claims include exp, iat, iss or aud, or the token is too long
 * @example signJwt(keys, { sub: user.id }, { expiresIn: 900, typ: 'at+jwt' })
 */
export function signJwt(
  keys: KeySet,
  claims: { readonly sub: string; readonly [claim: string]: unknown },
  options: { expiresIn: number; typ: string },
): string {
  const taken = RESERVED_CLAIMS.filter((claim) => claims[claim] !== undefined)
  if (taken.length > 0) throw new ConfigurationError(`The claims ${taken.join(', ')} are set by the library: leave them out.`)
  if (typeof claims.sub !== 'string' || claims.sub === '') throw new ConfigurationError('A token needs the claim sub: the id of its user.')
  if (!Number.isInteger(options.expiresIn) || options.expiresIn < 1) {
    throw new ConfigurationError(`expiresIn: ${options.expiresIn}: must be a whole number of seconds, 1 or more.`)
  }
  const { algorithm, kid, signKey } = keys.signing
  const token = jsonwebtoken.sign(claims, signKey, {
    algorithm,
    expiresIn: options.expiresIn,
    header: { alg: algorithm, typ: options.typ },
    ...(kid === undefined ? {} : { keyid: kid }),
    ...(keys.issuer === undefined ? {} : { issuer: keys.issuer }),
    ...(keys.audience === undefined ? {} : { audience: keys.audience }),
  })
  if (token.length > MAX_TOKEN_LENGTH) {
    throw new ConfigurationError(`The token would have ${token.length} characters, and the maximum is ${MAX_TOKEN_LENGTH}: remove claims.`)
  }
  return token
}

/**
 * Returns the claims of a token of the kind `typ` that one of the configured keys signed with its algorithm, that has not expired,
 * and that names the configured issuer and audience.
 *
 * @throws InvalidTokenError for every other token; `cause` has the reason, for logs
 * @example const { sub } = verifyJwt(keys, token, { typ: 'at+jwt' })
 */
export function verifyJwt(keys: KeySet, token: string, options: { typ: string }): JwtClaims {
  const { header, payload } = verifyCompact(keys, token)
  if (header.typ !== options.typ) throw refused(`typ is not ${options.typ}`)
  if (!isClaims(payload)) throw refused('sub or exp is missing, or a claim is of the wrong type')
  // RFC 7519, 4.1.3: refuse a token with an audience when none is configured.
  if (keys.audience === undefined && payload.aud !== undefined) throw refused('aud names another audience')
  return payload
}

type Header = Readonly<Record<string, unknown>>

// Base64url in its only canonical form (RFC 4648, 3.5): no padding, no other characters, and no unused bits in the last group.
// Otherwise one token could be spelled in several ways.
const BASE64URL_PART = '(?:[\\w-]{4})*(?:[\\w-]{4}|[\\w-][AQgw]|[\\w-]{2}[AEIMQUYcgkosw048])'
const COMPACT = new RegExp(`^${BASE64URL_PART}\\.${BASE64URL_PART}\\.${BASE64URL_PART}$`)

/** Returns the header and payload of a token with a valid signature. jsonwebtoken has checked exp, nbf, iss and aud where present. */
export function verifyCompact(keys: VerificationKeys, token: string): { header: Header; payload: unknown } {
  const header = readHeader(token)
  let reason: unknown = 'no configured key fits'
  for (const key of candidates(keys, header)) {
    try {
      const payload: unknown = jsonwebtoken.verify(token, key.verifyKey, {
        algorithms: [key.algorithm],
        clockTolerance: keys.leeway,
        ...(keys.issuer === undefined ? {} : { issuer: keys.issuer }),
        ...(keys.audience === undefined ? {} : { audience: keys.audience }),
      })
      return { header, payload }
    } catch (error) {
      reason = error
    }
  }
  throw refused(reason)
}

/** Returns the keys that may have signed the token: the key named by kid, or the keys without one; always with the key's algorithm. */
function candidates(keys: VerificationKeys, header: Header): readonly JwtKey[] {
  const { alg, kid } = header
  if (kid === undefined) return keys.withoutKid.filter((key) => key.algorithm === alg)
  const key = typeof kid === 'string' ? keys.byKid.get(kid) : undefined
  return key !== undefined && key.algorithm === alg ? [key] : []
}

function readHeader(token: string): Header {
  if (typeof token !== 'string' || token.length > MAX_TOKEN_LENGTH) throw refused('no text, or too long')
  if (!COMPACT.test(token)) throw refused('not three parts of base64url')
  let header: unknown
  try {
    header = JSON.parse(Buffer.from(token.slice(0, token.indexOf('.')), 'base64url').toString('utf8'))
  } catch (error) {
    throw refused(error)
  }
  if (typeof header !== 'object' || header === null || Array.isArray(header)) throw refused('the header is no object')
  const alien = REFUSED_HEADERS.find((name) => Object.hasOwn(header, name))
  if (alien !== undefined) throw refused(`the header ${alien} is not taken`)
  return header as Header
}

function isClaims(payload: unknown): payload is JwtClaims {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return false
  const { sub, exp, iat, nbf, jti } = payload as Record<string, unknown>
  const isTime = (value: unknown) => value === undefined || Number.isFinite(value)
  return (
    typeof sub === 'string' &&
    sub !== '' &&
    Number.isFinite(exp) &&
    isTime(iat) &&
    isTime(nbf) &&
    (jti === undefined || typeof jti === 'string')
  )
}

function refused(cause: unknown): InvalidTokenError {
  return new InvalidTokenError(undefined, { cause })
}
