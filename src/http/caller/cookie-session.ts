import { InvalidTokenError, PermsError, ValidationError } from '../../core/errors.js'
import { enterAsActor } from '../../policy/context.js'
import type { EndpointContext } from '../core/endpoint.js'
import { AmbiguousCredentialsError } from '../core/errors.js'
import type { PermsPort } from '../core/ports.js'
import { problemResponse } from '../core/problems.js'
import type { HttpRequest } from '../core/request.js'
import { HttpResponse } from '../core/response.js'
import { asksForCookies, clearedCookies, isAccessToken, readTokenCookies, type TokenCookies, tokenCookies } from './cookies.js'
import { noStore, type TokenResponse, tokenAnswer } from './token-response.js'

/**
 * Tokens on their way out: in cookies for a client that asks for them or has them, so that no script of its page gets to see
 * them; else as they are. Who signs in anew leaves the session before.
 */
export async function inCookies(response: TokenResponse, { request, actor, perms }: EndpointContext): Promise<HttpResponse> {
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

/**
 * New tokens for the refresh token of the cookie, where cookies are on and the request has one and no body. One that is no
 * good is taken away.
 *
 * @returns undefined where there is none: the body says
 * @throws AmbiguousCredentialsError where one came in the body too
 */
export async function refreshFromCookie({ request, input, perms }: EndpointContext): Promise<HttpResponse | undefined> {
  const { refresh } = perms.options.cookies ? readTokenCookies(request) : {}
  if (refresh === undefined) return undefined
  if (input !== undefined) throw new AmbiguousCredentialsError('A refresh token in a cookie needs no body: send one of the two.')
  try {
    return tokenAnswer(await perms.auth.refresh(refresh), { isRenewal: true })
  } catch (error) {
    if (!(error instanceof InvalidTokenError || error instanceof ValidationError)) throw error
    return problemResponse(new InvalidTokenError()).withCookies(clearedCookies)
  }
}

/**
 * Signs out: 204. Cookies are taken away also where their session has ended, and one whose access token has expired ends
 * through its refresh token.
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

/** Ends the session that cookies stand for, if it is alive. */
async function endSession({ access, refresh }: Partial<TokenCookies>, { address }: HttpRequest, perms: PermsPort): Promise<void> {
  const signOutAs = async (accessToken: string) => {
    const actor = await perms.authenticate(accessToken)
    await enterAsActor(actor, () => perms.auth.signOut(), { address })
  }
  if (isAccessToken(access) && (await isDone(signOutAs(access)))) return
  if (refresh !== undefined) await isDone(perms.auth.refresh(refresh).then(({ accessToken }) => signOutAs(accessToken)))
}

/** Whether it succeeded; a token that is no good has no session to end. */
async function isDone(work: Promise<void>): Promise<boolean> {
  try {
    await work
    return true
  } catch (error) {
    if (error instanceof PermsError && error.status < 500) return false
    throw error
  }
}
