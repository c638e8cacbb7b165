import { assertInviter } from '../../auth/flows/domain-roles.js'
import type { PrepareRegistration } from '../../auth/flows/invitations/accept.js'
import { ForbiddenError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { domainFromClient } from '../../policy/domain-ref.js'
import { MAX_EMAIL_LENGTH } from '../../schema/email.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { Invitation } from '../../users/invitation.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { textSchema, textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'
import { idSchemaOf } from './id-schemas.js'

/** How a resource creates users. */
export interface Registration {
  /** Reads the body like create. */
  readonly prepare: (context: EndpointContext, values: object, known: object) => ReturnType<PrepareRegistration>
  /** Returns the object that a response shows for a new user. */
  readonly shown: (user: object) => Record<string, unknown>
  /** The JSON Schema of the body. */
  readonly input: object
  /** Whether only callers with a role may create users. */
  readonly isRefused: boolean
}

/**
 * Returns the endpoints to create, list, revoke and accept invitations.
 *
 * @param name the name of the resource, for operation ids
 * @param registration null if the resource does not create users
 */
export function invitationEndpoints(name: string, registration: Registration | null): Endpoint[] {
  return [
    new Endpoint({
      ...signedInOnly('POST', 'invitations'),
      name: `create${name}Invitation`,
      summary: 'Invite a person into a domain',
      status: 201,
      handler: async ({ input, perms }) => {
        const { domain, ...texts } = textsOf(withDomainAsText(input), ['email', 'role', 'domain'])
        const made = await perms.auth.invitations.invite({ ...texts, domain: domainFromClient(domain) })
        return HttpResponse.json(shown(made), { status: 201, headers: noStore })
      },
      assertAllowed: async () => assertInviter(),
      description: { input: inviteSchema, output: invitationSchema, problems: [413, 415, 422, 429] },
    }),
    new Endpoint({
      ...signedInOnly('GET', 'invitations'),
      queryKeys: ['domain'],
      name: `list${name}Invitations`,
      summary: 'List open invitations',
      handler: async ({ query, perms }) => {
        const domain = query.get('domain')
        const found = await perms.auth.invitations.list(domain === null ? undefined : domainFromClient(domain))
        return HttpResponse.json({ data: found.map(shown) }, { headers: noStore })
      },
      description: {
        parameters: [
          {
            name: 'domain',
            in: 'query',
            description: DOMAIN_DESCRIPTION,
            schema: { type: 'string', maxLength: MAX_DOMAIN_LENGTH },
          },
        ],
        output: listOf(invitationSchema),
      },
    }),
    new Endpoint({
      ...signedInOnly('DELETE', 'invitations/:invitationId'),
      name: `delete${name}Invitation`,
      summary: 'Revoke an invitation',
      status: 204,
      handler: async ({ params, perms }) => {
        await perms.auth.invitations.revoke(params.invitationId ?? '')
        return HttpResponse.empty({ headers: noStore })
      },
      assertAllowed: async () => forbidApiKey(message('subject.invitations')),
    }),
    new Endpoint({
      ...signedInOnly('POST', 'invitations/accept'),
      name: `accept${name}Invitation`,
      summary: 'Accept an invitation',
      handler: async ({ input, perms }) => {
        const { role, domainId } = await perms.auth.invitations.accept(textsOf(input, ['token']).token)
        return HttpResponse.json({ role, domain: domainId }, { headers: noStore })
      },
      assertAllowed: async () => forbidApiKey(message('subject.invitations')),
      description: { input: textSchema(['token'], { token: 128 }), output: roleSchema, problems: [413, 415, 422, 429] },
    }),
    ...(registration ? [registerEndpoint(name, registration)] : []),
  ]
}

function registerEndpoint(name: string, { prepare, shown: show, input: schema, isRefused }: Registration): Endpoint {
  return new Endpoint({
    method: 'POST',
    path: 'invitations/register',
    public: true,
    ignoresCredentials: true,
    queryKeys: [],
    name: `register${name}ByInvitation`,
    summary: 'Register with an invitation',
    status: 201,
    load: async () => {
      if (isRefused) throw new ForbiddenError(message('registration.closed'))
      return { row: undefined, parents: [] }
    },
    handler: async (context) => {
      const { token, ...values } = objectOf(context.input)
      const made = await context.perms.auth.invitations.acceptNew({ token: token as string, ...values }, (given, known) =>
        prepare(context, given, known),
      )
      const { id, email } = show(made)
      return HttpResponse.json({ id, email }, { status: 201, headers: noStore })
    },
    description: { input: withToken(schema), output: registeredSchema, problems: [401, 403, 409, 413, 415, 422, 429] },
  })
}

// Responses show an integer id as a number: clients may send it back.
function withDomainAsText(input: unknown): object {
  const given = objectOf(input)
  return Object.hasOwn(given, 'domain') && typeof given['domain'] === 'number' ? { ...given, domain: `id:${given['domain']}` } : given
}

function signedInOnly<const M extends 'GET' | 'POST' | 'PATCH' | 'DELETE'>(method: M, path: string) {
  return { method, path, abilities: 'none' as const, queryKeys: [] }
}

function shown({ id, email, role, domainId, expiresAt, createdAt }: Invitation): object {
  return { id, email, role, domain: domainId, expiresAt, createdAt }
}

const MAX_DOMAIN_LENGTH = 258

const DOMAIN_DESCRIPTION = "The name of a domain, or its id with the prefix 'id:', such as 'id:7'. A UUID is an id without the prefix."

const inviteSchema = {
  type: 'object',
  properties: {
    email: { type: 'string', minLength: 1, maxLength: MAX_EMAIL_LENGTH },
    role: { type: 'string', minLength: 1, maxLength: 100 },
    domain: {
      type: ['string', 'integer'],
      minLength: 1,
      maxLength: MAX_DOMAIN_LENGTH,
      description: `${DOMAIN_DESCRIPTION} A number is an id.`,
    },
  },
  required: ['email', 'role', 'domain'],
  additionalProperties: false,
}

const listOf = (items: object) => ({ type: 'object', properties: { data: { type: 'array', items } }, required: ['data'] })
const uuid = { type: 'string', format: 'uuid' }
const role = { type: 'string', maxLength: 100 }
const datetime = { type: 'string', format: 'date-time' }
const email = { type: 'string', maxLength: MAX_EMAIL_LENGTH }

const invitationSchema = {
  type: 'object',
  properties: {
    id: uuid,
    email,
    role,
    get domain() {
      return { ...idSchemaOf('domain'), description: 'The id of the domain.' }
    },
    expiresAt: datetime,
    createdAt: datetime,
  },
  required: ['id', 'email', 'role', 'domain', 'expiresAt', 'createdAt'],
}

const roleSchema = {
  type: 'object',
  properties: {
    role,
    get domain() {
      return idSchemaOf('domain')
    },
  },
  required: ['role', 'domain'],
}

// Replaces `email` by `token`: the address is the invited one.
function withToken(schema: object): object {
  const { properties, required = [] } = schema as { properties?: Record<string, object>; required?: readonly string[] }
  const { email: _, ...others } = properties ?? {}
  return {
    ...schema,
    properties: { token: { type: 'string', minLength: 1, maxLength: 128 }, ...others },
    required: ['token', ...required.filter((key) => key !== 'email')],
  }
}

const registeredSchema = {
  type: 'object',
  properties: {
    get id() {
      return idSchemaOf('user')
    },
    email,
  },
}
