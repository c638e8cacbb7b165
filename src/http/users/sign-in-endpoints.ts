import type { RememberMeOptions } from '../../auth/tokens/session-life.js'
import { MAX_EMAIL_INPUT_LENGTH, MAX_EMAIL_LENGTH } from '../../schema/email.js'
import { refreshFromCookie, signOut } from '../caller/cookie-session.js'
import { readDeviceCookie } from '../caller/cookies.js'
import { tokenAnswer, tokenSchema } from '../caller/token-response.js'
import { Endpoint } from '../core/endpoint.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { splitLifetime, withLifetime } from './lifetime-input.js'

interface LoginOptions {
  readonly bounds: RememberMeOptions | undefined
  readonly knowsDevices: boolean
}

/**
 * Returns the endpoint of UserResource.loginEndpoint().
 *
 * @param output the schema of the response
 * @param options `bounds` of the session's lifetime; undefined: clients cannot choose. `knowsDevices`: whether users may trust devices
 */
export function loginEndpoint(
  name: string,
  identifiersOf: () => readonly string[],
  output: object,
  { bounds, knowsDevices }: LoginOptions,
): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'login',
    name: `login${name}`,
    summary: 'Sign in',
    public: true,
    ignoresCredentials: true,
    queryKeys: [],
    handler: async ({ input, perms, request }) => {
      const identifiers = identifiersOf()
      const { chosen, texts } = splitLifetime(objectOf(input), bounds !== undefined)
      const named = identifiers.filter((identifier) => Object.hasOwn(texts, identifier))
      const device = knowsDevices && Object.hasOwn(texts, 'deviceToken') ? (['deviceToken'] as const) : []
      const { password, deviceToken, ...who } = textsOf<string>(texts, [
        ...(named.length > 0 ? named : identifiers.slice(0, 1)),
        'password',
        ...device,
      ])
      // The list of sessions shows the User-Agent.
      return tokenAnswer(
        await perms.auth.signIn({
          ...who,
          ...chosen,
          password: password as string,
          device: request.header('user-agent') || undefined,
          deviceToken: deviceToken ?? (knowsDevices && perms.options.cookies ? readDeviceCookie(request) : undefined),
        }),
      )
    },
    description: { input: loginSchema(identifiersOf(), { bounds, knowsDevices }), output, problems: [401, 403, 413, 415, 422, 429] },
  })
}

/** Returns the endpoint of UserResource.refreshEndpoint(). @param takesCookies whether the body is optional */
export function refreshEndpoint(name: string, takesCookies: boolean): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'refresh',
    name: `refresh${name}`,
    summary: 'Get new tokens for a refresh token',
    public: true,
    ignoresCredentials: true,
    queryKeys: [],
    handler: async (context) =>
      (await refreshFromCookie(context)) ??
      tokenAnswer(await context.perms.auth.refresh(textsOf(context.input, ['refresh_token']).refresh_token), { isRenewal: true }),
    description: {
      input: textSchema(['refresh_token'], { refresh_token: 4096 }),
      isInputOptional: takesCookies,
      output: tokenSchema,
      problems: [401, 413, 415, 422, 429],
    },
  })
}

/** Returns the endpoint of UserResource.logoutEndpoint(). @param takesCookies whether it also deletes cookies of ended sessions */
export function logoutEndpoint(name: string, takesCookies: boolean): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'logout',
    name: `logout${name}`,
    summary: 'Sign out',
    status: 204,
    public: takesCookies,
    forgivesCookies: true,
    abilities: 'none',
    queryKeys: [],
    readsBody: false,
    handler: signOut,
    description: { problems: [] },
  })
}

const deviceTokenSchema = {
  type: 'string',
  minLength: 1,
  maxLength: 64,
  description: 'The token of a trusted device, instead of the second factor. Browsers send the cookie `__Host-device`.',
}

function loginSchema(identifiers: readonly string[], { bounds, knowsDevices }: LoginOptions): object {
  const schema = withLifetime(credentialsSchema(identifiers), bounds)
  return knowsDevices
    ? { ...schema, properties: { ...(schema as { properties: object }).properties, deviceToken: deviceTokenSchema } }
    : schema
}

// The body has one of the identifiers.
function credentialsSchema(identifiers: readonly string[]): object {
  const lengthOf = (name: string) => (name === 'email' ? MAX_EMAIL_LENGTH : MAX_EMAIL_INPUT_LENGTH)
  const lengths = { ...Object.fromEntries(identifiers.map((name) => [name, lengthOf(name)])), password: 4096 }
  const [first, ...others] = identifiers
  if (others.length === 0) return textSchema([first ?? 'email', 'password'], lengths)
  const schema = textSchema([...identifiers, 'password'], lengths)
  return { ...schema, required: ['password'], oneOf: identifiers.map((name) => ({ required: [name] })) }
}
