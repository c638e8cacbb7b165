import { InvalidCredentialsError, InvalidTokenError, ServiceUnavailableError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentAddress } from '../../../policy/context.js'
import { requireText } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import type { SecondFactor } from '../../../users/second-factor.js'
import type { Token } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import { methodsIn } from '../../tokens/methods.js'
import { startSession } from '../start-session.js'
import { countChallengeAttempt, readChallenge, useChallenge } from './challenges.js'
import {
  asSystemInTransaction,
  beginAttempt,
  consumeCodeOf,
  type FactorContext,
  factorOf,
  methodOfCode,
  readCode,
  rethrowFailedAttempt,
  wrongCode,
} from './factors.js'
import type { FactorChoice } from './trusted-devices.js'

/** Completes a sign-in with a code. @throws like SecondFactors.verify */
export async function verifyChallenge(
  context: FactorContext,
  challenge: string,
  code: string,
  { device, trustDevice = false }: FactorChoice,
): Promise<SignInResult> {
  const { core } = context
  core.assertNoTransaction('secondFactors.verify')
  if (trustDevice) core.devices.requireReady()
  const [plain, text] = [requireText(challenge, 'challenge'), readCode(code)]
  const { found, user } = await readChallenge(plain)
  const factor = await factorOf(user.id)
  const attempt = await beginAttempt(core, user)
  try {
    await useCode(context, found, factor, text)
  } catch (error) {
    if (error instanceof InvalidCredentialsError) emitFactorFailure(core, user)
    return await rethrowFailedAttempt(error, attempt)
  }
  await attempt.succeeded()
  const amr = [...(methodsIn(found.amr) ?? []), methodOfCode(text)]
  const result = await startSession(core, user, { device, amr, trustDevice, life: chosenLife(found) })
  if (!result) throw new ServiceUnavailableError(message('signIn.accountChanged'))
  return result
}

/** Returns the lifetime in seconds that the client chose with the first factor. Undefined: the usual one. */
export function chosenLife({ endsAt }: Token): number | undefined {
  return endsAt ? Math.max(1, Math.floor((endsAt.getTime() - Date.now()) / 1000)) : undefined
}

/** Uses the challenge and the code up. The attempt is counted even if the code is wrong. */
async function useCode(context: FactorContext, challenge: Token, factor: SecondFactor | undefined, code: string): Promise<void> {
  const { core } = context
  if (!(await asSystemInTransaction(core, () => countChallengeAttempt(challenge)))) throw new InvalidTokenError()
  await asSystemInTransaction(core, async () => {
    if (!(await consumeCodeOf(context, challenge.userId, factor, code))) throw wrongCode()
    await useChallenge(challenge)
  })
}

/** Emits that a second factor was refused. */
export function emitFactorFailure({ emit }: AuthCore, user: User): void {
  const account = accountNameOf(user)
  emit('signInFailed', { userId: user.id, email: user.email ?? '', account, reason: 'secondFactor', address: currentAddress() })
}
