import type { RememberMeOptions } from '../../auth/tokens/session-life.js'
import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { textProblem } from '../../schema/text-input.js'
import { assertNoErrors, unknownKeys } from '../../schema/validator.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { Passkey } from '../../users/passkey.js'
import type { User } from '../../users/user.js'
import { noStore, tokenAnswer, tokenSchema } from '../caller/token-response.js'
import { Endpoint, type EndpointContext, type EndpointOptions } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { objectOf } from '../crud/input.js'
import { splitLifetime, withLifetime } from './lifetime-input.js'
import {
  addedSchema,
  assertionSchema,
  creationOptionsSchema,
  nameSchema,
  passkeyListSchema,
  passkeySchema,
  registrationSchema,
  requestOptionsSchema,
} from './passkey-schemas.js'

/**
 * Returns the endpoints for passkeys.
 *
 * @param name the name of the resource, for operation ids
 * @param bounds of the session's lifetime; undefined: clients cannot choose
 */
export function passkeyEndpoints(name: string, bounds: RememberMeOptions | undefined): Endpoint[] {
  return [...signInEndpoints(name, bounds), ...registrationEndpoints(name), ...manageEndpoints(name)]
}

function signInEndpoints(name: string, bounds: RememberMeOptions | undefined): Endpoint[] {
  return [
    new Endpoint({
      ...{ method: 'POST', path: 'passkeys/options', name: `get${name}PasskeySignInOptions`, public: true, ignoresCredentials: true },
      summary: 'Options for signing in with a passkey',
      queryKeys: [],
      readsBody: false,
      handler: async ({ perms }) => HttpResponse.json(await perms.auth.passkeys.signInOptions(), { headers: noStore }),
      description: { output: requestOptionsSchema, problems: [429] },
    }),
    new Endpoint({
      ...{ method: 'POST', path: 'passkeys', name: `login${name}WithPasskey`, public: true, ignoresCredentials: true },
      summary: 'Sign in with a passkey',
      queryKeys: [],
      handler: async ({ input, perms, request }) => {
        const { chosen, texts } = splitLifetime(objectOf(input), bounds !== undefined)
        const { passkey } = readPasskey(objectOf(texts), [])
        return tokenAnswer(await perms.auth.passkeys.signIn(passkey, { ...chosen, device: request.header('user-agent') || undefined }))
      },
      description: {
        input: withLifetime(inputWith({ passkey: assertionSchema }, ['passkey']), bounds),
        output: tokenSchema,
        problems: [401, 403, 413, 415, 422, 429],
      },
    }),
  ]
}

function registrationEndpoints(name: string): Endpoint[] {
  return [
    own({
      ...{ method: 'POST', path: 'me/passkeys/options', name: `get${name}PasskeyCreationOptions`, readsBody: false },
      summary: 'Options for adding a passkey',
      handler: async ({ perms }) => HttpResponse.json(await perms.auth.passkeys.registrationOptions(), { headers: noStore }),
      description: { output: creationOptionsSchema, problems: [409] },
    }),
    own({
      ...{ method: 'POST', path: 'me/passkeys', name: `create${name}Passkey`, status: 201 },
      summary: 'Add a passkey',
      handler: async ({ input, perms }) => {
        const { passkey, name: given } = readPasskey(objectOf(input), ['name'])
        const added = await perms.auth.passkeys.register(passkey, { name: given })
        const body = { ...shown(added.passkey), ...(added.recoveryCodes && { recoveryCodes: added.recoveryCodes }) }
        return HttpResponse.json(body, { status: 201, headers: noStore })
      },
      description: {
        input: inputWith({ passkey: registrationSchema, name: nameSchema }, ['passkey']),
        output: addedSchema,
        problems: [409, 413, 415, 422],
      },
    }),
  ]
}

function manageEndpoints(name: string): Endpoint[] {
  return [
    own({
      ...{ method: 'GET', path: 'me/passkeys', name: `list${name}Passkeys`, summary: 'List your passkeys' },
      handler: async ({ caller, perms }) => {
        const passkeys = await perms.auth.passkeys.list(userOf(caller))
        return HttpResponse.json({ data: passkeys.map(shown) }, { headers: noStore })
      },
      description: { output: passkeyListSchema },
    }),
    own({
      ...{ method: 'PATCH', path: 'me/passkeys/:passkeyId', name: `rename${name}Passkey`, summary: 'Rename a passkey' },
      handler: async ({ caller, input, params, perms }) => {
        const given = objectOf(input)
        const problem = textProblem(given.name)
        const unknown = unknownKeys(given, (key) => key === 'name')
        const errors = problem === undefined ? unknown : [...unknown, { field: 'name', message: problem }]
        const id = params.passkeyId ?? ''
        // A missing passkey is reported before a wrong body.
        if (errors.length > 0 && !(await perms.auth.passkeys.list(userOf(caller))).some((one) => one.id === id)) throw new NotFoundError()
        assertNoErrors(errors)
        const renamed = await perms.auth.passkeys.rename(id, given.name as string)
        return HttpResponse.json(shown(renamed), { headers: noStore })
      },
      description: { input: inputWith({ name: nameSchema }, ['name']), output: passkeySchema, problems: [413, 415, 422] },
    }),
    own({
      ...{ method: 'DELETE', path: 'me/passkeys/:passkeyId', name: `delete${name}Passkey`, summary: 'Remove a passkey', status: 204 },
      handler: async ({ params, perms }) => {
        await perms.auth.passkeys.remove(params.passkeyId ?? '')
        return HttpResponse.empty({ headers: noStore })
      },
      description: { problems: [409] },
    }),
  ]
}

/** Returns the endpoint with options for `POST me/confirm/` with a passkey. */
export function confirmOptionsEndpoint(name: string): Endpoint {
  return own({
    ...{ method: 'POST', path: 'me/confirm/options', name: `get${name}PasskeyConfirmationOptions`, readsBody: false },
    summary: 'Options for confirming that it is you with a passkey',
    handler: async ({ perms }) => HttpResponse.json(await perms.auth.passkeys.confirmationOptions(), { headers: noStore }),
    description: { output: requestOptionsSchema, problems: [429] },
  })
}

/**
 * Returns the passkey and the texts of a body. The flow reads the passkey itself.
 *
 * @param optional names of texts that may be missing
 * @throws ValidationError
 */
export function readPasskey<const K extends string>(
  given: Readonly<Record<string, unknown>>,
  optional: readonly K[],
): { passkey: object } & { [N in K]?: string } {
  const errors = unknownKeys(given, (key) => key === 'passkey' || (optional as readonly string[]).includes(key))
  const { passkey } = given
  if (typeof passkey !== 'object' || passkey === null)
    errors.push({ field: 'passkey', message: message(passkey === undefined ? 'field.required' : 'passkey.invalid') })
  for (const key of optional) {
    const problem = given[key] === undefined ? undefined : textProblem(given[key])
    if (problem !== undefined) errors.push({ field: key, message: problem })
  }
  assertNoErrors(errors)
  return given as { passkey: object } & { [N in K]?: string }
}

/** Creates an endpoint for the caller's own passkeys. */
function own(options: Omit<EndpointOptions, 'abilities' | 'queryKeys' | 'assertAllowed'>): Endpoint {
  const assertAllowed = async () => forbidApiKey(message('subject.passkeys'))
  return new Endpoint({ ...options, abilities: 'none', queryKeys: [], ...(options.method !== 'GET' && { assertAllowed }) })
}

// No key, credential id or user handle: nothing that helps to answer for the passkey elsewhere.
function shown({ id, name, createdAt, lastUsedAt, deviceType, backedUp, transports, aaguid }: Passkey): object {
  return { id, name, createdAt, lastUsedAt: lastUsedAt ?? null, deviceType, backedUp, transports: transports ?? [], aaguid }
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

const inputWith = (properties: object, required: readonly string[]): object => ({
  type: 'object',
  properties,
  required,
  additionalProperties: false,
})
