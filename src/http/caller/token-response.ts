import type { FactorAsked, IssuedTokens } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'

/** For answers that carry secrets, or are about credentials. */
export const noStore = { 'cache-control': 'no-store' }

/** An answer that hands out tokens. Only here are they known: a client that wants them in cookies is not shown them. */
export class TokenResponse extends HttpResponse {
  readonly tokens: IssuedTokens
  /** Whether they are of the session that the client had before. */
  readonly isRenewal: boolean

  constructor(tokens: IssuedTokens, isRenewal: boolean, headers?: Readonly<Record<string, string>>) {
    const { accessToken, refreshToken, expiresIn } = tokens
    const body = { access_token: accessToken, refresh_token: refreshToken, token_type: 'Bearer', expires_in: expiresIn }
    const { status, headers: usual, body: text } = HttpResponse.json(body, { headers: { ...noStore, ...headers } })
    super(status, usual, text)
    this.tokens = tokens
    this.isRenewal = isRenewal
  }

  override with(headers: Readonly<Record<string, string>>): TokenResponse {
    return new TokenResponse(this.tokens, this.isRenewal, { ...this.headers, ...headers })
  }
}

/**
 * The answer of RFC 6749, 5.1, or the question for a second factor. Where `initPerms({ cookies })` says so and the client
 * asks for it, the tokens go into cookies on the way out.
 *
 * @param options `isRenewal`: the tokens are of a session that goes on
 */
export function tokenAnswer(result: IssuedTokens | FactorAsked, { isRenewal = false }: { isRenewal?: boolean } = {}): HttpResponse {
  if (result.status !== 'secondFactor') return new TokenResponse(result, isRenewal)
  return HttpResponse.json({ status: 'second_factor', challenge: result.challenge }, { headers: noStore })
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

const factorSchema = {
  type: 'object',
  properties: {
    status: { type: 'string', enum: ['second_factor'] },
    challenge: { type: 'string', maxLength: 128, description: 'For second-factor/, with a code, within five minutes.' },
  },
  required: ['status', 'challenge'],
}

/** Where users may have a second factor. */
export const tokenOrFactorSchema = { anyOf: [tokenSchema, factorSchema] }

/** The same where cookies are on. */
const tokenOrCookieSchema = {
  ...tokenSchema,
  properties: {
    ...tokenSchema.properties,
    token_type: {
      type: 'string',
      enum: ['Bearer', 'Cookie'],
      description: 'Cookie where `Prefer: cookies` asked for it: then no token is shown.',
    },
  },
  required: ['token_type', 'expires_in'],
}

/** What is answered in place of tokens where cookies are on; undefined for a schema that speaks of no tokens. */
export function schemaWithCookies(schema: object | undefined): object | undefined {
  if (schema === tokenSchema) return tokenOrCookieSchema
  if (schema === tokenOrFactorSchema) return { anyOf: [tokenOrCookieSchema, factorSchema] }
  return undefined
}
