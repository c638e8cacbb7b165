import type { PrepareRegistration } from '../../auth/flows/invitations/accept.js'
import { MAX_AGE, type StartedProviderSignIn, type StartProviderOptions } from '../../auth/flows/providers/begin.js'
import { ProviderResponseError } from '../../auth/flows/providers/provider-error.js'
import { LINK_MAX_AGE, type ProviderResult } from '../../auth/flows/providers/providers.js'
import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { recent } from '../../policy/session-rules.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { replaceSession } from '../caller/cookie-session.js'
import { clearedProviderCookie, providerCookie, readProviderCookie } from '../caller/cookies.js'
import { assertOwnOrigin } from '../caller/origin.js'
import { noStore, tokenAnswer } from '../caller/token-response.js'
import { readForm } from '../core/body.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { idSchemaOf } from './id-schemas.js'

/** The longest response of a provider, in bytes. */
const MAX_RESPONSE = 16_384

type Prepare = (context: EndpointContext, values: object, known: object) => ReturnType<PrepareRegistration>

/**
 * Returns the endpoints for identity providers.
 *
 * @param name the name of the resource, for operation ids
 * @param prepare reads the values of a new user like create; null if nobody may sign up
 * @param signedIn the schema of a sign-in response
 */
export function providerEndpoints(name: string, prepare: Prepare | null, signedIn: object): Endpoint[] {
  return [
    new Endpoint({
      ...open('GET', 'providers'),
      name: `list${name}Providers`,
      summary: 'List the identity providers',
      handler: ({ perms }) => HttpResponse.json({ data: perms.auth.providers.list() }),
      description: { output: listOf(providerSchema) },
    }),
    new Endpoint({
      ...open('POST', 'providers/:provider/start'),
      name: `start${name}ProviderSignIn`,
      summary: 'Begin to sign in with an identity provider',
      handler: async ({ params, input, perms }) => started(await perms.auth.providers.start(params.provider ?? '', startOptions(input))),
      description: {
        input: startSchema(['redirect', 'challenge', 'invitation', 'maxAge']),
        isInputOptional: true,
        output: startedSchema,
        problems: [404, 413, 415, 422, 429, 503],
      },
    }),
    callbackEndpoint('GET', name, prepare),
    callbackEndpoint('POST', name, prepare),
    exchangeEndpoint(name, signedIn),
    ...identityEndpoints(name),
  ]
}

function callbackEndpoint(method: 'GET' | 'POST', name: string, prepare: Prepare | null): Endpoint {
  return new Endpoint({
    ...open(method, 'providers/:provider/callback'),
    // Providers add parameters of their own.
    queryKeys: undefined,
    name: `${method === 'GET' ? 'finish' : 'post'}${name}ProviderSignIn`,
    summary: 'Return from an identity provider',
    status: 303,
    anyFormat: true,
    readsBody: false,
    handler: async (context) => {
      const { request, params, query, perms } = context
      const parameters = method === 'GET' ? query : await readForm(request, MAX_RESPONSE)
      if (parameters.toString().length > MAX_RESPONSE) throw new ProviderResponseError('response')
      const result = await perms.auth.providers.finish(params.provider ?? '', parameters, {
        binding: readProviderCookie(request),
        device: request.header('user-agent') || undefined,
        signsIn: perms.options.cookies !== undefined,
        prepare: prepare && ((values, known) => prepare(context, values, known)),
      })
      return await returned(result, context)
    },
    description: { problems: method === 'GET' ? [401, 404, 429, 503] : [401, 404, 413, 415, 429, 503] },
  })
}

/** Returns the browser to the page or app that began. The URL has no token. */
async function returned(result: ProviderResult, context: EndpointContext): Promise<HttpResponse> {
  const headers = { ...noStore, location: result.redirect, 'referrer-policy': 'no-referrer' }
  const response = HttpResponse.empty({ status: 303, headers })
  // The page exchanges the cookie.
  if (result.status === 'exchange') return response
  const cleared = response.withCookies([clearedProviderCookie])
  return result.status === 'signedIn' ? await replaceSession(cleared, result.tokens, context) : cleared
}

function exchangeEndpoint(name: string, signedIn: object): Endpoint {
  return new Endpoint({
    ...open('POST', 'providers/exchange'),
    name: `exchange${name}ProviderCode`,
    summary: 'Exchange the one-time code or cookie of a provider sign-in',
    handler: async ({ input, perms, request }) => {
      const device = request.header('user-agent') || undefined
      if (input !== undefined) return tokenAnswer(await perms.auth.providers.exchange(textsOf(input, ['code', 'verifier']), { device }))
      assertOwnOrigin(request, perms.options.cookies ?? { origins: [], refreshMaxAge: 0 })
      return tokenAnswer(await perms.auth.providers.exchange({ binding: readProviderCookie(request) }, { device }))
    },
    description: {
      input: textSchema(['code', 'verifier'], { code: 128, verifier: 128 }),
      isInputOptional: true,
      output: signedIn,
      problems: [401, 403, 413, 415, 422, 429],
    },
  })
}

/** Returns the endpoints for the caller's own linked accounts. */
function identityEndpoints(name: string): Endpoint[] {
  const own = { abilities: 'none' as const, queryKeys: [] }
  const assertAllowed = async () => forbidApiKey(message('subject.linkedAccounts'))
  return [
    new Endpoint({
      ...own,
      method: 'GET',
      path: 'me/identities',
      name: `list${name}Identities`,
      summary: 'List your linked accounts',
      handler: async ({ caller, perms }) =>
        HttpResponse.json({ data: await perms.auth.providers.identities(userOf(caller)) }, { headers: noStore }),
      description: { output: listOf(identitySchema) },
    }),
    new Endpoint({
      ...own,
      method: 'POST',
      path: 'me/identities',
      name: `link${name}Identity`,
      summary: 'Begin to link an account at an identity provider',
      stepUp: recent(LINK_MAX_AGE),
      handler: async ({ input, perms }) => {
        const { provider, ...options } = optionalTexts(input, ['provider', 'redirect'], ['provider'])
        return started(await perms.auth.providers.startLink(provider ?? '', options))
      },
      assertAllowed,
      description: {
        input: startSchema(['provider', 'redirect'], ['provider']),
        output: startedSchema,
        problems: [404, 413, 415, 422, 429, 503],
      },
    }),
    new Endpoint({
      ...own,
      method: 'DELETE',
      path: 'me/identities/:identityId',
      name: `unlink${name}Identity`,
      summary: 'Remove a linked account',
      status: 204,
      handler: async ({ caller, params, perms }) => {
        if (!(await perms.auth.providers.unlink(userOf(caller), params.identityId ?? ''))) throw new NotFoundError()
        return HttpResponse.empty({ headers: noStore })
      },
      assertAllowed,
      description: { problems: [404, 409] },
    }),
  ]
}

function started({ url, binding, isFormPost }: StartedProviderSignIn): HttpResponse {
  const response = HttpResponse.json({ url }, { headers: noStore })
  return binding === null ? response : response.withCookies([providerCookie(binding, isFormPost)])
}

function open<const M extends 'GET' | 'POST'>(method: M, path: string) {
  return { method, path, public: true, ignoresCredentials: true, queryKeys: [] as readonly string[] | undefined }
}

/** Returns the given texts of a body. @throws ValidationError for other keys, for values that are no text, and without `required` */
function optionalTexts<const K extends string>(
  input: unknown,
  names: readonly K[],
  required: readonly K[] = [],
): Partial<Record<K, string>> {
  const given = objectOf(input ?? {})
  const named = names.filter((one) => required.includes(one) || Object.hasOwn(given, one))
  return textsOf(given, named)
}

function startOptions(input: unknown): StartProviderOptions {
  const { maxAge, ...texts } = objectOf(input ?? {})
  // start() checks the number.
  return { ...optionalTexts(texts, ['redirect', 'challenge', 'invitation']), ...(maxAge === undefined ? {} : { maxAge: maxAge as number }) }
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

const startProperties = {
  provider: { type: 'string', minLength: 1, maxLength: 64, description: 'The name of the provider.' },
  redirect: { type: 'string', minLength: 1, maxLength: 500, description: 'Where to return to: one of the places of the application.' },
  challenge: { type: 'string', minLength: 43, maxLength: 43, description: "For native apps: the SHA-256 of the app's verifier (S256)." },
  invitation: { type: 'string', minLength: 1, maxLength: 128, description: 'The token of an invitation.' },
  maxAge: {
    ...{ type: 'integer', format: 'int32', minimum: 1, maximum: MAX_AGE },
    description: 'The provider asks the user to sign in again after this number of seconds, such as the max_age of a 401.',
  },
}

function startSchema(names: readonly (keyof typeof startProperties)[], required: readonly string[] = []): object {
  const properties = Object.fromEntries(names.map((one) => [one, startProperties[one]]))
  return { type: 'object', properties, ...(required.length > 0 && { required }), additionalProperties: false }
}

const startedSchema = {
  type: 'object',
  properties: { url: { type: 'string', format: 'uri', maxLength: 8192, description: 'The page of the provider. Open it in the browser.' } },
  required: ['url'],
}

const listOf = (items: object) => ({ type: 'object', properties: { data: { type: 'array', items } }, required: ['data'] })

const providerSchema = {
  type: 'object',
  properties: { name: { type: 'string', maxLength: 64 }, title: { type: 'string', maxLength: 255 } },
  required: ['name', 'title'],
}

const identitySchema = {
  type: 'object',
  properties: {
    get id() {
      return idSchemaOf('identity')
    },
    provider: { type: 'string', maxLength: 64 },
    issuer: { type: 'string', maxLength: 255 },
    label: { type: ['string', 'null'], maxLength: 320, description: 'A name of the account, such as its address.' },
    createdAt: { type: 'string', format: 'date-time' },
    lastUsedAt: { type: ['string', 'null'], format: 'date-time' },
  },
  required: ['id', 'provider', 'issuer', 'label', 'createdAt', 'lastUsedAt'],
}
