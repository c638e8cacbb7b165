import { MAX_EMAIL_LENGTH } from '../../schema/email.js'

/** The JSON Schema of error responses (RFC 9457). */
export const problemSchema = {
  type: 'object',
  properties: {
    type: { type: 'string', maxLength: 200 },
    title: { type: 'string', maxLength: 200 },
    status: { type: 'integer', format: 'int32', minimum: 400, maximum: 599 },
    code: { type: 'string', maxLength: 64, description: 'A stable code for programs.' },
    detail: { type: 'string', maxLength: 4000 },
    errors: {
      type: 'array',
      maxItems: 100,
      items: {
        type: 'object',
        properties: { field: { type: 'string', maxLength: 200 }, message: { type: 'string', maxLength: 500 } },
        required: ['field', 'message'],
        additionalProperties: false,
      },
    },
    max_age: {
      type: 'integer',
      format: 'int32',
      minimum: 1,
      maximum: 315_360_000,
      description: 'With insufficient_user_authentication: confirm your session, then try again within this number of seconds (RFC 9470).',
    },
    acr_values: {
      type: 'string',
      maxLength: 64,
      description: 'With insufficient_user_authentication: the second factors of which you need one, separated by spaces.',
    },
    refusal: {
      type: 'object',
      description: 'The rule that refused the action. Only in development, and for global admins.',
      properties: {
        model: { type: 'string', maxLength: 200 },
        action: { type: 'string', maxLength: 200 },
        rule: { type: 'string', maxLength: 4000, description: 'The rule in words.' },
      },
      required: ['model', 'action', 'rule'],
      additionalProperties: false,
    },
  },
  required: ['type', 'title', 'status', 'code', 'errors'],
  additionalProperties: false,
}

const count = { type: 'integer', format: 'int64', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }
const countOrNull = { ...count, type: ['integer', 'null'] }

/** Returns the JSON Schema of a page of rows. */
export function listOf(row: object): object {
  return {
    type: 'object',
    properties: {
      data: { type: 'array', maxItems: 10000, items: row },
      pagination: {
        type: 'object',
        properties: {
          page: { ...countOrNull, description: 'Null if the request used a cursor.' },
          pageSize: count,
          total: { ...countOrNull, description: 'Null with total=false.' },
          totalPages: countOrNull,
          nextCursor: { type: ['string', 'null'], maxLength: 4096, description: 'The cursor of the next page, or null on the last page.' },
        },
        required: ['page', 'pageSize', 'total', 'totalPages', 'nextCursor'],
        additionalProperties: false,
      },
    },
    required: ['data', 'pagination'],
    additionalProperties: false,
  }
}

const maxCharacters = 1_048_576
const lengths: Readonly<Record<string, number>> = { uuid: 36, date: 10, 'date-time': 40, email: MAX_EMAIL_LENGTH }

type Schema = Record<string, unknown>

/** Returns the schema with bounds for each string, integer and array that has none. A string may be as long as the default body limit. */
export function bounded(schema: object): object {
  const { type } = schema as Schema
  const bound: Schema = { ...schema }
  const is = (name: string) => type === name || (Array.isArray(type) && type.includes(name))
  if (is('string') && bound.maxLength === undefined && bound.enum === undefined)
    bound.maxLength = lengths[bound.format as string] ?? maxCharacters
  if (is('integer')) {
    bound.format ??= 'int32'
    bound.minimum ??= -2147483648
    bound.maximum ??= 2147483647
  }
  if (is('array')) bound.maxItems ??= 10000
  for (const key of ['properties', '$defs'] as const) {
    if (typeof bound[key] === 'object')
      bound[key] = Object.fromEntries(Object.entries(bound[key] as object).map(([name, value]) => [name, bounded(value as object)]))
  }
  if (typeof bound.items === 'object' && bound.items !== null) bound.items = bounded(bound.items)
  for (const key of ['anyOf', 'oneOf', 'allOf'] as const) {
    if (Array.isArray(bound[key])) bound[key] = bound[key].map(bounded)
  }
  return bound
}
