import { readFileSync } from 'node:fs'
import { expect } from 'chai'
import {
  type AssertionResponse,
  type RegistrationResponse,
  readAssertion,
  readClientData,
  readRegistration,
} from '../../../../src/auth/flows/passkeys/responses.js'
import { passkeySettings } from '../../../../src/auth/flows/passkeys/settings.js'
import { algorithms, type StoredKey, verifyAssertion, verifyRegistration } from '../../../../src/auth/flows/passkeys/verify.js'
import { webAuthn, webAuthnHelpers } from '../../../../src/auth/flows/passkeys/webauthn.js'
import { encode } from '../../../helpers/authenticator.js'

/** Values in hexadecimal. */
interface Vector {
  readonly credentialId: string
  readonly registration: Readonly<Record<'challenge' | 'clientDataJSON' | 'attestationObject', string>>
  readonly authentication: Readonly<Record<'challenge' | 'clientDataJSON' | 'authenticatorData' | 'signature', string>>
}

/**
 * 'certificates': refused, but accepted without the attestation. 'unverified': refused, but the package accepts it where user verification
 * is not required.
 */
type Outcome = 'accepted' | 'certificates' | 'unverified' | 'cross-origin'

const expected: Readonly<Record<string, readonly [name: string, registration: Outcome, authentication: Outcome]>> = {
  'ES256 without attestation and without user verification [promise 106]': ['none-es256', 'unverified', 'unverified'],
  'ES256 with a self attestation [promises 106, 110]': ['packed-self-es256', 'accepted', 'unverified'],
  'ES256 in a frame of another origin [promise 107]': ['none-es256-crossOrigin', 'cross-origin', 'cross-origin'],
  'ES256 below another top origin [promise 107]': ['none-es256-topOrigin', 'cross-origin', 'cross-origin'],
  'ES256 with a credential id of 1023 bytes [promises 106, 114]': ['none-es256-long-credential-id', 'unverified', 'accepted'],
  'ES256 with certificates [promise 110]': ['packed-es256', 'certificates', 'accepted'],
  'RS256 with certificates [promises 106, 110, 111]': ['packed-rs256', 'certificates', 'unverified'],
  'Ed25519 without user verification [promises 106, 111]': ['packed-eddsa', 'unverified', 'unverified'],
}

const vectors = JSON.parse(readFileSync(new URL('../../../vectors/webauthn/vectors.json', import.meta.url), 'utf8')) as Record<
  string,
  Vector
>
const settings = passkeySettings({ rpId: 'example.org', rpName: 'Zoo', origins: ['https://example.org'] })
const expectations = { expectedOrigin: [...settings.origins], expectedRPID: settings.rpId, requireUserVerification: false }

const bytes = (hex: string) => new Uint8Array(Buffer.from(hex, 'hex'))
const base64url = (hex: string) => Buffer.from(hex, 'hex').toString('base64url')

/** Returns what a browser sends: the JSON of a PublicKeyCredential. */
function credential(id: string, { challenge, ...response }: Readonly<Record<string, string>>): object {
  const parts = Object.entries(response).map(([name, hex]) => [name, base64url(hex)])
  return { id: base64url(id), rawId: base64url(id), type: 'public-key', response: Object.fromEntries(parts) }
}

const authDataOf = ({ registration }: Vector): Buffer =>
  Buffer.from(webAuthnHelpers().decodeAttestationObject(bytes(registration.attestationObject)).get('authData') as Uint8Array)

/** Returns the key of a vector from its authenticator data (section 6.1). */
function storedKey(vector: Vector): StoredKey {
  const authData = authDataOf(vector)
  const publicKey = authData.subarray(55 + authData.readUInt16BE(53)).toString('base64url')
  return {
    credentialId: base64url(vector.credentialId),
    publicKey,
    deviceType: ((authData[32] ?? 0) & 0x08) === 0 ? 'singleDevice' : 'multiDevice',
  }
}

function withoutAttestation(response: RegistrationResponse, vector: Vector): RegistrationResponse {
  const object = new Map<string, unknown>([
    ['fmt', 'none'],
    ['attStmt', new Map()],
    ['authData', authDataOf(vector)],
  ])
  return { ...response, response: { ...response.response, attestationObject: encode(object).toString('base64url') } }
}

/** Reads the client data as both ceremonies do before anything else. */
function isCrossOrigin({ response }: RegistrationResponse | AssertionResponse, challenge: string): boolean {
  const data = readClientData(response)
  expect(data?.challenge).to.equal(challenge)
  return data?.isCrossOrigin ?? false
}

async function register(vector: Vector): Promise<Outcome> {
  const response = readRegistration(credential(vector.credentialId, vector.registration))
  const challenge = base64url(vector.registration.challenge)
  if (isCrossOrigin(response, challenge)) return 'cross-origin'
  const info = await verifyRegistration(settings, response, challenge)
  if (info) {
    expect(Buffer.from(info.credential.publicKey).toString('base64url')).to.equal(storedKey(vector).publicKey)
    return 'accepted'
  }
  if (await verifyRegistration(settings, withoutAttestation(response, vector), challenge)) return 'certificates'
  const options = { ...expectations, response, expectedChallenge: challenge, supportedAlgorithmIDs: algorithms }
  expect(await webAuthn().verifyRegistrationResponse(options)).to.deep.include({ verified: true })
  return 'unverified'
}

async function authenticate(vector: Vector): Promise<Outcome> {
  const response = readAssertion(credential(vector.credentialId, vector.authentication))
  const challenge = base64url(vector.authentication.challenge)
  if (isCrossOrigin(response, challenge)) return 'cross-origin'
  const key = storedKey(vector)
  if (await verifyAssertion(settings, response, challenge, key)) return 'accepted'
  const publicKey = new Uint8Array(Buffer.from(key.publicKey, 'base64url'))
  const options = { ...expectations, response, expectedChallenge: challenge, credential: { id: key.credentialId, publicKey, counter: 0 } }
  expect(await webAuthn().verifyAuthenticationResponse(options)).to.deep.include({ verified: true })
  return 'unverified'
}

describe('The test vectors of WebAuthn level 3 (section 16)', () => {
  it('are all run', () => {
    expect(Object.values(expected).map(([name]) => name)).to.have.members(Object.keys(vectors))
  })

  for (const [title, [name, registration, authentication]] of Object.entries(expected))
    it(title, async () => {
      const vector = vectors[name] as Vector
      expect([await register(vector), await authenticate(vector)]).to.deep.equal([registration, authentication])
    })

  it('are refused with another challenge, RP id, origin or signature [promises 102, 103, 104, 113]', async () => {
    const vector = vectors['packed-es256'] as Vector
    const response = readAssertion(credential(vector.credentialId, vector.authentication))
    const challenge = base64url(vector.authentication.challenge)
    const key = storedKey(vector)
    const flipped = Buffer.from(vector.authentication.signature, 'hex')
    flipped[flipped.length - 1] = (flipped.at(-1) ?? 0) ^ 1
    const forged = { ...response, response: { ...response.response, signature: flipped.toString('base64url') } }
    expect(await verifyAssertion(settings, response, challenge, key)).to.deep.include({ newCounter: 0 })
    for (const refused of [
      verifyAssertion(settings, response, base64url(vector.registration.challenge), key),
      verifyAssertion({ ...settings, rpId: 'example.com' }, response, challenge, key),
      verifyAssertion({ ...settings, origins: ['https://www.example.org'] }, response, challenge, key),
      verifyAssertion(settings, forged, challenge, key),
    ])
      expect(await refused).to.equal(null)
  })
})
