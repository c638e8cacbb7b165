import { ConfigurationError, PermsError, UnauthorizedError, ValidationError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { asSystem, currentActor, currentAddress } from '../../../policy/context.js'
import { assertSession } from '../../../policy/fresh-session.js'
import type { LibraryId } from '../../../policy/registered-types.js'
import { recent } from '../../../policy/session-rules.js'
import { isActive, type UserRow } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { User } from '../../../users/user.js'
import type { SignedIn, SignInResult } from '../../auth-types.js'
import type { AuthCore } from '../../core.js'
import { withAttempt } from '../../throttle/attempts.js'
import type { NewSession } from '../../tokens/sessions.js'
import { userClass } from '../credentials.js'
import type { PrepareRegistration } from '../invitations/accept.js'
import { completeSignIn } from '../start-session.js'
import { begin, connectionOf, type StartedProviderSignIn, type StartProviderOptions } from './begin.js'
import type { ProviderTokens } from './connection.js'
import { type ProvidersContext, providersContext } from './context.js'
import { type IdentityInfo, listIdentities, storedTokens, unlinkIdentity } from './identities.js'
import type { ProviderSettings } from './options.js'
import { ProviderRefusal, ProviderResponseError } from './provider-error.js'
import { resolveUser } from './resolve-user.js'
import { consumeCode, consumeState, type Exchange, type SignInDetails, storeProvedUser } from './sign-in-store.js'

/** The method of a session that began with an identity provider. RFC 8176 has no name for it. */
export const FEDERATED = 'fed'

/** Seconds within which a user must have signed in or confirmed the session to link an account. */
export const LINK_MAX_AGE = 300

// Bounds of the field names in an event.
const MAX_NAME = 64
const MAX_NAMES = 20

export interface FinishProviderOptions {
  /** The value of the browser's cookie. */
  readonly binding?: string | undefined
  /** A description for the list of sessions. */
  readonly device?: string | undefined
  /** Whether a browser is signed in at once, with tokens in cookies. Otherwise it exchanges its cookie for tokens. @defaultValue false */
  readonly signsIn?: boolean | undefined
  /** Checks the values of a new user. null: nobody may sign up. @defaultValue no further checks */
  readonly prepare?: PrepareRegistration | null | undefined
}

/** The result of a provider's response. `redirect` contains no token. */
export type ProviderResult =
  | { readonly status: 'signedIn'; readonly redirect: string; readonly tokens: SignedIn }
  /** The browser exchanges its cookie: auth.providers.exchange({ binding }). */
  | { readonly status: 'exchange'; readonly redirect: string }
  /** The redirect of a native app has a one-time code, which only the app with the verifier exchanges. */
  | { readonly status: 'code'; readonly redirect: string }
  | { readonly status: 'linked'; readonly redirect: string }
  /** The redirect has the code of the error. */
  | { readonly status: 'failed'; readonly redirect: string; readonly error: unknown }

/** Signs users in with identity providers: `perms.auth.providers`. All functions throw ConfigurationError without `initPerms({ providers })`. */
export interface Providers {
  /** Whether providers are configured. */
  readonly isReady: boolean
  /** Returns the names and titles of the providers, for buttons. */
  list(): readonly { readonly name: string; readonly title: string }[]
  /**
   * Begins a sign-in.
   *
   * @throws NotFoundError for an unknown provider, ValidationError for a redirect that is not in the list, TooManyAttemptsError
   * @throws ServiceUnavailableError while the provider does not answer
   * @example const { url, binding } = await perms.auth.providers.start('github', { redirect: '/welcome' })
   */
  start(name: string, options?: StartProviderOptions): Promise<StartedProviderSignIn>
  /**
   * Begins to link an account at a provider to the current user, whose session must be recent. It needs the cookie of a browser: without
   * one, a user could send the URL to another person, whose account at the provider would then be linked.
   *
   * @throws InsufficientUserAuthenticationError, ForbiddenError with an API key or during impersonation, and like start
   */
  startLink(name: string, options?: Pick<StartProviderOptions, 'redirect'>): Promise<StartedProviderSignIn>
  /**
   * Uses a provider's response: checks it, and signs its user in, up, or links the account.
   *
   * @param parameters those of the callback
   * @throws ProviderResponseError (401) when the state is not one that this browser began; later failures are results
   */
  finish(name: string, parameters: URLSearchParams, options?: FinishProviderOptions): Promise<ProviderResult>
  /**
   * Exchanges the one-time code of a native app, or the cookie of a browser, for tokens or the challenge of a second factor.
   *
   * @throws InvalidTokenError for a wrong, used or expired value
   */
  exchange(given: Exchange, options?: { device?: string | undefined }): Promise<SignInResult>
  /** Returns the linked accounts of a user. */
  identities(user: UserRow): Promise<readonly IdentityInfo[]>
  /**
   * Removes a linked account with its stored tokens.
   *
   * @returns whether the user had it
   * @throws ConflictError for the last way to sign in, ForbiddenError with an API key or for a user of the same or a higher rank
   */
  unlink(user: UserRow, identityId: LibraryId): Promise<boolean>
  /** Returns the stored tokens of a linked account. @returns null without `storeTokens`, and when no key decrypts them */
  tokens(user: UserRow, identityId: LibraryId): Promise<ProviderTokens | null>
}

/** @param settings undefined without `initPerms({ providers })` */
export function providers(core: AuthCore, settings: ProviderSettings | undefined): Providers {
  const known = settings && providersContext(core, settings)
  const context = (): ProvidersContext => {
    if (known) return known
    throw new ConfigurationError(
      'Sign-in with providers needs initPerms({ providers: { github: github({ clientId, clientSecret }) }, providerSignIn: { usersUrl } }).',
    )
  }
  return {
    isReady: known !== undefined,
    list: () => [...(settings?.providers ?? [])].map(([name, { title }]) => ({ name, title })),
    start: async (name, options = {}) => {
      core.assertNoTransaction('providers.start')
      return await begin(context(), name, options, null)
    },
    startLink: async (name, options = {}) => {
      core.assertNoTransaction('providers.startLink')
      return await begin(context(), name, { redirect: options.redirect }, linkingSession())
    },
    finish: async (name, parameters, options = {}) => {
      core.assertNoTransaction('providers.finish')
      return await finish(context(), name, parameters, options)
    },
    exchange: async (given, { device } = {}) => {
      core.assertNoTransaction('providers.exchange')
      return await exchange(context(), given, device)
    },
    identities: (user: User) => listIdentities(user),
    unlink: (user: User, identityId) => unlinkIdentity(context(), user, identityId),
    tokens: (user: User, identityId) => storedTokens(context(), user, identityId),
  }
}

/** Returns the caller's session. @throws unless it is recent */
function linkingSession(): NonNullable<SignInDetails['link']> {
  const actor = currentActor()
  if (!actor) throw new UnauthorizedError()
  forbidApiKey(message('subject.linkedAccounts'))
  assertSession(actor, recent(LINK_MAX_AGE))
  if (!actor.sessionId)
    throw new ConfigurationError(
      'startLink() needs the session of an access token, and runAs() has none: call it in a request with an access token.',
    )
  return { userId: actor.id, sessionId: actor.sessionId }
}

async function finish(
  context: ProvidersContext,
  name: string,
  parameters: URLSearchParams,
  { binding, device, signsIn = false, prepare }: FinishProviderOptions,
): Promise<ProviderResult> {
  const { core, sealKeys } = context
  const connection = connectionOf(context, name)
  const state = parameters.get('state') ?? ''
  const attempt = await core.throttle.begin('mailToken', { address: currentAddress() })
  const used = await withAttempt(
    attempt,
    (error) => error instanceof ProviderResponseError,
    () => consumeState(sealKeys, name, state, binding),
  ).catch((error: unknown) => {
    emitFailure(context, name, error)
    throw error
  })
  const { details } = used
  try {
    const proved = await connection.prove(parameters, { ...details, state })
    const user = await resolveUser(context, { name, provider: connection.provider, proved, details, prepare })
    if (details.link) return { status: 'linked', redirect: details.redirect }
    if (signsIn && !used.isNative) {
      const tokens = await signIn(core, user, { device, authTime: proved.authTime })
      if (tokens.status === 'signedIn') return { status: 'signedIn', redirect: details.redirect, tokens }
    }
    const code = await storeProvedUser(sealKeys, used, { userId: user.id, authTime: proved.authTime }, binding)
    return code === null
      ? { status: 'exchange', redirect: withParameter(details.redirect, 'sign_in', 'exchange') }
      : { status: 'code', redirect: withParameter(details.redirect, 'code', code) }
  } catch (error) {
    if (!(error instanceof PermsError) || error.status === 500) throw error
    emitFailure(context, name, error)
    return { status: 'failed', redirect: withParameter(details.redirect, 'error', codeOf(error)), error }
  }
}

async function exchange(context: ProvidersContext, given: Exchange, device: string | undefined): Promise<SignInResult> {
  const { core, sealKeys } = context
  const attempt = await core.throttle.begin('mailToken', { address: currentAddress() })
  const { userId, authTime } = await withAttempt(
    attempt,
    (error) => error instanceof ProviderResponseError,
    () => consumeCode(sealKeys, given),
  )
  const user = await asSystem(() => userClass().get(userId))
  if (!user || !isActive(user)) throw new ProviderResponseError('state')
  return await signIn(core, user, { device, authTime })
}

async function signIn(core: AuthCore, user: User, session: Pick<NewSession, 'device' | 'authTime'>): Promise<SignInResult> {
  const result = await completeSignIn(core, user, { ...session, amr: [FEDERATED] })
  // The row changed between reading and locking it, for example by a new password.
  if (!result) throw new ProviderResponseError('response')
  return result
}

function emitFailure({ core }: ProvidersContext, provider: string, error: unknown): void {
  const reason = error instanceof ProviderResponseError ? error.flaw : error instanceof PermsError ? codeOf(error) : 'error'
  core.emit('providerSignInFailed', { provider, reason, ...fieldsOf(error), address: currentAddress() })
}

/** Returns the names of the fields of an invalid new user, without messages, which may quote values. newUser() may take names from claims. */
function fieldsOf(error: unknown): { fields?: readonly string[] } {
  if (!(error instanceof ValidationError)) return {}
  const names = error.errors.map(({ field }) => field.slice(0, MAX_NAME))
  return names.length > 0 ? { fields: [...new Set(names)].slice(0, MAX_NAMES) } : {}
}

/** Returns the code of an error for the page that the user returns to. */
function codeOf(error: PermsError): string {
  if (error instanceof ProviderRefusal) return error.reason
  return error instanceof ProviderResponseError && error.flaw === 'denied' ? 'access_denied' : error.code
}

/** Returns a URL or path with a further query parameter. */
export function withParameter(redirect: string, name: string, value: string): string {
  return `${redirect}${redirect.includes('?') ? '&' : '?'}${name}=${encodeURIComponent(value)}`
}
