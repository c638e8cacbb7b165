/** A software authenticator, which can also make each malformed response that a server must refuse. */
import { createHash, createPrivateKey, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'

/** The parts of a response that a test changes. */
export interface Variant {
  origin?: string
  /** The type in the client data. */
  type?: string
  /** The challenge that the response answers. Default: that of the options. */
  challenge?: string
  crossOrigin?: boolean
  topOrigin?: string
  /** The RP id whose hash is signed. */
  rpId?: string
  isPresent?: boolean
  isVerified?: boolean
  isBackedUp?: boolean
  isMultiDevice?: boolean
  counter?: number
  /** Other bytes of the user handle, base64url; null: none. */
  userHandle?: string | null
  credentialId?: Buffer
  /** The id beside the signed data. */
  shownId?: string
  /** Changes the attestation object. */
  attestation?: (parts: { fmt: string; attStmt: Map<unknown, unknown>; authData: Buffer }) => unknown
  /** Changes the encoded attestation object, or the authenticator data of an assertion. */
  bytes?: (encoded: Buffer) => Buffer
  /** The COSE key to register. */
  coseKey?: Map<number, unknown>
  signature?: Buffer
}

type Kind = 'ES256' | 'EdDSA' | 'RS256' | 'ES384'

const algorithms: Readonly<Record<Kind, number>> = { ES256: -7, EdDSA: -8, RS256: -257, ES384: -35 }

export interface AuthenticatorOptions {
  rpId: string
  origin: string
  kind?: Kind
  isMultiDevice?: boolean
  isBackedUp?: boolean
}

interface CreationOptions {
  challenge: string
  user: { id: string }
}

/** A passkey of a software authenticator. */
export class SoftPasskey {
  readonly id = randomBytes(32)
  readonly options: AuthenticatorOptions
  readonly #key: KeyObject
  userHandle = ''
  /** '0' for authenticators that do not count. */
  counter = 0
  #counts = false

  constructor(options: AuthenticatorOptions) {
    this.options = options
    this.#key = newKey(options.kind ?? 'ES256')
  }

  /** Makes the counter go up with each use. */
  counting(): this {
    this.#counts = true
    return this
  }

  get credentialId(): string {
    return this.id.toString('base64url')
  }

  /** Answers creation options: the JSON of a PublicKeyCredential. */
  create({ challenge, user }: CreationOptions, variant: Variant = {}) {
    this.userHandle = user.id
    const id = variant.credentialId ?? this.id
    const length = Buffer.alloc(2)
    length.writeUInt16BE(id.length)
    const key = encode(variant.coseKey ?? this.coseKey())
    const attested = Buffer.concat([Buffer.alloc(16), length, id, key])
    const authData = this.#authenticatorData(variant, 0x40, attested)
    const parts = { fmt: 'none', attStmt: new Map<unknown, unknown>(), authData }
    const object = encode(variant.attestation?.(parts) ?? mapOf(parts))
    const shown = variant.shownId ?? id.toString('base64url')
    return {
      id: shown,
      rawId: shown,
      type: 'public-key',
      clientExtensionResults: {},
      response: {
        clientDataJSON: this.#clientData('webauthn.create', challenge, variant),
        attestationObject: (variant.bytes?.(object) ?? object).toString('base64url'),
        transports: ['internal', 'hybrid'],
      },
    }
  }

  /** Answers request options: the JSON of a PublicKeyCredential. */
  get({ challenge }: { challenge: string }, variant: Variant = {}) {
    const clientDataJSON = this.#clientData('webauthn.get', challenge, variant)
    const made = this.#authenticatorData(variant, 0, Buffer.alloc(0))
    const authData = variant.bytes?.(made) ?? made
    const hash = createHash('sha256').update(Buffer.from(clientDataJSON, 'base64url')).digest()
    const signature = variant.signature ?? this.sign(Buffer.concat([authData, hash]))
    const shown = variant.shownId ?? this.credentialId
    const userHandle = variant.userHandle === undefined ? this.userHandle : variant.userHandle
    return {
      id: shown,
      rawId: shown,
      type: 'public-key',
      clientExtensionResults: {},
      response: {
        clientDataJSON,
        authenticatorData: authData.toString('base64url'),
        signature: signature.toString('base64url'),
        userHandle,
      },
    }
  }

  sign(data: Buffer): Buffer {
    return sign(this.options.kind === 'EdDSA' ? null : this.options.kind === 'ES384' ? 'sha384' : 'sha256', data, this.#key)
  }

  /** The public key as COSE_Key (RFC 9053). */
  coseKey(): Map<number, unknown> {
    const jwk = createPrivateKey(this.#key.export({ type: 'pkcs8', format: 'pem' })).export({ format: 'jwk' })
    const bytes = (text: string | undefined) => Buffer.from(text ?? '', 'base64url')
    const kind = this.options.kind ?? 'ES256'
    const alg: [number, unknown] = [3, algorithms[kind]]
    if (kind === 'RS256') return new Map<number, unknown>([[1, 3], alg, [-1, bytes(jwk.n)], [-2, bytes(jwk.e)]])
    if (kind === 'EdDSA') return new Map<number, unknown>([[1, 1], alg, [-1, 6], [-2, bytes(jwk.x)]])
    return new Map<number, unknown>([[1, 2], alg, [-1, kind === 'ES256' ? 1 : 2], [-2, bytes(jwk.x)], [-3, bytes(jwk.y)]])
  }

  #clientData(type: string, challenge: string, variant: Variant): string {
    const { crossOrigin = false, topOrigin } = variant
    const data = {
      type: variant.type ?? type,
      challenge: variant.challenge ?? challenge,
      origin: variant.origin ?? this.options.origin,
      crossOrigin,
      ...(topOrigin === undefined ? {} : { topOrigin }),
    }
    return Buffer.from(JSON.stringify(data)).toString('base64url')
  }

  #authenticatorData(variant: Variant, flags: number, rest: Buffer): Buffer {
    const { isPresent = true, isVerified = true } = variant
    const isMultiDevice = variant.isMultiDevice ?? this.options.isMultiDevice ?? false
    const isBackedUp = variant.isBackedUp ?? this.options.isBackedUp ?? false
    if (this.#counts && flags === 0) this.counter += 1
    const counter = Buffer.alloc(4)
    counter.writeUInt32BE(variant.counter ?? this.counter)
    const all = flags | (isPresent ? 0x01 : 0) | (isVerified ? 0x04 : 0) | (isMultiDevice ? 0x08 : 0) | (isBackedUp ? 0x10 : 0)
    const rpIdHash = createHash('sha256')
      .update(variant.rpId ?? this.options.rpId)
      .digest()
    return Buffer.concat([rpIdHash, Buffer.of(all), counter, rest])
  }
}

function newKey(kind: Kind): KeyObject {
  if (kind === 'EdDSA') return generateKeyPairSync('ed25519').privateKey
  if (kind === 'RS256') return generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey
  return generateKeyPairSync('ec', { namedCurve: kind === 'ES384' ? 'P-384' : 'P-256' }).privateKey
}

const mapOf = (object: object): Map<unknown, unknown> => new Map(Object.entries(object))

/** Encodes a value in CBOR (RFC 8949): integers, bytes, texts, lists and maps. */
export function encode(value: unknown): Buffer {
  if (typeof value === 'number') return value >= 0 ? head(0, value) : head(1, -1 - value)
  if (Buffer.isBuffer(value) || value instanceof Uint8Array) return Buffer.concat([head(2, value.length), value])
  if (typeof value === 'string') return Buffer.concat([head(3, Buffer.byteLength(value)), Buffer.from(value)])
  if (Array.isArray(value)) return Buffer.concat([head(4, value.length), ...value.map(encode)])
  if (value instanceof Map) return Buffer.concat([head(5, value.size), ...[...value].flatMap(([key, one]) => [encode(key), encode(one)])])
  throw new Error(`No CBOR for ${String(value)}.`)
}

function head(major: number, length: number): Buffer {
  if (length < 24) return Buffer.of((major << 5) | length)
  if (length < 0x100) return Buffer.of((major << 5) | 24, length)
  const bytes = Buffer.alloc(3)
  bytes[0] = (major << 5) | 25
  bytes.writeUInt16BE(length, 1)
  return bytes
}
