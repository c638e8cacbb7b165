import { ConflictError, UniqueViolationError, ValidationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentAddress } from '../../../policy/context.js'
import { assertSession } from '../../../policy/fresh-session.js'
import { allOf } from '../../../policy/rules.js'
import { factor, recent } from '../../../policy/session-rules.js'
import { requireStorableText } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { MAX_PASSKEY_NAME_LENGTH, Passkey } from '../../../users/passkey.js'
import type { User } from '../../../users/user.js'
import { forActiveCaller } from '../active-caller.js'
import { countUnusedCodes, makeRecoveryCodes } from '../second-factor/recovery-codes.js'
import { type Ceremony, CHALLENGE_LIFETIME, consumeChallenge, issueChallenge } from './ceremonies.js'
import {
  begin,
  descriptorsOf,
  hashOfCredential,
  newUserHandle,
  type PasskeyContext,
  passkeysOf,
  requireSessionCaller,
  type SessionCaller,
  sendNotice,
} from './context.js'
import { emitRefusal, flawOf, type PasskeyFlaw } from './refusals.js'
import { type RegistrationResponse, readClientData, readRegistration } from './responses.js'
import { algorithms, authenticatorDataOf, verifyRegistration } from './verify.js'
import { type PasskeyCreationOptions, type RegistrationInfo, webAuthn } from './webauthn.js'

/** The most passkeys of a user. */
const MAX_PASSKEYS = 20
const DEFAULT_NAME = 'Passkey'

/** A new passkey. */
export interface AddedPasskey {
  readonly passkey: Passkey
  /** Recovery codes, which are shown once, if the user now needs a second factor and had no codes. */
  readonly recoveryCodes?: readonly string[] | undefined
}

const ceremonyOf = ({ actor, sessionId }: SessionCaller): Ceremony => ({
  ceremony: 'registration',
  userId: actor.id,
  boundTo: sessionId,
})

/** Returns options for `navigator.credentials.create()`. @throws like Passkeys.registrationOptions */
export async function registrationOptions(context: PasskeyContext): Promise<PasskeyCreationOptions> {
  const { rpId, rpName } = begin(context, 'registrationOptions')
  const caller = requireSessionCaller()
  await requireProof(context, caller)
  const known = await passkeysOf(caller.actor.id)
  assertRoom(known.length)
  const userHandle = known[0]?.userHandle ?? newUserHandle()
  const challenge = await issueChallenge(ceremonyOf(caller), userHandle)
  const user = caller.actor.user as User
  const name = user.email ?? accountNameOf(user)
  const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'base64url'))
  return await webAuthn().generateRegistrationOptions({
    ...{ rpID: rpId, rpName, userID: bytes(userHandle), userName: name, userDisplayName: name, challenge: bytes(challenge) },
    ...{ timeout: CHALLENGE_LIFETIME, attestationType: 'none', supportedAlgorithmIDs: [...algorithms] },
    excludeCredentials: descriptorsOf(known),
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
  })
}

/** Adds a passkey to the caller's account. @throws like Passkeys.register */
export async function register(context: PasskeyContext, given: unknown, name: unknown): Promise<AddedPasskey> {
  const { core } = context
  const settings = begin(context, 'register')
  const caller = requireSessionCaller()
  const response = readRegistration(given)
  const text = readName(name)
  // The options were given out to a session that was recent then.
  await requireProof(context, caller, CHALLENGE_LIFETIME / 1000)
  const data = readClientData(response.response)
  const refuse = (reason: PasskeyFlaw): ValidationError => {
    emitRefusal(core, ceremonyOf(caller), reason, data)
    return notAdded()
  }
  if (!data) throw refuse('clientData')
  if (data.isCrossOrigin) throw refuse('crossOrigin')
  const challenge = await consumeChallenge(core, data.challenge, ceremonyOf(caller))
  if (!challenge?.userHandle) throw refuse('challenge')
  const info = await verifyRegistration(settings, response, data.challenge)
  if (!info) throw refuse(flawOf(settings, data, authenticatorDataOf(response)))
  const user = caller.actor.user as User
  const needsCodes = settings.secondFactor && (await countUnusedCodes(user.id)) === 0
  const added = await forActiveCaller(core.knex, user.id, async (): Promise<AddedPasskey> => {
    assertRoom(await Passkey.query().where('userId', user.id).resultSize())
    const passkey = await Passkey.create({
      userId: user.id,
      userHandle: challenge.userHandle,
      name: text,
      ...valuesOf(info, response),
    } as object)
    return needsCodes ? { passkey, recoveryCodes: await makeRecoveryCodes(user.id) } : { passkey }
  }).catch(rethrowTaken)
  core.emit('passkeyAdded', { userId: user.id, passkeyId: added.passkey.id, address: currentAddress() })
  sendNotice(context, 'passkeyAdded', user)
  return added
}

/**
 * Checks that the caller has just proved to be the user. A passkey counts as two factors and outlives the session: whoever has a stolen
 * session must not be able to add one.
 *
 * @param allowance further seconds
 * @throws InsufficientUserAuthenticationError
 */
export async function requireProof({ core, settings }: PasskeyContext, { actor }: SessionCaller, allowance = 0): Promise<void> {
  const isRecent = recent(settings().maxAge + allowance)
  await core.challenges.prepare()
  const factors = await core.challenges.factorsOf(actor.id)
  assertSession(actor, factors.length > 0 ? allOf(isRecent, factor('any')) : isRecent)
}

/** Returns the name of a passkey. @throws ValidationError */
export function readName(name: unknown): string {
  if (name === undefined) return DEFAULT_NAME
  const text = requireStorableText(name, 'name')
  if (text.length <= MAX_PASSKEY_NAME_LENGTH) return text.trim()
  const problem = message('passkey.nameTooLong', { count: MAX_PASSKEY_NAME_LENGTH })
  throw new ValidationError(message('input.nameTooLong'), [{ field: 'name', message: problem }])
}

function valuesOf({ aaguid, credential, ...info }: RegistrationInfo, { response }: RegistrationResponse): object {
  return {
    credentialId: credential.id,
    credentialHash: hashOfCredential(credential.id),
    publicKey: Buffer.from(credential.publicKey).toString('base64url'),
    counter: String(credential.counter),
    transports: response.transports,
    deviceType: info.credentialDeviceType,
    backedUp: info.credentialBackedUp,
    aaguid,
  }
}

function assertRoom(count: number): void {
  if (count >= MAX_PASSKEYS) throw new ConflictError(message('passkey.tooMany', { count }))
}

// The answer is the same whoever has the credential.
function rethrowTaken(error: unknown): never {
  if (error instanceof UniqueViolationError) throw new ConflictError(message('passkey.registeredAlready'))
  throw error
}

const notAdded = () => {
  const problem = message('passkey.notAdded')
  return new ValidationError(problem, [{ field: 'passkey', message: problem }])
}
