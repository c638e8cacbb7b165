import {
  BadRequestError,
  ConflictError,
  ForbiddenError,
  NotFoundError,
  PayloadTooLargeError,
  type PermsError,
  PreconditionFailedError,
  ServiceUnavailableError,
  TooManyAttemptsError,
  UnauthorizedError,
  UnsupportedMediaTypeError,
  ValidationError,
} from '../../core/errors.js'
import { NotAcceptableError } from '../core/errors.js'
import { type Problem, problemOf } from '../core/problems.js'

type Schema = Readonly<Record<string, unknown>>

const byFormat: Readonly<Record<string, string>> = {
  uuid: '01932c5f-7a10-7c4e-9d2b-5f0e8a6b1c3d',
  'date-time': '2026-01-31T09:30:00.000Z',
  date: '2026-01-31',
  email: 'ada@example.com',
  uri: 'https://example.com/',
}
const byName: Readonly<Record<string, string>> = { email: 'ada@example.com', password: 'correct horse battery' }

/** Returns an example value for a schema, or undefined if none can be derived. */
export function exampleOf(schema: object, name = ''): unknown {
  const { type, enum: values, const: only, default: standard, examples, anyOf, oneOf } = schema as Schema
  if (Array.isArray(examples) && examples.length > 0) return examples[0]
  if (only !== undefined) return only
  if (Array.isArray(values)) return values[0]
  if (standard !== undefined && standard !== null) return standard
  const choices = anyOf ?? oneOf
  if (Array.isArray(choices)) return exampleOf(choices[0] as object, name)
  switch (Array.isArray(type) ? type[0] : type) {
    case 'string':
      return textExample(schema as Schema, name)
    case 'integer':
    case 'number':
      return numberExample(schema as Schema)
    case 'boolean':
      return true
    case 'array': {
      const item = exampleOf(((schema as Schema).items as object | undefined) ?? {}, '')
      return item === undefined ? [] : [item]
    }
    case 'object':
      return objectExample(schema as Schema)
    default:
      return undefined
  }
}

function textExample({ format, pattern, minLength = 0, maxLength }: Schema, name: string): string | undefined {
  const most = typeof maxLength === 'number' ? maxLength : Number.POSITIVE_INFINITY
  for (const text of [byFormat[format as string] ?? byName[name], name, 'text', '1', 'A'.repeat(minLength as number)]) {
    if (text === undefined || text.length < (minLength as number) || text.length > most) continue
    if (typeof pattern === 'string' && !new RegExp(pattern, 'u').test(text)) continue
    return text
  }
  return undefined
}

function numberExample({ minimum, maximum }: Schema): number {
  const least = typeof minimum === 'number' ? minimum : -1
  const most = typeof maximum === 'number' ? maximum : 1
  return Math.min(Math.max(1, least), most)
}

function objectExample({ properties = {}, required = [] }: Schema): unknown {
  const made: Record<string, unknown> = {}
  for (const [key, schema] of Object.entries(properties as Record<string, object>)) {
    const value = exampleOf(schema, key)
    if (value !== undefined) made[key] = value
    else if ((required as readonly string[]).includes(key)) return undefined
  }
  return made
}

const errors: readonly PermsError[] = [
  new BadRequestError('The body is not valid JSON in UTF-8.'),
  new UnauthorizedError(),
  new ForbiddenError(),
  new NotFoundError(),
  new NotAcceptableError(),
  new ConflictError('It conflicts with an existing row.'),
  new PreconditionFailedError('The row has changed: its ETag is not in If-Match. Fetch it again.'),
  new PayloadTooLargeError('The body is larger than 1048576 bytes. Send a smaller body.'),
  new UnsupportedMediaTypeError('The body must be JSON in UTF-8: send it with "Content-Type: application/json".'),
  new ValidationError('The input is not valid.', [{ field: 'title', message: 'is required' }]),
  new TooManyAttemptsError('Too many attempts: try again later.', { retryAfter: 60 }),
  new ServiceUnavailableError(),
]

/** Returns an example of the problem details for a status. */
export function problemExample(status: number): Problem {
  return problemOf(errors.find((error) => error.status === status))
}
