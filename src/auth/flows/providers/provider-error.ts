import { ForbiddenError, InvalidTokenError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'

/** The check that a response of a provider failed. */
export type ResponseFlaw =
  | 'state'
  | 'denied'
  | 'iss'
  | 'aud'
  | 'azp'
  | 'exp'
  | 'iat'
  | 'nbf'
  | 'nonce'
  | 'auth_time'
  | 'alg'
  | 'signature'
  | 'sub'
  | 'tenant'
  | 'response'

/**
 * 401: a provider's response that fails a check. `flaw` is for the log: the client sees one message for all.
 *
 * @example if (error instanceof ProviderResponseError) console.error(error.flaw) // 'nonce'
 */
export class ProviderResponseError extends InvalidTokenError {
  readonly flaw: ResponseFlaw

  constructor(flaw: ResponseFlaw, cause?: unknown) {
    super(message('provider.invalid'), { cause })
    this.flaw = flaw
  }
}

/** Why a proved user of a provider is not let in. */
export type RefusalReason = 'sign_up_closed' | 'email_not_verified' | 'identity_taken'

/**
 * 403: the provider proved the user, who may not sign up or link.
 *
 * @example if (error instanceof ProviderRefusal && error.reason === 'sign_up_closed') showContactForm()
 */
export class ProviderRefusal extends ForbiddenError {
  readonly reason: RefusalReason

  constructor(reason: RefusalReason) {
    super(message(messages[reason]))
    this.reason = reason
  }
}

const messages = {
  sign_up_closed: 'provider.signUpClosed',
  email_not_verified: 'provider.emailNotVerified',
  identity_taken: 'provider.identityTaken',
} as const

interface Described {
  readonly message?: unknown
  readonly code?: unknown
  readonly claim?: unknown
  readonly cause?: unknown
}

const claims: readonly string[] = ['iss', 'aud', 'azp', 'exp', 'iat', 'nbf', 'nonce', 'auth_time']

/** Returns which check an error of openid-client is about. */
export function flawOf(error: unknown): ResponseFlaw {
  for (let one = error as Described | undefined, depth = 0; one && typeof one === 'object' && depth < 6; depth += 1) {
    const { claim, code, message: text, cause } = one
    if (typeof claim === 'string' && claims.includes(claim)) return claim as ResponseFlaw
    if (code === 'OAUTH_AUTHORIZATION_RESPONSE_ERROR') return 'denied'
    if (code === 'OAUTH_KEY_SELECTION_FAILED') return 'signature'
    if (typeof text === 'string') {
      if (text.includes('"alg"')) return 'alg'
      if (text.includes('"iss" (issuer)')) return 'iss'
      if (text.includes('signature')) return 'signature'
    }
    one = cause as Described | undefined
  }
  return 'response'
}
