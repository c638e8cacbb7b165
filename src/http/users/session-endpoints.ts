import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import type { Actor } from '../../policy/context.js'
import { forbidApiKey } from '../../users/caller-restrictions.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'

/** `GET sessions/` → `{ data: [{ id, description, address, createdAt, lastUsedAt, expiresAt, isCurrent }] }`: one's own, the last used first. */
export function listSessions(name: string): Endpoint {
  return new Endpoint({
    method: 'GET',
    path: 'sessions',
    name: `list${name}Sessions`,
    summary: 'Where you are signed in',
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, perms }) => HttpResponse.json({ data: await perms.auth.sessions(idOf(actor)) }, { headers: noStore }),
    description: { output: listSchema },
  })
}

/** `DELETE sessions/:sessionId` ends one of one's own, the present one too: 204. Another's is 404, as one that has ended. */
export function deleteSession(name: string): Endpoint {
  return new Endpoint({
    method: 'DELETE',
    path: 'sessions/:sessionId',
    name: `delete${name}Session`,
    summary: 'Sign out at one place',
    status: 204,
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, params, perms }) => {
      if (!(await perms.auth.endSession(idOf(actor), params.sessionId ?? ''))) throw new NotFoundError()
      return HttpResponse.empty({ headers: noStore })
    },
    refuseFirst: async () => forbidApiKey('Sessions'),
  })
}

/** `DELETE sessions/` ends all of one's own but the present one, which `POST logout/` ends: 204. */
export function deleteOtherSessions(name: string): Endpoint {
  return new Endpoint({
    method: 'DELETE',
    path: 'sessions',
    name: `delete${name}Sessions`,
    summary: 'Sign out everywhere else',
    status: 204,
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, perms }) => {
      await perms.auth.signOutEverywhere(idOf(actor), { except: actor?.sessionId })
      return HttpResponse.empty({ headers: noStore })
    },
    refuseFirst: async () => forbidApiKey('Sessions'),
  })
}

function idOf(actor: Actor | null): string {
  if (actor === null) throw new UnauthorizedError()
  return actor.id
}

const text = { type: ['string', 'null'], maxLength: 255 }
const moment = (more: object = {}) => ({ type: ['string', 'null'], format: 'date-time', ...more })

const sessionSchema = {
  type: 'object',
  properties: {
    id: { type: 'string', format: 'uuid' },
    description: { ...text, description: 'The device, as it named itself when it signed in.' },
    address: { ...text, maxLength: 64, description: 'The address that it signed in from.' },
    createdAt: { type: 'string', format: 'date-time' },
    lastUsedAt: moment({ description: 'When it was last refreshed.' }),
    expiresAt: moment(),
    isCurrent: { type: 'boolean', description: 'Whether it is the session of this request.' },
  },
  required: ['id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt', 'isCurrent'],
}

const listSchema = { type: 'object', properties: { data: { type: 'array', items: sessionSchema } }, required: ['data'] }
