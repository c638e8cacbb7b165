import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import type { Actor } from '../../policy/context.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { idSchemaOf } from './id-schemas.js'

/**
 * `GET sessions/` → `{ data: [{ id, description, address, createdAt, lastUsedAt, expiresAt, isCurrent }] }`: the caller's
 * sessions, last used first.
 */
export function listSessions(name: string): Endpoint {
  return new Endpoint({
    method: 'GET',
    path: 'sessions',
    name: `list${name}Sessions`,
    summary: 'List your sessions',
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, perms }) => HttpResponse.json({ data: await perms.auth.sessions(idOf(actor)) }, { headers: noStore }),
    description: { output: listSchema },
  })
}

/**
 * `DELETE sessions/:sessionId` ends one of the caller's sessions, including the current one: 204. 404 for other and ended
 * sessions.
 */
export function deleteSession(name: string): Endpoint {
  return new Endpoint({
    method: 'DELETE',
    path: 'sessions/:sessionId',
    name: `delete${name}Session`,
    summary: 'End one of your sessions',
    status: 204,
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, params, perms }) => {
      if (!(await perms.auth.endSession(idOf(actor), params.sessionId ?? ''))) throw new NotFoundError()
      return HttpResponse.empty({ headers: noStore })
    },
    assertAllowed: async () => forbidApiKey(message('subject.sessions')),
  })
}

/** `DELETE sessions/` ends all sessions of the caller except the current one, which `POST logout/` ends: 204. */
export function deleteOtherSessions(name: string): Endpoint {
  return new Endpoint({
    method: 'DELETE',
    path: 'sessions',
    name: `delete${name}Sessions`,
    summary: 'End all your other sessions',
    status: 204,
    queryKeys: [],
    abilities: 'none',
    handler: async ({ actor, perms }) => {
      await perms.auth.signOutEverywhere(idOf(actor), { except: actor?.sessionId })
      return HttpResponse.empty({ headers: noStore })
    },
    assertAllowed: async () => forbidApiKey(message('subject.sessions')),
  })
}

function idOf(actor: Actor | null): string {
  if (actor === null) throw new UnauthorizedError()
  return actor.id
}

const text = { type: ['string', 'null'], maxLength: 255 }
const datetime = (more: object = {}) => ({ type: ['string', 'null'], format: 'date-time', ...more })

const sessionSchema = {
  type: 'object',
  properties: {
    get id() {
      return idSchemaOf('token')
    },
    description: { ...text, description: 'The User-Agent at sign-in.' },
    address: { ...text, maxLength: 64, description: 'The network address at sign-in.' },
    createdAt: { type: 'string', format: 'date-time' },
    lastUsedAt: datetime({ description: 'When the session was last refreshed.' }),
    expiresAt: datetime(),
    isCurrent: { type: 'boolean', description: 'Whether it is the session of this request.' },
  },
  required: ['id', 'description', 'address', 'createdAt', 'lastUsedAt', 'expiresAt', 'isCurrent'],
}

const listSchema = { type: 'object', properties: { data: { type: 'array', items: sessionSchema } }, required: ['data'] }
