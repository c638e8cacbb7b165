import type { JsonWebKey } from 'node:crypto'
import { ConfigurationError } from '../../core/errors.js'
import { type JwtKey, type JwtKeyOptions, parseKey } from './key.js'
import type { RememberMeOptions } from './session-life.js'

export interface JwtOptions {
  /** The HS256 key, as UTF-8 text of at least 32 bytes. Use either this or `keys`. */
  secret?: string | undefined
  /** Several keys, or other algorithms. The first key that is not retired signs; all verify. */
  keys?: readonly JwtKeyOptions[] | undefined
  /**
   * In seconds.
   *
   * @defaultValue 900
   */
  accessTokenExpires?: number | undefined
  /**
   * In seconds.
   *
   * @defaultValue 2592000 (30 days)
   */
  refreshTokenExpires?: number | undefined
  /**
   * Seconds after which a session ends even if it is refreshed.
   *
   * @defaultValue 7776000 (90 days), or `refreshTokenExpires` if that is longer
   */
  sessionExpires?: number | undefined
  /**
   * Lets clients choose at sign-in how long their session lasts, with `remember` or `sessionExpires`. A sign-in without a choice gets
   * `min`.
   *
   * @defaultValue clients cannot choose
   */
  rememberMe?: RememberMeOptions | undefined
  /**
   * Adds `auth_time` and `amr` to access tokens, for services that verify the tokens themselves. This library reads the session.
   *
   * @defaultValue false
   */
  authTimeClaims?: boolean | undefined
  /** The `iss` claim that every token gets and must have. */
  issuer?: string | undefined
  /** The `aud` claim that every token gets and must have. */
  audience?: string | undefined
  /**
   * Seconds by which clocks may differ, at most 60.
   *
   * @defaultValue 0
   */
  leeway?: number | undefined
}

/** Parsed keys that verify tokens, and the claims that the tokens must have. */
export interface VerificationKeys {
  readonly keys: readonly JwtKey[]
  readonly byKid: ReadonlyMap<string, JwtKey>
  /** Keys that verify tokens without `kid`. */
  readonly withoutKid: readonly JwtKey[]
  readonly issuer: string | undefined
  readonly audience: string | undefined
  /** In seconds. */
  readonly leeway: number
}

/** The parsed and validated token configuration. `keys` includes the signing key. */
export interface KeySet extends VerificationKeys {
  readonly signing: JwtKey & { readonly signKey: NonNullable<JwtKey['signKey']> }
  readonly accessTokenExpires: number
  readonly refreshTokenExpires: number
}

/** In seconds. */
export const DEFAULT_REFRESH_LIFE = 2_592_000

const MAX_LEEWAY = 60
const TEN_YEARS = 315_360_000

/**
 * Parses the keys and times for tokens.
 * To rotate keys, put the new key first and mark the old one `retired: true`. Remove it after the last token that it signed has
 * expired.
 *
 * @throws ConfigurationError when there is no key, a key is too weak, or a time is out of range; the message says how to make a key
 * @example
 * const keys = parseKeys({ secret: process.env.JWT_SECRET })
 * const rotated = parseKeys({
 *   keys: [
 *     { kid: '2', algorithm: 'HS256', secret: process.env.NEW_SECRET },
 *     { kid: '1', algorithm: 'HS256', secret: process.env.OLD_SECRET, retired: true },
 *   ],
 * })
 */
export function parseKeys(options: JwtOptions): KeySet {
  const verification = parseVerificationKeys(options, 'jwt')
  const signing = verification.keys.find((key) => !key.retired)
  if (signing === undefined) throw new ConfigurationError('jwt.keys: every key is retired. Add a key that signs as the first one.')
  const { signKey } = signing
  if (signKey === undefined) {
    throw new ConfigurationError('jwt.keys: the first key that is not retired signs, and has no privateKey: add one, or retire it.')
  }
  return {
    ...verification,
    signing: { ...signing, signKey },
    accessTokenExpires: seconds('accessTokenExpires', options.accessTokenExpires ?? 900, 1, TEN_YEARS),
    refreshTokenExpires: seconds('refreshTokenExpires', options.refreshTokenExpires ?? DEFAULT_REFRESH_LIFE, 1, TEN_YEARS),
  }
}

/**
 * Parses keys that verify tokens. None of them has to be able to sign.
 *
 * @param at the name of the option for messages: `jwt`, `jwt.legacyTokens`
 * @throws ConfigurationError when there is no key, a key is too weak, or two keys have one `kid`
 */
export function parseVerificationKeys(
  options: Pick<JwtOptions, 'secret' | 'keys' | 'issuer' | 'audience' | 'leeway'>,
  at: string,
): VerificationKeys {
  const keys = readKeys(options, at)
  const byKid = new Map<string, JwtKey>()
  for (const key of keys) {
    if (key.kid === undefined) continue
    if (byKid.has(key.kid)) throw new ConfigurationError(`${at}.keys: two keys have the kid '${key.kid}'; give each its own.`)
    byKid.set(key.kid, key)
  }
  return {
    keys,
    byKid,
    withoutKid: keys.length === 1 ? keys : keys.filter((key) => key.kid === undefined),
    issuer: name(`${at}.issuer`, options.issuer),
    audience: name(`${at}.audience`, options.audience),
    leeway: seconds('leeway', options.leeway ?? 0, 0, MAX_LEEWAY),
  }
}

/** A JSON Web Key Set of public keys. */
export interface PublicJwks {
  readonly keys: readonly JsonWebKey[]
}

/**
 * Returns the public keys of all asymmetric keys (RFC 7517), for services that verify access tokens. Serve it at
 * `/.well-known/jwks.json`.
 *
 * @example publicJwks(keys)   // { keys: [{ kty: 'EC', crv: 'P-256', x, y, kid: '1', alg: 'ES256', use: 'sig' }] }
 */
export function publicJwks(keys: KeySet): PublicJwks {
  const asymmetric = keys.keys.filter((key) => key.verifyKey.type === 'public')
  return {
    keys: asymmetric.map(({ verifyKey, kid, algorithm }) => ({
      ...verifyKey.export({ format: 'jwk' }),
      ...(kid === undefined ? {} : { kid }),
      alg: algorithm,
      use: 'sig',
    })),
  }
}

function readKeys({ keys = [], secret }: Pick<JwtOptions, 'secret' | 'keys'>, at: string): JwtKey[] {
  if (keys.length === 0) return [parseKey({ algorithm: 'HS256', secret }, `${at}.secret`)]
  if (secret !== undefined) {
    throw new ConfigurationError(`${at}: give either secret or keys; in keys, a secret is { algorithm: 'HS256', secret }.`)
  }
  return keys.map((key, index) => parseKey(key, `${at}.keys[${index}]`))
}

function seconds(option: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value
  throw new ConfigurationError(`jwt.${option}: ${value}: must be a whole number of seconds from ${least} to ${most}.`)
}

function name(option: string, value: string | undefined): string | undefined {
  if (value === undefined || (typeof value === 'string' && value !== '')) return value
  throw new ConfigurationError(`${option}: must be a non-empty string. Change it or leave it out.`)
}
