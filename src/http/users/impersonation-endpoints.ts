import type { UserId } from '../../policy/registered-types.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { objectOf } from '../crud/input.js'
import { idSchemaOf } from './id-schemas.js'

/** Returns `POST impersonation/` and `DELETE impersonation/`. @param name the name of the resource, for operation ids */
export function impersonationEndpoints(name: string): Endpoint[] {
  return [
    new Endpoint({
      method: 'POST',
      path: 'impersonation',
      name: `start${name}Impersonation`,
      summary: 'Impersonate a user, as a superadmin',
      abilities: 'none',
      role: 'superadmin',
      queryKeys: [],
      argSchema: inputSchema,
      status: 201,
      handler: async ({ input, perms }) => {
        const { userId, reason, expiresIn } = objectOf(input) as { userId: UserId; reason?: string; expiresIn?: number }
        const { accessToken, expiresIn: life } = await perms.auth.impersonation.start(userId, { reason, expiresIn })
        return HttpResponse.json({ access_token: accessToken, token_type: 'Bearer', expires_in: life }, { status: 201, headers: noStore })
      },
      description: { input: inputSchema, output: outputSchema, problems: [404, 413, 415, 422] },
    }),
    new Endpoint({
      method: 'DELETE',
      path: 'impersonation',
      name: `stop${name}Impersonation`,
      summary: 'End the impersonation',
      status: 204,
      abilities: 'none',
      queryKeys: [],
      handler: async ({ perms }) => {
        await perms.auth.impersonation.stop()
        return HttpResponse.empty({ headers: noStore })
      },
    }),
  ]
}

const inputSchema = {
  type: 'object',
  properties: {
    get userId() {
      return idSchemaOf('user')
    },
    reason: { type: 'string', minLength: 1, maxLength: 200, description: 'For the list of sessions and the audit log.' },
    expiresIn: { type: 'integer', format: 'int32', minimum: 1, maximum: 3600, description: 'The lifetime in seconds. Default: 900.' },
  },
  required: ['userId'],
  additionalProperties: false,
}

const outputSchema = {
  type: 'object',
  properties: {
    access_token: { type: 'string', description: 'A JWT for the Authorization header. It cannot be refreshed.' },
    token_type: { type: 'string', enum: ['Bearer'] },
    expires_in: { type: 'integer', format: 'int32', description: 'Seconds.' },
  },
  required: ['access_token', 'token_type', 'expires_in'],
}
