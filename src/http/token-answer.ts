import type { FactorAsked, IssuedTokens } from './ports.js'
import { HttpResponse } from './response.js'

/** For answers that carry secrets, or are about credentials. */
export const noStore = { 'cache-control': 'no-store' }

/** The answer of RFC 6749, 5.1, or the question for a second factor. */
export function tokenAnswer(result: IssuedTokens | FactorAsked): HttpResponse {
  const body =
    result.status === 'secondFactor'
      ? { status: 'second_factor', challenge: result.challenge }
      : { access_token: result.accessToken, refresh_token: result.refreshToken, token_type: 'Bearer', expires_in: result.expiresIn }
  return HttpResponse.json(body, { headers: noStore })
}

export const tokenSchema = {
  type: 'object',
  properties: {
    access_token: { type: 'string', description: 'A JWT, for the Authorization header.' },
    refresh_token: { type: 'string' },
    token_type: { type: 'string', enum: ['Bearer'] },
    expires_in: { type: 'integer', format: 'int32', description: 'Seconds until the access token expires.' },
  },
  required: ['access_token', 'refresh_token', 'token_type', 'expires_in'],
}
