import { InvalidCredentialsError, InvalidTokenError, ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { requireText } from '../../../schema/text-input.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import { methodsIn } from '../../tokens/methods.js'
import { countChallengeAttempt, readChallenge, useChallenge } from '../second-factor/challenges.js'
import { asSystemInTransaction, beginAttempt } from '../second-factor/factors.js'
import type { FactorChoice } from '../second-factor/trusted-devices.js'
import { chosenLife, emitFactorFailure } from '../second-factor/verify-challenge.js'
import { startSession } from '../start-session.js'
import { reportingCounter, requestOptions, usePasskey, verifyProof } from './assertions.js'
import type { Ceremony } from './ceremonies.js'
import { begin, methodsOfPasskey, type PasskeyContext } from './context.js'
import { readAssertion } from './responses.js'
import type { PasskeyRequestOptions } from './webauthn.js'

const ceremonyOf = (user: User, challengeId: string): Ceremony => ({ ceremony: 'second-factor', userId: user.id, boundTo: challengeId })

/** Returns options that name the user's passkeys: the challenge proves the first factor. @throws InvalidTokenError */
export async function secondFactorOptions(context: PasskeyContext, challenge: unknown): Promise<PasskeyRequestOptions> {
  const settings = begin(context, 'secondFactorOptions')
  const { found, user } = await readChallenge(requireText(challenge, 'challenge'))
  await beginOptions(context, user)
  return await requestOptions(settings, ceremonyOf(user, found.id), user.id)
}

// Each call stores a row.
async function beginOptions({ core }: PasskeyContext, user: User): Promise<void> {
  await core.throttle.begin('passkeyOptions', { caller: user.id })
}

/** Completes a sign-in. @throws like Passkeys.verifySecondFactor */
export async function verifySecondFactor(
  context: PasskeyContext,
  challenge: unknown,
  given: unknown,
  { device, trustDevice = false }: FactorChoice,
): Promise<SignInResult> {
  const { core } = context
  begin(context, 'verifySecondFactor')
  if (trustDevice) core.devices.requireReady()
  const plain = requireText(challenge, 'challenge')
  const response = readAssertion(given)
  const { found, user } = await readChallenge(plain)
  const attempt = await beginAttempt(core, user)
  try {
    if (!(await asSystemInTransaction(core, () => countChallengeAttempt(found)))) throw new InvalidTokenError()
    const proof = await verifyProof(context, response, ceremonyOf(user, found.id))
    const amr = [...(methodsIn(found.amr) ?? []), ...methodsOfPasskey(proof.passkey)]
    const whileLocked = async () => {
      await usePasskey(proof)
      await useChallenge(found)
    }
    const session = { device, amr, trustDevice, life: chosenLife(found), whileLocked }
    const result = await reportingCounter(core, proof, () => startSession(core, proof.user, session))
    if (!result) throw new ServiceUnavailableError(message('signIn.accountChanged'))
    await attempt.succeeded()
    return result
  } catch (error) {
    if (error instanceof InvalidCredentialsError) emitFactorFailure(core, user)
    if (error instanceof ServiceUnavailableError) await attempt.withdrawn()
    throw error
  }
}
