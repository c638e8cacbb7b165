/** Reads what browsers send: PublicKeyCredential.toJSON() (WebAuthn level 3, 5.1). Lengths are checked before any other work. */
import { ValidationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { MAX_CREDENTIAL_ID_LENGTH } from '../../../users/passkey.js'

interface Credential<R> {
  readonly id: string
  readonly rawId: string
  readonly type: 'public-key'
  readonly response: R
  readonly clientExtensionResults: object
}

export type RegistrationResponse = Credential<{
  readonly clientDataJSON: string
  readonly attestationObject: string
  readonly transports: readonly string[]
}>

export type AssertionResponse = Credential<{
  readonly clientDataJSON: string
  readonly authenticatorData: string
  readonly signature: string
  readonly userHandle?: string | undefined
}>

/** The parts of the client data that are checked here. */
export interface ClientData {
  readonly challenge: string
  /** Whether a page inside a frame of another origin asked for the passkey. */
  readonly isCrossOrigin: boolean
  /** The origin of the page; empty if the data has none. */
  readonly origin: string
}

/** The most characters of each part, in base64url. */
const limits = {
  clientDataJSON: 4096,
  // A credential id of 1023 bytes and a key of RSA with 4096 bits, without an attestation.
  attestationObject: 8192,
  authenticatorData: 2048,
  signature: 1024,
  userHandle: 86,
} as const
const MAX_TRANSPORTS = 10

/** @throws ValidationError */
export function readRegistration(given: unknown): RegistrationResponse {
  const { credential, response } = readCredential(given)
  const transports = response.transports ?? []
  if (!Array.isArray(transports) || transports.length > MAX_TRANSPORTS || !transports.every(isTransport)) throw invalidPasskey()
  return {
    ...credential,
    response: { clientDataJSON: text(response, 'clientDataJSON'), attestationObject: text(response, 'attestationObject'), transports },
  }
}

/** @throws ValidationError */
export function readAssertion(given: unknown): AssertionResponse {
  const { credential, response } = readCredential(given)
  const { userHandle } = response
  return {
    ...credential,
    response: {
      clientDataJSON: text(response, 'clientDataJSON'),
      authenticatorData: text(response, 'authenticatorData'),
      signature: text(response, 'signature'),
      ...(userHandle === undefined || userHandle === null ? {} : { userHandle: text(response, 'userHandle') }),
    },
  }
}

/** Returns the client data, or null for anything else. */
export function readClientData({ clientDataJSON }: { readonly clientDataJSON: string }): ClientData | null {
  try {
    const data: unknown = JSON.parse(Buffer.from(clientDataJSON, 'base64url').toString('utf8'))
    if (!isObject(data) || typeof data.challenge !== 'string' || !/^[\w-]{43}$/.test(data.challenge)) return null
    const isCrossOrigin = (data.crossOrigin !== undefined && data.crossOrigin !== false) || data.topOrigin !== undefined
    return { challenge: data.challenge, isCrossOrigin, origin: typeof data.origin === 'string' ? data.origin : '' }
  } catch {
    return null
  }
}

function readCredential(given: unknown): { credential: Omit<Credential<unknown>, 'response'>; response: Record<string, unknown> } {
  if (!isObject(given) || given.type !== 'public-key' || !isObject(given.response)) throw invalidPasskey()
  const id = base64url(given.id, MAX_CREDENTIAL_ID_LENGTH)
  // The package compares both. A client may leave rawId out.
  const rawId = given.rawId === undefined ? id : base64url(given.rawId, MAX_CREDENTIAL_ID_LENGTH)
  return { credential: { id, rawId, type: 'public-key', clientExtensionResults: {} }, response: given.response }
}

const text = (response: Record<string, unknown>, name: keyof typeof limits): string => base64url(response[name], limits[name])

function base64url(value: unknown, maxLength: number): string {
  if (typeof value !== 'string' || value.length > maxLength || !/^[\w-]+$/.test(value)) throw invalidPasskey()
  return value
}

const isTransport = (value: unknown): boolean => typeof value === 'string' && value.length <= 20 && /^[a-z-]+$/.test(value)

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

const invalidPasskey = () => {
  const problem = message('passkey.invalid')
  return new ValidationError(message('passkey.refused'), [{ field: 'passkey', message: problem }])
}
