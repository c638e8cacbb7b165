import type { FactorAsked, IssuedTokens } from '../core/ports.js'
import { HttpResponse } from '../core/response.js'

/** The headers of responses with secrets, or about credentials. */
export const noStore = { 'cache-control': 'no-store' }

/**
 * A response with tokens. `moveTokensToCookies` recognizes it and removes the tokens from the body for clients that use cookies.
 */
export class TokenResponse extends HttpResponse {
  readonly tokens: IssuedTokens
  /** Whether the tokens continue the client's earlier session. */
  readonly isRenewal: boolean

  constructor(tokens: IssuedTokens, isRenewal: boolean, headers?: Readonly<Record<string, string>>) {
    const { accessToken, refreshToken, expiresIn, deviceToken, deviceExpiresIn } = tokens
    const body = {
      access_token: accessToken,
      refresh_token: refreshToken,
      token_type: 'Bearer',
      expires_in: expiresIn,
      ...(deviceToken !== undefined && { device_token: deviceToken, device_expires_in: deviceExpiresIn }),
    }
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
 * Returns the response with tokens (RFC 6749, 5.1), or with the challenge for a second factor. If cookies are on and the client
 * asks for them, the tokens are moved into cookies later.
 *
 * @param options `isRenewal`: whether the tokens continue an earlier session
 */
export function tokenAnswer(result: IssuedTokens | FactorAsked, { isRenewal = false }: { isRenewal?: boolean } = {}): HttpResponse {
  if (result.status !== 'secondFactor') return new TokenResponse(result, isRenewal)
  return HttpResponse.json({ status: 'second_factor', challenge: result.challenge, factors: result.factors }, { headers: noStore })
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
    challenge: { type: 'string', maxLength: 128, description: 'Send it to second-factor/ with a code or a passkey, within five minutes.' },
    factors: {
      type: 'array',
      items: { type: 'string', enum: ['totp', 'passkey'] },
      maxItems: 2,
      description: 'The second factors of the account.',
    },
  },
  required: ['status', 'challenge', 'factors'],
}

/** The schema of a sign-in response, if users may have a second factor. */
export const tokenOrFactorSchema = { anyOf: [tokenSchema, factorSchema] }

/** The schema of the response to a second factor, if users may trust devices. */
export const tokenOrDeviceSchema = withDevice(tokenSchema)

function withDevice<T extends { readonly properties: object }>(schema: T) {
  return {
    ...schema,
    properties: {
      ...schema.properties,
      device_token: { type: 'string', maxLength: 64, description: 'Send it as deviceToken to login/, instead of the second factor.' },
      device_expires_in: { type: 'integer', format: 'int32', description: 'Seconds until the device token expires.' },
    },
  }
}

/** The schema of a token response, if cookies are on. */
const tokenOrCookieSchema = {
  ...tokenSchema,
  properties: {
    ...tokenSchema.properties,
    token_type: {
      type: 'string',
      enum: ['Bearer', 'Cookie'],
      description: 'Cookie if the client sent `Prefer: cookies`. The body then contains no token.',
    },
  },
  required: ['token_type', 'expires_in'],
}

/** Returns the schema to use if cookies are on, or undefined for a schema without tokens. */
export function schemaWithCookies(schema: object | undefined): object | undefined {
  if (schema === tokenSchema) return tokenOrCookieSchema
  if (schema === tokenOrDeviceSchema) return withDevice(tokenOrCookieSchema)
  if (schema === tokenOrFactorSchema) return { anyOf: [tokenOrCookieSchema, factorSchema] }
  return undefined
}
