import { demandInviter } from '../auth/domain-roles.js'
import { demandInPerson } from '../users/in-person.js'
import type { Invitation } from '../users/invitation.js'
import { Endpoint } from './endpoint.js'
import { objectOf } from './input.js'
import { HttpResponse } from './response.js'
import { textSchema, textsOf } from './texts.js'
import { noStore } from './token-answer.js'

/** `POST GET DELETE invitations/`, and to accept one. @param name of the resource, for operation ids */
export function invitationEndpoints(name: string): Endpoint[] {
  const invite = textSchema(['email', 'role', 'domain'], { email: 254, role: 100, domain: 255 })
  return [
    new Endpoint({
      ...inPerson('POST', 'invitations'),
      name: `create${name}Invitation`,
      summary: 'Invite somebody into a domain',
      status: 201,
      handler: async ({ input, perms }) => {
        const made = await perms.auth.invitations.invite(textsOf(input, ['email', 'role', 'domain']))
        return HttpResponse.json(shown(made), { status: 201, headers: noStore })
      },
      refuseFirst: async () => demandInviter(),
      description: { input: invite, output: invitationSchema, problems: [413, 415, 422, 429] },
    }),
    new Endpoint({
      ...inPerson('GET', 'invitations'),
      queryKeys: ['domain'],
      name: `list${name}Invitations`,
      summary: 'Open invitations',
      handler: async ({ query, perms }) => {
        const found = await perms.auth.invitations.list(query.get('domain') ?? undefined)
        return HttpResponse.json({ data: found.map(shown) }, { headers: noStore })
      },
      description: {
        parameters: [
          {
            name: 'domain',
            in: 'query',
            description: 'The id or the name of a domain.',
            schema: { type: 'string', maxLength: 255 },
          },
        ],
        output: listOf(invitationSchema),
      },
    }),
    new Endpoint({
      ...inPerson('DELETE', 'invitations/:invitationId'),
      name: `delete${name}Invitation`,
      summary: 'Take an invitation back',
      handler: async ({ params, perms }) => {
        await perms.auth.invitations.revoke(params.invitationId ?? '')
        return HttpResponse.empty({ headers: noStore })
      },
      refuseFirst: async () => demandInPerson('Invitations'),
    }),
    new Endpoint({
      ...inPerson('POST', 'invitations/accept'),
      name: `accept${name}Invitation`,
      summary: 'Accept an invitation',
      handler: async ({ input, perms }) => {
        const { role, domainId } = await perms.auth.invitations.accept(textsOf(input, ['token']).token)
        return HttpResponse.json({ role, domain: domainId }, { headers: noStore })
      },
      refuseFirst: async () => demandInPerson('Invitations'),
      description: { input: textSchema(['token'], { token: 128 }), output: roleSchema, problems: [413, 415, 422, 429] },
    }),
    new Endpoint({
      method: 'POST',
      path: 'invitations/register',
      public: true,
      ignoresCredentials: true,
      queryKeys: [],
      name: `register${name}ByInvitation`,
      summary: 'Register with an invitation',
      status: 201,
      handler: async ({ input, perms }) => {
        const { token, ...values } = objectOf(input)
        const { id, email } = await perms.auth.invitations.acceptNew({ token: token as string, ...values })
        return HttpResponse.json({ id, email }, { status: 201, headers: noStore })
      },
      description: { input: registerInput, output: registeredSchema, problems: [401, 403, 409, 413, 415, 422, 429] },
    }),
  ]
}

function inPerson<const M extends 'GET' | 'POST' | 'PATCH' | 'DELETE'>(method: M, path: string) {
  return { method, path, abilities: 'none' as const, queryKeys: [] as readonly string[] }
}

function shown({ id, email, role, domainId, expiresAt, createdAt }: Invitation): object {
  return { id, email, role, domain: domainId, expiresAt, createdAt }
}

const listOf = (items: object) => ({ type: 'object', properties: { data: { type: 'array', items } }, required: ['data'] })
const uuid = { type: 'string', format: 'uuid' }
const role = { type: 'string', maxLength: 100 }
const moment = { type: 'string', format: 'date-time' }
const email = { type: 'string', maxLength: 254 }

const invitationSchema = {
  type: 'object',
  properties: { id: uuid, email, role, domain: { ...uuid, description: 'The id of the domain.' }, expiresAt: moment, createdAt: moment },
  required: ['id', 'email', 'role', 'domain', 'expiresAt', 'createdAt'],
}

const roleSchema = { type: 'object', properties: { role, domain: uuid }, required: ['role', 'domain'] }

const registerInput = {
  type: 'object',
  properties: {
    token: { type: 'string', minLength: 1, maxLength: 128 },
    password: { type: 'string', minLength: 1, maxLength: 4096, writeOnly: true },
  },
  required: ['token'],
}

const registeredSchema = { type: 'object', properties: { id: uuid, email }, required: ['id', 'email'] }
