import { administeredDomain } from '../../auth/flows/domain-roles.js'
import { assertChangeable, changeGrant, memberGrants } from '../../auth/flows/members.js'
import type { FieldProblem } from '../../core/errors.js'
import type { Actor } from '../../policy/context.js'
import { domainFromClient } from '../../policy/domain-ref.js'
import { MAX_EMAIL_LENGTH } from '../../schema/email.js'
import { assertNoErrors } from '../../schema/validator.js'
import type { UserRole } from '../../users/user-role.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { textSchema, textsOf } from '../core/texts.js'
import { maxPage, wholeNumber } from '../crud/list.js'
import { idSchemaOf } from './id-schemas.js'

const usualPage = 100
const largestPage = 1000

/**
 * Returns `GET`, `PATCH` and `DELETE domains/:domainId/members/`, for admins of the domain.
 *
 * @param name the name of the resource, for operation ids
 * @param shape returns what the resource shows of a user. The response contains its id and email.
 */
export function memberEndpoints(name: string, shape: (user: object, actor: Actor | null) => Record<string, unknown>): Endpoint[] {
  const shown = ({ id, role, user }: UserRole, actor: Actor | null): object => {
    const { id: userId, email } = user ? shape(user, actor) : {}
    return { grantId: id, role, user: { id: userId, email } }
  }
  const path = 'domains/:domainId/members'
  const inPerson = { abilities: 'none' as const, queryKeys: [] }
  const at = ({ params }: EndpointContext) => [domainFromClient(params.domainId ?? ''), params.grantId ?? ''] as const
  return [
    new Endpoint({
      method: 'GET',
      path,
      ...inPerson,
      queryKeys: ['page', 'pageSize'],
      name: `list${name}DomainMembers`,
      summary: 'List the members of a domain',
      handler: async (context) => {
        const { page, pageSize } = pageOf(context.query)
        const { rows, total } = await memberGrants(at(context)[0], page, pageSize)
        const data = rows.map((grant) => shown(grant, context.actor))
        const pagination = { page, pageSize, total, totalPages: Math.ceil(total / pageSize) }
        return HttpResponse.json({ data, pagination }, { headers: noStore })
      },
      assertAllowed: async (context) => {
        await administeredDomain(at(context)[0])
      },
      description: { parameters: pageParameters, output: listSchema, problems: [404] },
    }),
    new Endpoint({
      method: 'PATCH',
      path: `${path}/:grantId`,
      ...inPerson,
      name: `update${name}DomainMember`,
      summary: 'Change the role of a member',
      handler: async (context) => {
        const { role } = textsOf(context.input, ['role'])
        return shown(await changeGrant(...at(context), role), context.actor)
      },
      // Report errors in the body only to callers who may change the grant.
      assertAllowed: async (context) => await assertChangeable(...at(context)),
      description: { input: textSchema(['role'], { role: 100 }), output: memberSchema, problems: [404, 409, 413, 415, 422] },
    }),
    new Endpoint({
      method: 'DELETE',
      path: `${path}/:grantId`,
      ...inPerson,
      name: `delete${name}DomainMember`,
      summary: 'Revoke the role of a member',
      status: 204,
      handler: async (context) => {
        await context.perms.auth.members.remove(...at(context))
        return HttpResponse.empty()
      },
      assertAllowed: async (context) => await assertChangeable(...at(context)),
      description: { problems: [404] },
    }),
  ]
}

/** @throws ValidationError */
function pageOf(query: URLSearchParams): { page: number; pageSize: number } {
  const errors: FieldProblem[] = []
  const number = (key: string, instead: number, most: number): number => {
    const value = wholeNumber(key, query.get(key), instead, most)
    if (typeof value === 'number') return value
    errors.push(value)
    return instead
  }
  const asked = { page: number('page', 1, maxPage), pageSize: number('pageSize', usualPage, largestPage) }
  assertNoErrors(errors)
  return asked
}

const whole = (least: number, most: number) => ({ type: 'integer', format: 'int32', minimum: least, maximum: most })
const inQuery = (name: string, description: string, schema: object): object => ({ name, in: 'query', required: false, description, schema })

const pageParameters = [
  inQuery('page', 'The page number, starting at 1.', { ...whole(1, maxPage), default: 1 }),
  inQuery('pageSize', 'The number of members per page.', { ...whole(1, largestPage), default: usualPage }),
]

const memberSchema = {
  type: 'object',
  properties: {
    get grantId() {
      return idSchemaOf('userRole')
    },
    role: { type: 'string', maxLength: 100 },
    user: {
      type: 'object',
      properties: {
        get id() {
          return idSchemaOf('user')
        },
        email: { type: 'string', maxLength: MAX_EMAIL_LENGTH },
      },
    },
  },
  required: ['grantId', 'role', 'user'],
}

const listSchema = {
  type: 'object',
  properties: {
    data: { type: 'array', items: memberSchema },
    pagination: {
      type: 'object',
      properties: { page: whole(1, maxPage), pageSize: whole(1, largestPage), total: { type: 'integer' }, totalPages: { type: 'integer' } },
      required: ['page', 'pageSize', 'total', 'totalPages'],
    },
  },
  required: ['data', 'pagination'],
}
