import { InvalidTokenError, PermsError, ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { enterAsActor } from '../../policy/context.js'
import type { EndpointContext } from '../core/endpoint.js'
import { AmbiguousCredentialsError } from '../core/errors.js'
import type { IssuedTokens, PermsPort } from '../core/ports.js'
import { languageOf, problemResponse } from '../core/problems.js'
import type { HttpRequest } from '../core/request.js'
import { HttpResponse } from '../core/response.js'
import { asksForCookies, clearedCookies, isAccessToken, readTokenCookies, type TokenCookies, tokenCookies } from './cookies.js'
import { noStore, type TokenResponse, tokenAnswer } from './token-response.js'

/**
 * Moves the tokens of a response into cookies, if the client asks for cookies or already has them, so that no script can read
 * them. Otherwise returns the response unchanged. A new sign-in ends the session of the old cookies.
 */
export async function moveTokensToCookies(response: TokenResponse, { request, actor, perms }: EndpointContext): Promise<HttpResponse> {
  const { cookies } = perms.options
  const held = cookies ? readTokenCookies(request) : {}
  const asks = asksForCookies(request)
  if (!cookies || !(asks || isHeld(held))) return response
  const { tokens, status, headers, isRenewal } = response
  if (!isRenewal && actor === null) await endSession(held, request, perms)
  const body = { token_type: 'Cookie', expires_in: tokens.expiresIn }
  return HttpResponse.json(body, { status, headers: { ...headers, ...(asks && { 'preference-applied': 'cookies' }) } }).withCookies(
    tokenCookies(tokens, cookies),
  )
}

/** Returns the response with the tokens in cookies. Ends the session of the cookies that they replace. */
export async function replaceSession(
  response: HttpResponse,
  tokens: IssuedTokens,
  { request, perms }: EndpointContext,
): Promise<HttpResponse> {
  const { cookies } = perms.options
  if (!cookies) return response
  await endSession(readTokenCookies(request), request, perms)
  return response.withCookies(tokenCookies(tokens, cookies))
}

/**
 * Exchanges the refresh token in a cookie for new tokens. Deletes the cookies if the token is not valid.
 *
 * @returns the response, or undefined if there is no refresh cookie
 * @throws AmbiguousCredentialsError if the request also has a body
 */
export async function refreshFromCookie({ request, input, perms }: EndpointContext): Promise<HttpResponse | undefined> {
  const { refresh } = perms.options.cookies ? readTokenCookies(request) : {}
  if (refresh === undefined) return undefined
  if (input !== undefined) throw new AmbiguousCredentialsError(message('request.cookieAndBody'))
  try {
    return tokenAnswer(await perms.auth.refresh(refresh), { isRenewal: true })
  } catch (error) {
    if (!(error instanceof InvalidTokenError || error instanceof ValidationError)) throw error
    return problemResponse(new InvalidTokenError(), languageOf(request, perms)).withCookies(clearedCookies)
  }
}

/**
 * Ends the session of the caller and answers 204. Deletes the cookies even if their session has already ended. If the access
 * token has expired, ends the session through the refresh token.
 */
export async function signOut({ request, actor, perms }: EndpointContext): Promise<HttpResponse> {
  const held = perms.options.cookies ? readTokenCookies(request) : {}
  const answer = HttpResponse.empty({ headers: noStore })
  if (actor !== null || !isHeld(held)) {
    await perms.auth.signOut()
    return isHeld(held) ? answer.withCookies(clearedCookies) : answer
  }
  await endSession(held, request, perms)
  return answer.withCookies(clearedCookies)
}

function isHeld({ access, refresh }: Partial<TokenCookies>): boolean {
  return access !== undefined || refresh !== undefined
}

/** Ends the session of the cookies, if it is active. */
async function endSession({ access, refresh }: Partial<TokenCookies>, { address }: HttpRequest, perms: PermsPort): Promise<void> {
  const signOutAs = async (accessToken: string) => {
    const actor = await perms.authenticate(accessToken)
    await enterAsActor(actor, () => perms.auth.signOut(), { address })
  }
  if (isAccessToken(access) && (await isDone(signOutAs(access)))) return
  if (refresh !== undefined) await isDone(perms.auth.refresh(refresh).then(({ accessToken }) => signOutAs(accessToken)))
}

/** Returns whether the work succeeded. An invalid token has no session to end and counts as a failure. */
async function isDone(work: Promise<void>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (error instanceof PermsError && error.status < 500) return false
    throw error
  }
}
