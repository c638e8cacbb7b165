/** The subject of a share in a body and in a query string. */
import type { ShareSubject } from '../../mixins/shareable.js'
import { modelOfTable, type TableKind } from '../../policy/registered-models.js'
import { shareRelationsOf } from '../../policy/share-relations.js'
import { idSpecOf } from '../../schema/ids.js'
import { schemaOf } from '../../schema/json-schemas.js'
import { assertNoErrors, schemaErrors, unknownKeys } from '../../schema/validator.js'
import { parseDatetime } from '../../schema/values.js'
import { bounded } from '../openapi/schemas.js'
import { objectOf } from './input.js'

/** The names of the subject's parts, in bodies and in query strings. */
export const subjectKeys = ['userId', 'role', 'domainId'] as const

/** A share as a client asks for it. */
export interface AskedShare {
  readonly subject: ShareSubject
  readonly relation: string
  readonly expiresAt: Date | null | undefined
}

function idSchema(kind: TableKind, isNullable: boolean): object {
  const spec = idSpecOf(modelOfTable(kind))
  return spec ? schemaOf({ ...spec, isNullable }) : { type: isNullable ? ['string', 'null'] : 'string' }
}

/** Returns the JSON Schema of a body that shares a row of a model. */
export function shareSchema(cls: object): object {
  return {
    type: 'object',
    properties: {
      userId: { ...idSchema('user', true), description: 'The user with whom the row is shared. Not with role and domainId.' },
      role: { type: ['string', 'null'], minLength: 1, maxLength: 100, description: 'The role whose holders see the row.' },
      domainId: { ...idSchema('domain', true), description: 'The domain whose members see the row; with role, those who hold it there.' },
      relation: { type: 'string', enum: [...shareRelationsOf(cls)], description: 'Each relation includes those before it.' },
      expiresAt: { type: ['string', 'null'], format: 'date-time', description: 'When the share ends. Default: never.' },
    },
    required: ['relation'],
    additionalProperties: false,
  }
}

/** Reads the body of a request that shares a row. @throws ValidationError */
export function shareInput(cls: object, body: unknown): AskedShare {
  const given = objectOf(body)
  const schema = shareSchema(cls) as { properties: object }
  assertNoErrors(unknownKeys(given, (name) => Object.hasOwn(schema.properties, name)))
  assertNoErrors(schemaErrors(schema, given))
  const { relation, expiresAt } = given as { relation: string; expiresAt?: string | null }
  const ends = typeof expiresAt === 'string' ? (parseDatetime(expiresAt) ?? new Date(Number.NaN)) : expiresAt
  return { subject: subjectOf(given), relation, expiresAt: ends }
}

/** Returns the subject that a query string names. */
export function subjectInQuery(query: URLSearchParams): ShareSubject {
  return subjectOf(Object.fromEntries(subjectKeys.map((key) => [key, query.get(key)])))
}

// Values of null are the same as missing ones. What names no subject is refused where shares are made.
function subjectOf({ userId, role, domainId }: Readonly<Record<string, unknown>>): ShareSubject {
  const subject = {
    ...((userId ?? null) !== null && { userId }),
    ...((role ?? null) !== null && { role }),
    ...((domainId ?? null) !== null && { domain: { id: domainId } }),
  }
  return subject as unknown as ShareSubject
}

/** Returns the query parameters that name a subject, for the OpenAPI document. */
export function subjectParameters(): object[] {
  const one = (name: string, schema: object, description: string) => ({ name, in: 'query', required: false, description, schema })
  return [
    one('userId', bounded(idSchema('user', false)), 'Ends the share with this user.'),
    one('role', { type: 'string', minLength: 1, maxLength: 100 }, 'Ends the share with the holders of this role.'),
    one(
      'domainId',
      bounded(idSchema('domain', false)),
      'Ends the share with the members of this domain, or with the holders of the role there.',
    ),
  ]
}
