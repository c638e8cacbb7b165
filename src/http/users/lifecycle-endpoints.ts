import type { ExportData } from '../../auth/flows/lifecycle/export-data.js'
import { NotFoundError, UnauthorizedError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { forbidApiKey } from '../../users/caller/caller-restrictions.js'
import type { User } from '../../users/user.js'
import { noStore } from '../caller/token-response.js'
import { Endpoint, type EndpointContext } from '../core/endpoint.js'
import { HttpResponse } from '../core/response.js'
import { textsOf } from '../core/texts.js'
import { objectOf } from '../crud/input.js'

/** `GET me/export/` → the caller's data as JSON lines: a header, then `{ model, row }` for each row. @param name the name of the resource */
export function exportEndpoint(name: string): Endpoint {
  return new Endpoint({
    method: 'GET',
    path: 'me/export',
    name: `export${name}Data`,
    summary: 'Export your data',
    abilities: 'none',
    queryKeys: [],
    anyFormat: true,
    handler: async ({ caller, perms }) => {
      forbidApiKey(message('subject.exports'))
      const lines = perms.auth.exportData(userOf(caller))
      // An error before the first line gets a status of its own.
      const first = await lines.next()
      return HttpResponse.stream(jsonLines(first, lines), { headers })
    },
    assertAllowed: async () => forbidApiKey(message('subject.exports')),
    description: { output: lineSchema, mediaType: 'application/x-ndjson', problems: [429] },
  })
}

/** Lines are sent together, in chunks of about this many characters. */
const CHUNK = 16_384

const headers = {
  'content-type': 'application/x-ndjson; charset=utf-8',
  'content-disposition': 'attachment; filename="export.ndjson"',
  ...noStore,
}

type Lines = ReturnType<ExportData>

async function* jsonLines(first: Awaited<ReturnType<Lines['next']>>, rest: Lines): AsyncGenerator<string> {
  try {
    let chunk = ''
    for (let line = first; !line.done; line = await rest.next()) {
      chunk += `${JSON.stringify(line.value)}\n`
      if (chunk.length < CHUNK) continue
      yield chunk
      chunk = ''
    }
    if (chunk !== '') yield chunk
  } finally {
    // The client has disconnected.
    await rest.return?.()
  }
}

/** Returns the endpoints that schedule and undo the deletion of the caller's account. @param name the name of the resource */
export function accountDeletionEndpoints(name: string): Endpoint[] {
  const assertAllowed = async () => forbidApiKey(message('subject.accounts'))
  return [
    new Endpoint({
      method: 'POST',
      path: 'me/deletion',
      name: `schedule${name}Deletion`,
      summary: 'Ask for the deletion of your account',
      status: 202,
      abilities: 'none',
      queryKeys: [],
      handler: async ({ caller, input, perms }) => {
        const given = objectOf(input ?? {})
        const { password } = 'password' in given ? textsOf(given, ['password']) : (textsOf(given, []) as { password?: string })
        const { deletionAt } = await perms.auth.accountDeletion.schedule(userOf(caller), { password })
        return HttpResponse.json({ deletionAt }, { status: 202, headers: noStore })
      },
      assertAllowed,
      description: { input: passwordInput, isInputOptional: true, output: deletionSchema, problems: [409, 413, 415, 422, 429] },
    }),
    new Endpoint({
      method: 'DELETE',
      path: 'me/deletion',
      name: `undo${name}Deletion`,
      summary: 'Keep your account after all',
      status: 204,
      abilities: 'none',
      queryKeys: [],
      handler: async ({ caller, perms }) => {
        if (!(await perms.auth.accountDeletion.undo(userOf(caller)))) throw new NotFoundError()
        return HttpResponse.empty({ headers: noStore })
      },
      assertAllowed,
      description: { problems: [404, 409] },
    }),
  ]
}

function userOf(caller: EndpointContext['caller']): User {
  if (caller === null) throw new UnauthorizedError()
  return caller as User
}

const passwordInput = {
  type: 'object',
  properties: {
    password: {
      type: 'string',
      minLength: 1,
      maxLength: 4096,
      description: 'Your password, unless you have just signed in or confirmed your session.',
    },
  },
  additionalProperties: false,
}

const deletionAt = { type: 'string', format: 'date-time', description: 'When your account and its data will be deleted.' }

const deletionSchema = { type: 'object', properties: { deletionAt }, required: ['deletionAt'] }

/** The property that me/ shows while the feature is on. */
export const deletionAtSchema = {
  ...deletionAt,
  type: ['string', 'null'],
  description: 'When your account will be deleted; null if it stays.',
}

const lineSchema = {
  type: 'object',
  description:
    'One line. The first one has `format`, `version`, `userId`, `exportedAt` and `models`; each further one has `model` and `row`.',
  properties: {
    format: { type: 'string', enum: ['objection-perms/export'] },
    version: { type: 'integer', format: 'int32', minimum: 1, maximum: 1 },
    exportedAt: { type: 'string', format: 'date-time' },
    models: { type: 'array', items: { type: 'string', maxLength: 255 }, maxItems: 1000 },
    model: { type: 'string', maxLength: 255 },
    row: { type: 'object', additionalProperties: true },
  },
  required: [],
  examples: [{ model: 'UserSetting', row: { key: 'theme', value: 'dark' } }],
}
