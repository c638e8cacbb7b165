import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'

/** `GET me/devices/`, `DELETE me/devices/:deviceId` and `DELETE me/devices/`: the devices that the caller trusts. */
export function deviceEndpoints(name: string): Endpoint[] {
  const own = { abilities: 'none', queryKeys: [] } as const
  const remove = {
    ...own,
    method: 'DELETE',
    status: 204,
    assertAllowed: async () => forbidApiKey(message('subject.trustedDevices')),
  } as const
  return [
    new Endpoint({
      ...own,
      method: 'GET',
      path: 'me/devices',
      name: `list${name}Devices`,
      summary: 'List the devices that you trust',
      handler: async ({ caller, perms }) =>
        HttpResponse.json({ data: await perms.auth.devices.list(userOf(caller)) }, { headers: noStore }),
      description: { output: listSchema },
    }),
    new Endpoint({
      ...remove,
      path: 'me/devices/:deviceId',
      name: `delete${name}Device`,
      summary: 'Stop trusting a device',
      handler: async ({ caller, params, perms }) => {
        if (!(await perms.auth.devices.revoke(userOf(caller), params.deviceId ?? ''))) throw new NotFoundError()
        return HttpResponse.empty({ headers: noStore })
      },
    }),
    new Endpoint({
      ...remove,
      path: 'me/devices',
      name: `delete${name}Devices`,
      summary: 'Stop trusting all your devices',
      handler: async ({ caller, perms }) => {
        await perms.auth.devices.revokeAll(userOf(caller))
        return HttpResponse.empty({ headers: noStore })
      },
    }),
  ]
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

const text = (maxLength: number, description: string) => ({ type: ['string', 'null'], maxLength, description })

const deviceSchema = {
  type: 'object',
  properties: {
    id: { type: 'string', maxLength: 64 },
    description: text(255, 'The User-Agent of the sign-in that made the device trusted.'),
    address: text(64, 'The network address of that sign-in.'),
    createdAt: { type: 'string', format: 'date-time' },
    lastUsedAt: { type: ['string', 'null'], format: 'date-time', description: 'The last sign-in without the second factor.' },
    expiresAt: { type: 'string', format: 'date-time' },
  },
  required: ['id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt'],
}

const listSchema = { type: 'object', properties: { data: { type: 'array', items: deviceSchema } }, required: ['data'] }
