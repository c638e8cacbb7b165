import { Buffer } from 'node:buffer'
import { createPrivateKey, createPublicKey, createSecretKey, type JsonWebKey, KeyObject } from 'node:crypto'
import { ConfigurationError } from '../../core/errors.js'

/** The signing algorithms of RFC 7518. The configuration, never a token, decides which one a key uses. */
const ALGORITHMS = {
  HS256: { family: 'secret', bytes: 32 },
  HS384: { family: 'secret', bytes: 48 },
  HS512: { family: 'secret', bytes: 64 },
  RS256: { family: 'rsa' },
  RS384: { family: 'rsa' },
  RS512: { family: 'rsa' },
  PS256: { family: 'rsa-pss' },
  PS384: { family: 'rsa-pss' },
  PS512: { family: 'rsa-pss' },
  ES256: { family: 'ec', curve: 'prime256v1', name: 'P-256' },
  ES384: { family: 'ec', curve: 'secp384r1', name: 'P-384' },
  ES512: { family: 'ec', curve: 'secp521r1', name: 'P-521' },
} as const

export type JwtAlgorithm = keyof typeof ALGORITHMS

/** PEM, a JSON Web Key, or a KeyObject of `node:crypto`. */
export type AsymmetricKeyInput = string | Buffer | JsonWebKey | KeyObject

export interface JwtKeyOptions {
  /** Names the key in the header of its tokens. Required with more than one key. */
  kid?: string | undefined
  algorithm: JwtAlgorithm
  /** For HS256, HS384 and HS512. A string is read as UTF-8. */
  secret?: string | Uint8Array | KeyObject | undefined
  /** For all other algorithms. Required to sign. */
  privateKey?: AsymmetricKeyInput | undefined
  /**
   * For all other algorithms.
   *
   * @defaultValue the public half of the private key
   */
  publicKey?: AsymmetricKeyInput | undefined
  /** Whether the key only verifies and no longer signs. */
  retired?: boolean | undefined
}

/** A parsed key. jsonwebtoken is four times as fast with a KeyObject as with text. */
export interface JwtKey {
  readonly kid: string | undefined
  readonly algorithm: JwtAlgorithm
  readonly verifyKey: KeyObject
  /** Undefined for a key without its private half. */
  readonly signKey: KeyObject | undefined
  readonly retired: boolean
}

const MIN_RSA_BITS = 2048
const MAX_KID_LENGTH = 256

/**
 * Parses one key of the configuration.
 *
 * @param at the name of the option for messages: `jwt.secret`, `jwt.keys[1]`
 * @throws ConfigurationError when the key is missing, too weak (RFC 7518, 3.2 and 3.3) or does not fit the algorithm
 */
export function parseKey(options: JwtKeyOptions, at: string): JwtKey {
  const { kid, algorithm } = options
  if (!Object.hasOwn(ALGORITHMS, algorithm)) {
    throw new ConfigurationError(`${at}: the algorithm must be one of ${Object.keys(ALGORITHMS).join(', ')}.`)
  }
  if (kid !== undefined && (typeof kid !== 'string' || kid === '' || kid.length > MAX_KID_LENGTH)) {
    throw new ConfigurationError(`${at}: kid must be a string of 1 to ${MAX_KID_LENGTH} characters.`)
  }
  const kind = ALGORITHMS[algorithm]
  const common = { kid, algorithm, retired: options.retired ?? false }
  if (kind.family === 'secret') {
    if (options.privateKey !== undefined || options.publicKey !== undefined) {
      throw new ConfigurationError(`${at}: ${algorithm} takes a secret, not a key pair.`)
    }
    const secret = parseSecret(options.secret, algorithm, kind.bytes, at)
    return { ...common, verifyKey: secret, signKey: secret }
  }
  if (options.secret !== undefined) throw new ConfigurationError(`${at}: ${algorithm} takes privateKey or publicKey, not a secret.`)
  return { ...common, ...parsePair(options, at) }
}

function parseSecret(secret: JwtKeyOptions['secret'], algorithm: string, bytes: number, at: string): KeyObject {
  const howTo = `make one with: node -e "console.log(require('crypto').randomBytes(${bytes}).toString('base64url'))"`
  if (secret === undefined || secret === null || secret === '') throw new ConfigurationError(`${at} is missing: ${howTo}`)
  let key: KeyObject
  if (secret instanceof KeyObject) {
    key = secret
  } else if (typeof secret === 'string' || secret instanceof Uint8Array) {
    key = createSecretKey(typeof secret === 'string' ? Buffer.from(secret) : secret)
  } else {
    throw new ConfigurationError(`${at} must be a string or bytes: ${howTo}`)
  }
  // Public keys are known to everyone: as an HMAC secret one would let anyone sign (CVE-2022-23541).
  if (key.type !== 'secret' || key.export().includes('-----BEGIN')) {
    throw new ConfigurationError(`${at} is a key pair, or half of one, and ${algorithm} takes a secret: ${howTo}`)
  }
  if ((key.symmetricKeySize ?? 0) < bytes) {
    throw new ConfigurationError(`${at} has ${key.symmetricKeySize} bytes, and ${algorithm} needs ${bytes} or more: ${howTo}`)
  }
  return key
}

function parsePair(options: JwtKeyOptions, at: string): { verifyKey: KeyObject; signKey: KeyObject | undefined } {
  const { algorithm, privateKey, publicKey } = options
  const howTo = howToPair(algorithm)
  if (privateKey === undefined && publicKey === undefined) {
    throw new ConfigurationError(`${at}: ${algorithm} needs a privateKey to sign, or a publicKey to verify: ${howTo}`)
  }
  const signKey = privateKey === undefined ? undefined : read(privateKey, 'private', algorithm, at)
  const derived = signKey === undefined ? undefined : createPublicKey(signKey)
  const verifyKey = publicKey === undefined ? (derived as KeyObject) : read(publicKey, 'public', algorithm, at)
  if (derived !== undefined && !derived.equals(verifyKey)) {
    throw new ConfigurationError(`${at}: publicKey and privateKey are not of one pair; leave publicKey out.`)
  }
  checkKind(verifyKey, algorithm, at, howTo)
  return { verifyKey, signKey }
}

function read(input: AsymmetricKeyInput, half: 'private' | 'public', algorithm: string, at: string): KeyObject {
  const name = `${half}Key`
  if (input instanceof KeyObject) {
    if (input.type !== half) throw new ConfigurationError(`${at}: ${name} is a ${input.type} key.`)
    return input
  }
  const isJwk = typeof input === 'object' && !Buffer.isBuffer(input)
  if (isJwk) checkJwkUse(input, half, algorithm, at)
  try {
    if (half === 'private') return isJwk ? createPrivateKey({ key: input, format: 'jwk' }) : createPrivateKey(input)
    return isJwk ? createPublicKey({ key: input, format: 'jwk' }) : createPublicKey(input)
  } catch (cause) {
    throw new ConfigurationError(`${at}: ${name} cannot be read: give it as PEM, a JSON Web Key or a KeyObject.`, { cause })
  }
}

/** Checks the use, operations and algorithm that a JSON Web Key declares (RFC 7517, 4.2 to 4.4). */
function checkJwkUse(jwk: JsonWebKey, half: 'private' | 'public', algorithm: string, at: string): void {
  const operations: unknown = jwk.key_ops
  const allowed = half === 'private' ? ['sign'] : ['sign', 'verify']
  const wrongOperations = Array.isArray(operations) && !operations.some((operation) => allowed.includes(operation))
  if ((jwk.use !== undefined && jwk.use !== 'sig') || wrongOperations) {
    throw new ConfigurationError(`${at}: this JSON Web Key is not for signing (use, key_ops).`)
  }
  if (jwk.alg !== undefined && jwk.alg !== algorithm) {
    throw new ConfigurationError(`${at}: this JSON Web Key is for ${jwk.alg}, not ${algorithm}.`)
  }
}

function checkKind(key: KeyObject, algorithm: JwtAlgorithm, at: string, howTo: string): void {
  const kind = ALGORITHMS[algorithm]
  const type = key.asymmetricKeyType
  const fits = type === kind.family || (kind.family === 'rsa-pss' && type === 'rsa')
  if (!fits) throw new ConfigurationError(`${at}: a key of type ${type} does not fit ${algorithm}: ${howTo}`)
  const { modulusLength = 0, namedCurve, hashAlgorithm } = key.asymmetricKeyDetails ?? {}
  if (kind.family === 'ec') {
    if (namedCurve !== kind.curve) throw new ConfigurationError(`${at}: ${algorithm} needs the curve ${kind.name}: ${howTo}`)
  } else if (modulusLength < MIN_RSA_BITS) {
    throw new ConfigurationError(`${at} has ${modulusLength} bits, and ${algorithm} needs ${MIN_RSA_BITS} or more: ${howTo}`)
  } else if (type === 'rsa-pss' && hashAlgorithm !== `sha${algorithm.slice(2)}`) {
    throw new ConfigurationError(`${at}: this RSA-PSS key is not made for the hash of ${algorithm}: ${howTo}`)
  }
}

function howToPair(algorithm: JwtAlgorithm): string {
  const kind = ALGORITHMS[algorithm]
  const option = kind.family === 'ec' ? `EC -pkeyopt ec_paramgen_curve:${kind.name}` : 'RSA -pkeyopt rsa_keygen_bits:3072'
  return `make one with: openssl genpkey -algorithm ${option} -out private.pem`
}
