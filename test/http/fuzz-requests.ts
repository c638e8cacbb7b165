import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import type { OpenApiDocument } from '../../src/http/openapi/document.js'

const naughty = JSON.parse(readFileSync(new URL('../vectors/blns/blns.json', import.meta.url), 'utf8')) as string[]

type Schema = Readonly<Record<string, unknown>>

interface Parameter {
  readonly name: string
  readonly in: 'path' | 'query' | 'header'
  readonly schema: Schema
}

export interface Operation {
  readonly method: string
  readonly path: string
  readonly operationId: string
  readonly tags: readonly string[]
  readonly parameters: readonly Parameter[]
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }
  readonly responses: Readonly<Record<string, object>>
}

/** One request of the fuzzer, in a form that fast-check can print and shrink. */
export interface FuzzRequest {
  readonly operation: Operation
  readonly target: string
  readonly body: string | Uint8Array | undefined
  readonly headers: Readonly<Record<string, string>>
  readonly caller: string
}

/** The operations of one resource, with the schemas of their bodies in place. */
export function operationsOf(document: OpenApiDocument, tag: string): Operation[] {
  const named = (one: Schema): Schema =>
    typeof one.$ref === 'string' ? (document.components.schemas[one.$ref.replace(/.*\//, '')] as Schema) : one
  const found: Operation[] = []
  for (const [path, methods] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const { tags, requestBody } = operation as unknown as Operation
      if (!tags.includes(tag)) continue
      const schema = requestBody?.content['application/json']?.schema
      const body = schema && { requestBody: { content: { 'application/json': { schema: named(schema) } } } }
      found.push({ ...(operation as unknown as Operation), ...body, method: method.toUpperCase(), path })
    }
  }
  return found
}

const awkwardTexts = [
  '\u0000',
  '\ud800',
  'a\udfff',
  '0000-13-45',
  '9999-12-31T23:59:60Z',
  '1e400',
  '-0',
  '9007199254740993',
  '__proto__',
  '%',
  '%zz',
  '../..',
]
const mangledText = fc.oneof(fc.constantFrom(...naughty), fc.constantFrom(...awkwardTexts), fc.string({ unit: 'binary' }))
const mangledValue: fc.Arbitrary<unknown> = fc.oneof(
  mangledText,
  fc.constantFrom(null, true, 0, -1, 1.5, 2 ** 31, 2 ** 53 + 2, 1e308, [], {}, [1], { $gt: '' }, { toString: 1 }),
  fc.jsonValue({ maxDepth: 3 }),
)

const textsByPattern = new Map<string, fc.Arbitrary<string>>()

/** Texts that match a pattern. Kept, because fast-check takes long to prepare them. */
function textsOf(pattern: string): fc.Arbitrary<string> {
  const known = textsByPattern.get(pattern)
  if (known) return known
  // fast-check generates no lookahead: texts are generated without it, and kept where they match.
  const generated = fc.stringMatching(new RegExp(pattern.replaceAll(/\(\?![^()]*\)/g, '')))
  const texts = generated.filter((text) => new RegExp(pattern).test(text))
  textsByPattern.set(pattern, texts)
  return texts
}

/** Values that fit a schema. */
function fitting(schema: Schema): fc.Arbitrary<unknown> {
  const { type, enum: values, anyOf, format, pattern, minimum, maximum, minLength = 0, maxLength } = schema
  if (Array.isArray(values)) return fc.constantFrom(...(values as unknown[]))
  if (Array.isArray(anyOf)) return fc.oneof(...(anyOf as Schema[]).map(fitting))
  if (Array.isArray(type)) return fc.oneof(...(type as string[]).map((one) => fitting({ ...schema, type: one })))
  switch (type) {
    case 'null':
      return fc.constant(null)
    case 'boolean':
      return fc.boolean()
    case 'integer':
      return fc.oneof(fc.integer({ min: -3, max: 7 }), fc.constantFrom(Number(minimum ?? 0), Number(maximum ?? 1)))
    case 'number':
      return fc.double({ noNaN: true, noDefaultInfinity: true })
    case 'array':
      return fc.array(fitting((schema.items ?? {}) as Schema), { maxLength: 3 })
    case 'object':
      return objects(schema, fitting)
    case 'string': {
      if (format === 'uuid') return fc.uuid()
      if (format === 'date') return day
      if (format === 'date-time') return day.map((one) => `${one}T12:34:56.789Z`)
      if (typeof pattern === 'string') return textsOf(pattern)
      const most = Math.min(Number(maxLength ?? 30), 30)
      return fc.string({ minLength: Number(minLength), maxLength: Math.max(most, Number(minLength)), unit: 'grapheme' })
    }
    default:
      return fc.jsonValue({ maxDepth: 2 })
  }
}

const day = fc
  .date({ min: new Date('1000-01-01T00:00:00Z'), max: new Date('9998-12-31T00:00:00Z'), noInvalidDate: true })
  .map((date) => date.toISOString().slice(0, 10))

// '@ada' and the like stand for ids that are only known when the request is sent.
const owners = fc.oneof(
  { arbitrary: fc.constant('@ada'), weight: 6 },
  { arbitrary: fc.uuid(), weight: 1 },
  { arbitrary: fc.constant('@bob'), weight: 1 },
)

// Values that random input would never hit: '@token' becomes a token that the operation accepts, and so on.
const standIns: Readonly<Record<string, string>> = {
  token: '@token',
  code: '@code',
  provider: 'query',
  challenge: '@challenge',
  refresh_token: '@refresh',
  email: '@email',
  password: '@password',
  oldPassword: '@password',
  domain: '@domain',
  role: 'editor',
}

function objects(schema: Schema, value: (schema: Schema) => fc.Arbitrary<unknown>): fc.Arbitrary<object> {
  const { properties = {}, required = [] } = schema as { properties?: Record<string, Schema>; required?: string[] }
  const fill = (name: string, one: Schema): fc.Arbitrary<unknown> => {
    if (name === 'userId') return owners
    const standIn = standIns[name]
    return standIn === undefined ? value(one) : mostly<unknown>(fc.constant(standIn), value(one))
  }
  return fc.record(Object.fromEntries(Object.entries(properties).map(([name, one]) => [name, fill(name, one)])), {
    requiredKeys: required,
  })
}

const mostly = <T>(usual: fc.Arbitrary<T>, rare: fc.Arbitrary<T>) =>
  fc.oneof({ arbitrary: usual, weight: 5 }, { arbitrary: rare, weight: 1 })

function bodies(schema: Schema): fc.Arbitrary<{ text: string | Uint8Array | undefined; type: string | undefined }> {
  const json = (one: fc.Arbitrary<unknown>) =>
    one.map((value) => ({ text: JSON.stringify(value) ?? 'null', type: 'application/json' as string | undefined }))
  const mangled = objects(schema, (one) => mostly(fitting(one), mangledValue))
  const extended = fc.tuple(
    mangled,
    fc.dictionary(
      fc.oneof(mangledText, fc.constantFrom('id', 'userId', 'isEnabled', 'roles', 'passwordHash', '$or', 'createdAt')),
      mangledValue,
      { maxKeys: 2 },
    ),
  )
  return fc.oneof(
    { arbitrary: json(fitting(schema)), weight: 6 },
    { arbitrary: json(mangled), weight: 4 },
    { arbitrary: json(extended.map(([known, more]) => ({ ...known, ...more }))), weight: 2 },
    { arbitrary: json(mangledValue), weight: 1 },
    {
      arbitrary: fc
        .tuple(
          mangledText,
          fc.constantFrom(
            'application/json',
            'text/plain',
            'application/x-www-form-urlencoded',
            'application/json; charset=utf-16',
            undefined,
          ),
        )
        .map(([text, type]) => ({ text, type })),
      weight: 1,
    },
    { arbitrary: fc.uint8Array({ maxLength: 20 }).map((text) => ({ text, type: 'application/json' })), weight: 1 },
    {
      arbitrary: fc
        .constantFrom('{"a":', '{"__proto__":{"isAdmin":true}}', '['.repeat(100), '{"title":"x","title":"y"}', '1e999', '\ufeff{}')
        .map((text) => ({ text, type: 'application/json' })),
      weight: 1,
    },
    { arbitrary: fc.constant({ text: undefined, type: undefined }), weight: 1 },
  )
}

// encodeURIComponent() refuses a lone surrogate: send its bytes.
const encoded = (text: string): string =>
  text.replace(/[^A-Za-z0-9_.~@-]/g, (one) =>
    Array.from(Buffer.from(one, 'utf8'), (byte) => `%${byte.toString(16).padStart(2, '0')}`).join(''),
  )

function queries(parameters: readonly Parameter[]): fc.Arbitrary<string> {
  const known = parameters.filter((one) => one.in === 'query')
  const unknown = fc.tuple(
    fc.oneof(mangledText, fc.constantFrom('secret', 'passwordHash', 'user.email', 'title__regex', 'sort[]', '"id"')),
    mangledText,
  )
  if (known.length === 0)
    return mostly(
      fc.constant(''),
      unknown.map(([name, value]) => `?${encoded(name)}=${encoded(value)}`),
    )
  const one = fc.constantFrom(...known).chain(({ name, schema }) => {
    const text =
      name === 'sort'
        ? fc.constantFrom('title', '-title', 'id,-createdAt', 'nope', '')
        : name === 'fields'
          ? fc.constantFrom('id', 'id,createdAt', 'secret')
          : name === 'include'
            ? fc.constantFrom('user', 'tokens')
            : mostly(fitting(schema).map(String), mangledText)
    return text.map((value) => [name, value] as const)
  })
  const some = fc.array(mostly(one, unknown as unknown as typeof one), { maxLength: 4 })
  return some.map((pairs) => (pairs.length === 0 ? '' : `?${pairs.map(([name, value]) => `${encoded(name)}=${encoded(value)}`).join('&')}`))
}

/** Requests for these operations, valid and mangled. @param ids what the parameters of a path may name */
export function requestsOf(
  operations: readonly Operation[],
  ids: Readonly<Record<string, readonly string[]>>,
  callers: readonly string[],
): fc.Arbitrary<FuzzRequest> {
  return fc.constantFrom(...operations).chain((operation) => {
    const names = operation.parameters.filter((one) => one.in === 'path').map(({ name }) => name)
    const id = (name: string) =>
      fc.oneof(
        { arbitrary: fc.constantFrom(...(ids[name] ?? [])), weight: 8 },
        { arbitrary: fc.uuid(), weight: 1 },
        { arbitrary: mangledText, weight: 1 },
      )
    const schema = operation.requestBody?.content['application/json']?.schema
    const headers = fc.record(
      {
        accept: fc.constantFrom('*/*', 'application/json', 'text/html', 'application/*;q=0.1'),
        'if-match': fc.constantFrom('*', '"x"', 'W/"x"'),
        'if-none-match': fc.constantFrom('*', '"x"'),
        'x-request-id': fc.constantFrom('abc-1', 'a b', 'x'.repeat(200)),
      },
      { requiredKeys: [] },
    )
    return fc
      .record({
        ids: fc.tuple(...names.map(id)),
        query: queries(operation.parameters),
        body: schema ? bodies(schema) : fc.constant({ text: undefined, type: undefined }),
        headers: mostly(fc.constant({}), headers),
        caller: fc.constantFrom(...callers),
      })
      .map(({ ids: named, query, body, headers: more, caller }) => {
        const rest = [...named]
        const path = operation.path.replace(/\{\w+\}/g, () => encoded(rest.shift() ?? 'x'))
        const type = body.type === undefined ? {} : { 'content-type': body.type }
        return { operation, target: path + query, body: body.text, headers: { ...more, ...type } as Record<string, string>, caller }
      })
  })
}
