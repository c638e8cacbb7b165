/**
 * Checks responses of authenticators (WebAuthn level 3, 7.1 and 7.2). The package checks type, challenge, origin, RP id, user presence
 * and verification, backup flags and signature. The rest is checked here. What cannot be checked is refused.
 */
import type { Passkey } from '../../../users/passkey.js'
import { MAX_PUBLIC_KEY_LENGTH } from '../../../users/passkey.js'
import type { AssertionResponse, RegistrationResponse } from './responses.js'
import type { PasskeySettings } from './settings.js'
import { type AuthenticationInfo, type RegistrationInfo, webAuthn, webAuthnHelpers } from './webauthn.js'

/** EdDSA, ES256 and RS256 (COSE). */
export const algorithms: readonly number[] = [-8, -7, -257]
/** The largest RSA key in bytes: the work of a check grows with the key, which the client chose. */
const RSA_BYTES = { min: 256, max: 512 }
const MAX_RSA_EXPONENT_BYTES = 4

/** The keys of a COSE key (RFC 9052, RFC 9053). */
const cose = { kty: 1, alg: 3, crv: -1, n: -1, e: -2 } as const
const keyTypes = { okp: 1, ec2: 2, rsa: 3 } as const
const curves = { p256: 1, ed25519: 6 } as const

/** Checks the response of a registration. @returns null for a response that is refused */
export async function verifyRegistration(
  settings: PasskeySettings,
  response: RegistrationResponse,
  challenge: string,
): Promise<RegistrationInfo | null> {
  const { verifyRegistrationResponse } = webAuthn()
  return await orNull(async () => {
    if (!isWithoutCertificates(response)) return null
    const { verified, registrationInfo } = await verifyRegistrationResponse({
      ...expectations(settings, challenge),
      response,
      supportedAlgorithmIDs: algorithms,
    })
    if (!verified || !registrationInfo) return null
    const { credential } = registrationInfo
    // The id beside the signed data is the client's.
    return credential.id === response.id && isUsableKey(credential.publicKey) ? registrationInfo : null
  })
}

/** The key of a passkey. */
export type StoredKey = Pick<Passkey, 'credentialId' | 'publicKey' | 'deviceType'>

/** Checks the response of a sign-in. The counter is checked when the passkey is used. @returns null for a response that is refused */
export async function verifyAssertion(
  settings: PasskeySettings,
  response: AssertionResponse,
  challenge: string,
  { credentialId, publicKey, deviceType }: StoredKey,
): Promise<AuthenticationInfo | null> {
  const { verifyAuthenticationResponse } = webAuthn()
  return await orNull(async () => {
    const { verified, authenticationInfo } = await verifyAuthenticationResponse({
      ...expectations(settings, challenge),
      response,
      credential: { id: credentialId, publicKey: new Uint8Array(Buffer.from(publicKey, 'base64url')), counter: 0 },
    })
    // A key cannot become one that may be copied: its counter would not be checked any more.
    return verified && authenticationInfo.credentialDeviceType === deviceType ? authenticationInfo : null
  })
}

const expectations = ({ rpId, origins }: PasskeySettings, challenge: string) => ({
  expectedChallenge: challenge,
  expectedOrigin: [...origins],
  expectedRPID: rpId,
  requireUserVerification: true,
})

// The package throws for everything that it refuses.
async function orNull<T>(check: () => Promise<T | null>): Promise<T | null> {
  try {
    return await check()
  } catch {
    return null
  }
}

/**
 * Returns whether the attestation contains no certificates. The options ask for none, and checking them could fetch revocation lists
 * from addresses that the client chose. A self attestation ('packed' without certificates) is signed with the new key.
 */
function isWithoutCertificates({ response }: RegistrationResponse): boolean {
  const object = webAuthnHelpers().decodeAttestationObject(new Uint8Array(Buffer.from(response.attestationObject, 'base64url')))
  const [format, statement] = [object.get('fmt'), object.get('attStmt')]
  if (!(statement instanceof Map)) return false
  return format === 'none' || (format === 'packed' && !statement.has('x5c'))
}

/** Returns the authenticator data of a registration, or undefined for anything that cannot be decoded. */
export function authenticatorDataOf({ response }: RegistrationResponse): Uint8Array | undefined {
  try {
    const object = webAuthnHelpers().decodeAttestationObject(new Uint8Array(Buffer.from(response.attestationObject, 'base64url')))
    const data = object.get('authData')
    return data instanceof Uint8Array ? data : undefined
  } catch {
    return undefined
  }
}

/** Returns whether a COSE key is of the type that its algorithm needs, and not too large to check signatures with. */
function isUsableKey(publicKey: Uint8Array): boolean {
  if (Buffer.from(publicKey).toString('base64url').length > MAX_PUBLIC_KEY_LENGTH) return false
  const key = webAuthnHelpers().decodeCredentialPublicKey(publicKey)
  switch (key.get(cose.alg)) {
    case -7:
      return key.get(cose.kty) === keyTypes.ec2 && key.get(cose.crv) === curves.p256
    case -8:
      return key.get(cose.kty) === keyTypes.okp && key.get(cose.crv) === curves.ed25519
    case -257: {
      const [n, e] = [key.get(cose.n), key.get(cose.e)]
      const isBytes = n instanceof Uint8Array && e instanceof Uint8Array
      return key.get(cose.kty) === keyTypes.rsa && isBytes && isRsaSize(n.length, e.length)
    }
    default:
      return false
  }
}

const isRsaSize = (n: number, e: number): boolean => n >= RSA_BYTES.min && n <= RSA_BYTES.max && e <= MAX_RSA_EXPONENT_BYTES
