/** Begins a sign-in with a provider. */
import { NotFoundError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { currentAddress } from '../../../policy/context.js'
import { invalidField, requireStorableText } from '../../../schema/text-input.js'
import { randomToken } from '../../../users/token.js'
import type { ProviderConnection } from './connection.js'
import type { ProvidersContext } from './context.js'
import type { ProviderSettings } from './options.js'
import { CHALLENGE_FORM, type SignInDetails, storeSignIn } from './sign-in-store.js'

/** The greatest `maxAge` of a sign-in in seconds. */
export const MAX_AGE = 86_400

export interface StartProviderOptions {
  /** Where the user returns to, an entry of `providerSignIn.redirects`. @defaultValue the first entry */
  readonly redirect?: string | undefined
  /** The S256 challenge of a native app (RFC 7636). Without it, a browser signs in. */
  readonly challenge?: string | undefined
  /** The token of an invitation, with which a new user may sign up. */
  readonly invitation?: string | undefined
  /**
   * The user must have signed in at the provider within this number of seconds, such as the `max_age` of a 401: the provider asks the
   * user to sign in again otherwise. Not for providers without OpenID Connect.
   */
  readonly maxAge?: number | undefined
}

/** A sign-in that has begun. */
export interface StartedProviderSignIn {
  /** The page of the provider. */
  readonly url: string
  /** The value for the browser's cookie. Null for a native app. */
  readonly binding: string | null
  /** Whether the provider returns with a POST from its own page, so that the cookie needs SameSite=None. */
  readonly isFormPost: boolean
}

/** @throws ValidationError, NotFoundError, TooManyAttemptsError, ServiceUnavailableError */
export async function begin(
  context: ProvidersContext,
  name: string,
  { redirect, challenge, invitation, maxAge }: StartProviderOptions,
  link: SignInDetails['link'],
): Promise<StartedProviderSignIn> {
  const { core, sealKeys, settings } = context
  const connection = connectionOf(context, name)
  const details = {
    nonce: randomToken(),
    verifier: randomToken(),
    redirect: knownRedirect(settings, redirect),
    invitation: invitation === undefined ? null : requireStorableText(invitation, 'invitation'),
    link,
    maxAge: checkedAge(connection, maxAge),
  }
  if (details.invitation !== null && details.invitation.length > 128) throw invalidField('invitation', message('field.tooLong'))
  if (challenge !== undefined && !(typeof challenge === 'string' && CHALLENGE_FORM.test(challenge)))
    throw invalidField('challenge', message('field.challenge'))
  // The response of a native app comes without the cookie: anyone to whom its URL was sent would be signed up for the invited address.
  if (challenge !== undefined && details.invitation !== null)
    throw invalidField('challenge', message('field.notCombined', { other: 'invitation' }))
  await core.throttle.begin('provider', { address: currentAddress() })
  const { state, binding } = await storeSignIn(sealKeys, name, details, challenge ?? null)
  const url = await connection.authorizationUrl({ ...details, state })
  return { url, binding, isFormPost: connection.provider.responseMode === 'form_post' }
}

/** @throws NotFoundError for an unknown provider */
export function connectionOf({ connections }: ProvidersContext, name: string): ProviderConnection {
  const connection = connections.get(name)
  if (!connection) throw new NotFoundError(message('provider.unknown'))
  return connection
}

function checkedAge({ provider }: ProviderConnection, maxAge: number | undefined): number | null {
  if (maxAge === undefined) return null
  if (provider.oauth) throw invalidField('maxAge', message('field.noAuthTime', { provider: provider.title }))
  if (!Number.isInteger(maxAge) || maxAge < 1 || maxAge > MAX_AGE)
    throw invalidField('maxAge', message('field.secondsBetween', { min: 1, max: MAX_AGE }))
  return maxAge
}

function knownRedirect({ redirects }: ProviderSettings, given: string | undefined): string {
  const redirect = given ?? (redirects[0] as string)
  if (!redirects.includes(redirect)) throw invalidField('redirect', message('field.redirect'))
  return redirect
}
