/** Proofs with a passkey: sign-in, second factor and confirmation. */
import type { InvalidCredentialsError } from '../../../core/errors.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { Passkey } from '../../../users/passkey.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { userClass } from '../credentials.js'
import { type Ceremony, CHALLENGE_LIFETIME, consumeChallenge, issueChallenge } from './ceremonies.js'
import { descriptorsOf, hashOfCredential, type PasskeyContext, passkeysOf, refusedPasskey } from './context.js'
import { emitRefusal, flawOf, type PasskeyFlaw } from './refusals.js'
import { type AssertionResponse, readClientData } from './responses.js'
import type { PasskeySettings } from './settings.js'
import { type StoredKey, verifyAssertion } from './verify.js'
import { type AuthenticationInfo, type PasskeyRequestOptions, webAuthn } from './webauthn.js'

/** A verified proof. The passkey is used in the transaction that grants what it proves. */
export interface PasskeyProof {
  readonly user: User
  readonly passkey: Passkey
  readonly info: AuthenticationInfo
}

/** Returns options for `navigator.credentials.get()`. @param userId the user whose passkeys to offer; null: any passkey that the browser finds */
export async function requestOptions(settings: PasskeySettings, wanted: Ceremony, userId: string | null): Promise<PasskeyRequestOptions> {
  const { generateAuthenticationOptions } = webAuthn()
  const allowCredentials = userId === null ? [] : descriptorsOf(await passkeysOf(userId))
  const challenge = new Uint8Array(Buffer.from(await issueChallenge(wanted), 'base64url'))
  return await generateAuthenticationOptions({
    ...{ rpID: settings.rpId, challenge, allowCredentials, timeout: CHALLENGE_LIFETIME },
    userVerification: 'required',
  })
}

/**
 * Checks a response. The challenge is used up even if the response is refused. Known and unknown passkeys take the same steps.
 *
 * @throws InvalidCredentialsError, with one message for all reasons
 */
export async function verifyProof(
  { core, settings }: PasskeyContext,
  response: AssertionResponse,
  wanted: Ceremony,
): Promise<PasskeyProof> {
  const data = readClientData(response.response)
  const refuse = (reason: PasskeyFlaw): InvalidCredentialsError => {
    emitRefusal(core, wanted, reason, data)
    return refusedPasskey()
  }
  if (!data) throw refuse('clientData')
  // A page inside a frame of another site could show something else while the user confirms.
  if (data.isCrossOrigin) throw refuse('crossOrigin')
  if (!(await consumeChallenge(core, data.challenge, wanted))) throw refuse('challenge')
  const { user, passkey } = await findPasskey(response.id)
  const info = await verifyAssertion(settings(), response, data.challenge, passkey ?? unknownKey)
  if (!info || !passkey || !user) {
    const flaw = flawOf(settings(), data, Buffer.from(response.response.authenticatorData, 'base64url'))
    throw refuse(flaw === 'response' && !passkey ? 'unknownPasskey' : flaw)
  }
  if (wanted.userId !== null && String(passkey.userId) !== String(wanted.userId)) throw refuse('otherUser')
  // A sign-in names its user by the handle alone (WebAuthn level 3, 7.2 step 6).
  const { userHandle } = response.response
  if (userHandle === undefined ? wanted.userId === null : userHandle !== passkey.userHandle) throw refuse('userHandle')
  return { user, passkey, info }
}

async function findPasskey(credentialId: string): Promise<{ user?: User | undefined; passkey?: Passkey | undefined }> {
  const credentialHash = hashOfCredential(credentialId)
  return await asSystem(async () => {
    const passkey = await Passkey.query().findOne({ credentialHash })
    const owner = Passkey.query().where({ credentialHash }).select('userId')
    const user = await userClass().query().whereIn('id', owner).first()
    return { user, passkey }
  })
}

/** A key of nobody: the response for an unknown passkey is checked too. */
const unknownKey: StoredKey = {
  credentialId: 'AA',
  publicKey: 'pQECAyYgASFYIDnJgaKEzqb6cceVTYDjLJBirgv9UqSyLT6VUGQMugAOIlggye1XuUztdFz06MJdqk4tc3pzmpWJZC6UUx___lKHmF0',
  deviceType: 'singleDevice',
}

/** The error of a passkey whose signature counter went back: its key may have been copied. */
class CounterRegression extends Error {}

/**
 * Records the use of a passkey, in the transaction that grants what it proves, with the user's row locked. A passkey that was removed
 * meanwhile proves nothing.
 *
 * @throws InvalidCredentialsError, CounterRegression
 */
export async function usePasskey({ passkey: { id }, info }: PasskeyProof): Promise<void> {
  await asSystem(async () => {
    const stored = await Passkey.query().findById(id)
    if (!stored) throw refusedPasskey()
    const { backedUp, counter } = stored
    if (!backedUp && hasGoneBack(BigInt(counter), BigInt(info.newCounter))) throw new CounterRegression()
    const changes = { counter: String(info.newCounter), backedUp: info.credentialBackedUp, lastUsedAt: new Date() }
    // Compares and sets: of two uses with the same counter one changes the row.
    if ((await Passkey.query().patch(changes).where({ id, counter })) === 0) throw refusedPasskey()
  })
}

// Authenticators that do not count always send 0 (WebAuthn level 3, 6.1.1).
const hasGoneBack = (stored: bigint, now: bigint): boolean => (stored > 0n || now > 0n) && now <= stored

/** Runs work that uses a passkey, and reports a counter that went back. @throws InvalidCredentialsError */
export async function reportingCounter<T>(core: AuthCore, { passkey }: PasskeyProof, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof CounterRegression)) throw error
    core.emit('passkeyCounterRegressed', { userId: passkey.userId, passkeyId: passkey.id, address: currentAddress() })
    throw refusedPasskey()
  }
}
