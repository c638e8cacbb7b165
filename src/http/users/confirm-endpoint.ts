import type { Confirmed } from '../../auth/flows/confirm.js'
import { message } from '../../core/messages/message.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { readTokenCookies, tokenCookies } from '../caller/cookies.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { readPasskey } from './passkey-endpoints.js'
import { assertionSchema } from './passkey-schemas.js'

/**
 * Returns the endpoint of UserResource.confirmEndpoint().
 *
 * @param name the name of the resource, for the operation id
 * @param takes `sentCodes`: whether users can have a code sent; `passkeys`: whether a passkey confirms
 */
export function confirmEndpoint(name: string, takes: { readonly sentCodes: boolean; readonly passkeys: boolean }): Endpoint {
  const keys = ['password', 'code', ...(takes.sentCodes ? (['sentCode'] as const) : [])] as const
  return new Endpoint({
    method: 'POST',
    path: 'me/confirm',
    name: `confirm${name}`,
    summary: 'Confirm that it is you',
    abilities: 'none',
    queryKeys: [],
    handler: async (context) => {
      const given = objectOf(context.input)
      const names = keys.filter((one) => Object.hasOwn(given, one))
      if (!takes.passkeys || !Object.hasOwn(given, 'passkey'))
        return confirmed(await context.perms.auth.confirm(textsOf(given, names)), context)
      const { passkey, ...texts } = readPasskey(given, names)
      return confirmed(await context.perms.auth.confirm({ ...texts, passkey }), context)
    },
    assertAllowed: async () => forbidApiKey(message('subject.sessions')),
    description: { input: inputOf(takes), output: outputSchema, problems: [413, 415, 422, 429] },
  })
}

// A client with cookies gets a new access cookie instead of the token.
function confirmed({ authTime, amr, accessToken, expiresIn = 0 }: Confirmed, { request, perms }: EndpointContext): HttpResponse {
  const { cookies } = perms.options
  const body = { authTime, amr }
  if (accessToken === undefined) return HttpResponse.json(body, { headers: noStore })
  if (cookies && readTokenCookies(request).access !== undefined) {
    const answer = HttpResponse.json({ ...body, token_type: 'Cookie', expires_in: expiresIn }, { headers: noStore })
    return answer.withCookies(tokenCookies({ accessToken, refreshToken: '', expiresIn }, cookies))
  }
  return HttpResponse.json({ ...body, access_token: accessToken, token_type: 'Bearer', expires_in: expiresIn }, { headers: noStore })
}

const inputSchema = {
  type: 'object',
  properties: {
    password: { type: 'string', minLength: 1, maxLength: 4096, description: 'Your password.' },
    code: { type: 'string', minLength: 1, maxLength: 128, description: 'A code of your authenticator app, or a recovery code.' },
  },
  minProperties: 1,
  additionalProperties: false,
}

function inputOf(takes: { readonly sentCodes: boolean; readonly passkeys: boolean }): object {
  const sentCode = { type: 'string', minLength: 1, maxLength: 64, description: 'A code that me/confirm/code/ sent to you.' }
  const properties = {
    ...inputSchema.properties,
    ...(takes.sentCodes && { sentCode }),
    ...(takes.passkeys && { passkey: assertionSchema }),
  }
  return { ...inputSchema, properties }
}

const outputSchema = {
  type: 'object',
  properties: {
    authTime: { type: 'string', format: 'date-time', description: 'From this time on, your session is recent.' },
    amr: { type: 'array', items: { type: 'string', maxLength: 32 }, maxItems: 8, description: 'How you confirmed it (RFC 8176).' },
    access_token: { type: 'string', description: 'A JWT that shows the confirmation, if the tokens of this server do.' },
    token_type: { type: 'string', enum: ['Bearer', 'Cookie'] },
    expires_in: { type: 'integer', format: 'int32', description: 'Seconds until the access token expires.' },
  },
  required: ['authTime', 'amr'],
}
