import { AccountDisabledError, InvalidCredentialsError, ServiceUnavailableError } from '../../../core/errors.js'
import { asSystem, currentAddress } from '../../../policy/context.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { isActive } from '../../../users/caller/actor.js'
import type { User } from '../../../users/user.js'
import type { SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import type { LifetimeChoice } from '../../tokens/session-life.js'
import { userClass } from '../credentials.js'
import { completeSignIn, type StartOptions } from '../start-session.js'
import { type PasskeyProof, reportingCounter, requestOptions, usePasskey, verifyProof } from './assertions.js'
import type { Ceremony } from './ceremonies.js'
import { begin, methodsOfPasskey, type PasskeyContext } from './context.js'
import { readAssertion } from './responses.js'
import type { PasskeyRequestOptions } from './webauthn.js'

/** Options of a sign-in with a passkey. */
export interface PasskeySignInOptions extends LifetimeChoice {
  /** A description for the list of sessions. */
  readonly device?: string | undefined
}

const ceremony: Ceremony = { ceremony: 'sign-in', userId: null, boundTo: null }
const MAX_TRIES = 3

/** Returns options that name no user and no passkey: the browser offers those that it has. @throws TooManyAttemptsError */
export async function signInOptions(context: PasskeyContext): Promise<PasskeyRequestOptions> {
  const settings = begin(context, 'signInOptions')
  await context.core.throttle.begin('passkeyOptions', { address: currentAddress() })
  return await requestOptions(settings, ceremony, null)
}

/** Signs in with a passkey. @throws like Passkeys.signIn */
export async function signInWithPasskey(context: PasskeyContext, given: unknown, options: PasskeySignInOptions): Promise<SignInResult> {
  const { core } = context
  begin(context, 'signIn')
  const life = core.life.of(options)
  const response = readAssertion(given)
  const attempt = await core.throttle.begin('signIn', { address: currentAddress() })
  try {
    const proof = await verifyProof(context, response, ceremony)
    const result = await reportingCounter(core, proof, () => complete(core, proof, { device: options.device, life }))
    await attempt.succeeded()
    return result
  } catch (error) {
    if (error instanceof InvalidCredentialsError) emitFailure(core, null, 'passkey')
    else await attempt.withdrawn()
    throw error
  }
}

async function complete(core: AuthCore, proof: PasskeyProof, session: Pick<StartOptions, 'device' | 'life'>): Promise<SignInResult> {
  const options: StartOptions = { ...session, amr: methodsOfPasskey(proof.passkey), whileLocked: () => usePasskey(proof) }
  let user: User | undefined = proof.user
  for (let tries = 0; user && tries < MAX_TRIES; tries += 1) {
    if (!isActive(user)) {
      emitFailure(core, user, 'disabled')
      throw new AccountDisabledError()
    }
    const result = await completeSignIn(core, user, options)
    if (result) return result
    // The row changed since it was read, such as by a new password: read it again.
    user = await asSystem(() => userClass().query().findById(proof.user.id))
  }
  throw new ServiceUnavailableError()
}

/** @param user known only if the passkey was accepted */
function emitFailure({ emit }: AuthCore, user: User | null, reason: 'passkey' | 'disabled'): void {
  const account = user ? accountNameOf(user) : ''
  emit('signInFailed', { userId: user?.id ?? null, email: user?.email ?? '', account, reason, address: currentAddress() })
}
