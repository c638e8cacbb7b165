import type { ApiKeyInfo } from '../../auth/tokens/api-keys.js'
import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { assertNoErrors, describePattern } from '../../schema/validator.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { objectOf } from '../crud/input.js'
import { idSchemaOf } from './id-schemas.js'

/**
 * Returns the endpoints for the caller's API keys. An API key cannot use them.
 *
 * @param name the name of the resource, for operation ids
 */
export function apiKeyEndpoints(name: string): Endpoint[] {
  return [createKey(name), listKeys(name), revokeKey(name)]
}

/** `POST api-keys/` → 201 with the key, which is not shown again. */
function createKey(name: string): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'api-keys',
    name: `create${name}ApiKey`,
    summary: 'Create an API key',
    abilities: 'none',
    queryKeys: [],
    argSchema: inputSchema,
    handler: async ({ caller, input, perms }) => {
      const { description, abilities, expiresIn } = objectOf(input) as KeyInput
      if (abilities.length === 0) assertNoErrors([{ field: 'abilities', message: message('field.oneAbility') }])
      const { key, plain } = await perms.auth.apiKeys.issue(userOf(caller), { description, abilities, expiresIn })
      return HttpResponse.json({ ...shown(key), key: plain }, { status: 201, headers: noStore })
    },
    assertAllowed: async () => forbidApiKey(message('subject.apiKeys')),
    description: { input: inputSchema, output: createdSchema, problems: [413, 415, 422] },
    status: 201,
  })
}

/** `GET api-keys/` → the caller's active keys, newest first. */
function listKeys(name: string): Endpoint {
  return new Endpoint({
    method: 'GET',
    path: 'api-keys',
    name: `list${name}ApiKeys`,
    summary: 'Your API keys',
    abilities: 'none',
    queryKeys: [],
    handler: async ({ caller, perms }) => {
      const keys = await perms.auth.apiKeys.list(userOf(caller).id)
      return HttpResponse.json({ data: keys.map(shown) }, { headers: noStore })
    },
    description: { output: { type: 'object', properties: { data: { type: 'array', items: keySchema } }, required: ['data'] } },
  })
}

/** `DELETE api-keys/:keyId` → 204, or 404 unless it is an active key of the caller. */
function revokeKey(name: string): Endpoint {
  return new Endpoint({
    method: 'DELETE',
    path: 'api-keys/:keyId',
    name: `delete${name}ApiKey`,
    summary: 'Revoke an API key',
    status: 204,
    abilities: 'none',
    queryKeys: [],
    handler: async ({ caller, params, perms }) => {
      if (!(await perms.auth.apiKeys.revoke(userOf(caller).id, params.keyId ?? ''))) throw new NotFoundError()
      return HttpResponse.empty({ headers: noStore })
    },
    assertAllowed: async () => forbidApiKey(message('subject.apiKeys')),
  })
}

type KeyInput = {
  readonly description?: string | null
  readonly abilities: readonly string[]
  readonly expiresIn?: number
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

function shown({ id, description, abilities, createdAt, lastUsedAt, expiresAt }: ApiKeyInfo): object {
  return { id, description, abilities, createdAt, lastUsedAt, expiresAt }
}

const century = 3_153_600_000

const abilityPattern = describePattern('^(?:\\*|[\\w-]{1,64}(?::(?:\\*|[\\w-]{1,64}))?)$', message('field.ability'))

const inputSchema = {
  type: 'object',
  properties: {
    description: { type: ['string', 'null'], maxLength: 255, description: 'The purpose of the key.' },
    abilities: {
      type: 'array',
      items: { type: 'string', maxLength: 129, pattern: abilityPattern },
      minItems: 1,
      maxItems: 100,
      description: "What the key may do: 'documents:read', 'documents:*', or '*' for everything except credentials.",
    },
    expiresIn: {
      type: 'integer',
      format: 'int64',
      minimum: 1,
      maximum: century,
      description: 'The lifetime in seconds. Default: the key does not expire.',
    },
  },
  required: ['abilities'],
  additionalProperties: false,
}

const datetime = (description: string) => ({ type: ['string', 'null'], format: 'date-time', description })

const keySchema = {
  type: 'object',
  properties: {
    get id() {
      return idSchemaOf('token')
    },
    description: { type: ['string', 'null'], maxLength: 255 },
    abilities: { type: 'array', items: { type: 'string', maxLength: 129 }, maxItems: 100 },
    createdAt: { type: 'string', format: 'date-time' },
    lastUsedAt: datetime('Updated at most once a minute.'),
    expiresAt: datetime('When the key expires.'),
  },
  required: ['id', 'description', 'abilities', 'createdAt', 'lastUsedAt', 'expiresAt'],
}

const createdSchema = {
  ...keySchema,
  // A getter: the type of token ids is known only after initPerms().
  get properties() {
    return { ...keySchema.properties, key: { type: 'string', description: 'The key for the Authorization header. It is not shown again.' } }
  },
  required: [...keySchema.required, 'key'],
}
