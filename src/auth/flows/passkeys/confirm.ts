import type { User } from '../../../users/user.js'
import { reportingCounter, requestOptions, usePasskey, verifyProof } from './assertions.js'
import type { Ceremony } from './ceremonies.js'
import { begin, methodsOfPasskey, type PasskeyContext, requireSessionCaller, type SessionCaller } from './context.js'
import type { AssertionResponse } from './responses.js'
import type { PasskeyRequestOptions } from './webauthn.js'

const ceremonyOf = ({ actor, sessionId }: SessionCaller): Ceremony => ({ ceremony: 'confirm', userId: actor.id, boundTo: sessionId })

/** Returns options that name the caller's passkeys. @throws like Passkeys.confirmationOptions */
export async function confirmationOptions(context: PasskeyContext): Promise<PasskeyRequestOptions> {
  const settings = begin(context, 'confirmationOptions')
  const caller = requireSessionCaller()
  await context.core.throttle.begin('passkeyOptions', { caller: caller.actor.id })
  return await requestOptions(settings, ceremonyOf(caller), caller.actor.id)
}

/** How a passkey confirms a session. */
export interface PasskeyConfirmation {
  readonly amr: readonly string[]
  /** Records the use, in the transaction that raises the session. */
  use<T>(raise: () => Promise<T>): Promise<T>
  /** Reports a passkey whose counter went back. */
  reporting<T>(work: () => Promise<T>): Promise<T>
}

/** Checks a passkey for `confirm()`. @throws InvalidCredentialsError */
export async function provePasskey(context: PasskeyContext, user: User, response: AssertionResponse): Promise<PasskeyConfirmation> {
  begin(context, 'confirm')
  const proof = await verifyProof(context, response, ceremonyOf(requireSessionCaller()))
  return {
    amr: methodsOfPasskey(proof.passkey),
    use: async (raise) => {
      await usePasskey(proof)
      return await raise()
    },
    reporting: (work) => reportingCounter(context.core, { ...proof, user }, work),
  }
}
