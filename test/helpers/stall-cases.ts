/** A request whose strings are chosen to stall the event loop; plain data, for the tests and the bench. */
export interface StallRequest {
  readonly method: string
  /** Path and query. */
  readonly target: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  /** Whether a signed-in user sends it. */
  readonly isSignedIn?: boolean
}

/** One place in a request that takes a string of the client's. */
export interface StallCase {
  readonly name: string
  readonly make: (text: string) => StallRequest
  readonly texts: readonly string[]
  /** The same size, and nothing to stumble over. */
  readonly harmless: string
}

const BODY = 600_000
const HEADER = 60_000
const QUERY = 60_000

// Prefix, what is repeated, suffix: what regular expressions, Unicode and parsers take the longest for.
const shapes: readonly (readonly [string, string, string])[] = [
  ['0.', '0', '1'],
  ['', '0', 'x'],
  ['-', '1', '.'],
  ['1', '0', 'e5'],
  ['', '\u0301\u0323', ''],
  ['a', ' ', 'b'],
  ['a', '\t', 'b'],
  ['', ' ', ''],
  ['a@', 'a.', '@'],
  ['', 'a@', ''],
  ['', 'ab', '!'],
  ['', ',', ''],
  ['', ', W/', ''],
  [';', ' ', 'q'],
  ['', ';q=0.', ''],
  ['', '\\', ''],
  ['', '(', ''],
  ['', '[', ''],
  ['', '"', ''],
  ['', "'", ''],
  ['', '\0', ''],
  ['', '\ud800', ''],
  ['', '\ufdfa', ''],
  ['', '%41', ''],
  ['', '=;', ''],
  ['', '__', ''],
  ['', '-', ''],
  ['', '::', ''],
  ['http://', 'a.', ''],
  ['https://', '\u4e00\u4e01', ''],
  ['javascript:', 'a', ''],
  ['', "out of range in '", ''],
  ['bearer ', 'a.', ''],
  ['eyJ', 'a', '.a.'],
  ['2030-01-01T00:00:00.', '0', 'Z'],
]

function textsOf(size: number, cost: (text: string) => number, isAllowed: (text: string) => boolean = () => true): string[] {
  return shapes
    .filter((shape) => isAllowed(shape.join('')))
    .map(([prefix, unit, suffix]) => prefix + unit.repeat(Math.max(1, Math.floor(size / cost(unit)))) + suffix)
}

const inJson = (text: string) => Buffer.byteLength(JSON.stringify(text)) - 2
// A lone surrogate has no UTF-8 form: U+FFFD stands for it.
const encoded = (text: string) => encodeURIComponent(Buffer.from(text).toString())
const inQuery = (text: string) => encoded(text).length
const isHeaderText = (text: string) => /^[\t\x20-\x7e]*$/.test(text)

const bodyTexts = textsOf(BODY, inJson)
const headerTexts = textsOf(HEADER, (text) => text.length, isHeaderText)
const queryTexts = textsOf(QUERY, inQuery)

/** The columns of the model that the requests write: one of each type. */
export const stallFields = ['title', 'text', 'price', 'count', 'day', 'moment', 'ref', 'kind', 'ratio', 'data', 'link', 'email'] as const

const json = (method: string, target: string, body: object, isSignedIn = false): StallRequest => ({
  method,
  target,
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(body),
  isSignedIn,
})

const inBody = (name: string, make: (text: string) => StallRequest): StallCase => ({
  name,
  make,
  texts: bodyTexts,
  harmless: 'x'.repeat(BODY),
})

const bodies: StallCase[] = [
  ...stallFields.map((field) => inBody(`body ${field}`, (text) => json('POST', '/api/things', { title: 'x', [field]: text }, true))),
  inBody('body of a caller without the right', (text) => json('POST', '/api/closed', { price: text }, true)),
  inBody('body argSchema', (text) => json('POST', '/api/narrow', { word: text }, true)),
  inBody('body key', (text) => json('POST', '/api/things', { title: 'x', [text]: 1 }, true)),
  inBody('body key in json', (text) => json('POST', '/api/things', { title: 'x', data: { [text]: text.slice(0, 9) } }, true)),
  inBody('login email', (text) => json('POST', '/api/users/login/', { email: text, password: 'x' })),
  inBody('login password', (text) => json('POST', '/api/users/login/', { email: 'ada@example.com', password: text })),
  inBody('refresh token', (text) => json('POST', '/api/users/refresh/', { refresh_token: text })),
  inBody('own email', (text) => json('PATCH', '/api/users/me/', { email: text, oldPassword: 'x' }, true)),
  inBody('own password', (text) => json('PATCH', '/api/users/me/', { password: text, oldPassword: text }, true)),
  inBody('magic link', (text) => json('POST', '/api/users/magic-link/request/', { email: text })),
  inBody('reset token', (text) => json('POST', '/api/users/reset-password/', { token: text, password: text })),
  inBody('second factor', (text) => json('POST', '/api/users/second-factor/', { challenge: text, code: text })),
  inBody('confirmed code', (text) => json('POST', '/api/users/me/confirm/', { code: text }, true)),
  inBody('factor code', (text) => json('POST', '/api/users/me/second-factor/confirm/', { code: text }, true)),
  ...['email', 'role', 'domain'].map((field) =>
    inBody(`invitation ${field}`, (text) =>
      json('POST', '/api/users/invitations/', { email: 'a@example.com', role: 'x', domain: 'x', [field]: text }, true),
    ),
  ),
  inBody('key description', (text) => json('POST', '/api/users/me/api-keys/', { description: text, abilities: [text] }, true)),
]

const headerNames = [
  ...['authorization', 'cookie', 'accept', 'if-match', 'if-none-match', 'origin', 'referer', 'host', 'prefer'],
  ...['content-type', 'content-encoding', 'content-length', 'x-request-id', 'x-forwarded-for', 'sec-fetch-site'],
]

const headers: StallCase[] = headerNames.flatMap((name) =>
  (name === 'cookie' ? ['', '__Host-access=', '__Host-refresh='] : ['']).map((prefix) => ({
    name: `header ${name} ${prefix}`.trim(),
    make: (text: string): StallRequest => ({
      method: name.startsWith('content') ? 'POST' : 'GET',
      target: '/api/things',
      headers: { [name]: `${prefix}${text}` },
      ...(name.startsWith('content') && { body: '{"title":"x"}' }),
      isSignedIn: !['authorization', 'cookie'].includes(name),
    }),
    texts: headerTexts,
    harmless: 'x'.repeat(HEADER),
  })),
)

const queryKeys = [
  ...['page', 'pageSize', 'cursor', 'sort', 'total', 'fields', 'include', 'unknown'],
  ...stallFields.flatMap((field) => [field, `${field}__in`, `${field}__gt`]),
  ...['title__like', 'title__ilike', 'title__null'],
]

const inTarget = (name: string, make: (text: string) => string): StallCase => ({
  name,
  make: (text) => ({ method: 'GET', target: make(encoded(text)), isSignedIn: true }),
  texts: queryTexts,
  harmless: 'x'.repeat(QUERY),
})

const targets: StallCase[] = [
  ...queryKeys.map((key) => inTarget(`query ${key}`, (text) => `/api/things?${key}=${text}`)),
  inTarget('query key', (text) => `/api/things?${text}=1`),
  inTarget('path id', (text) => `/api/things/${text}`),
]

/** Every place of a request that takes a string. */
export const stallCases: readonly StallCase[] = [...bodies, ...headers, ...targets]

const keys = (count: number) => `{${Array.from({ length: count }, (_, i) => `"k${i}":0`).join(',')}}`
const padded = (body: string) => body.padEnd(BODY, ' ')

/** Bodies made of many small parts, and what a body of their size costs otherwise. */
export const shapedBodies: Readonly<Record<string, string>> = {
  'distinct keys': keys(75_000),
  'distinct keys in json': `{"title":"x","data":${keys(75_000)}}`,
  'one key many times': `{${'"title":"x",'.repeat(70_000)}"text":"x"}`,
  'empty objects': `{"title":"x","data":[${'{},'.repeat(290_000)}0]}`,
  'empty arrays': `{"title":"x","data":[${'[],'.repeat(290_000)}0]}`,
  numbers: `{"title":"x","data":[${'0,'.repeat(440_000)}0]}`,
  'nested arrays': '['.repeat(890_000),
  'nested objects': '{"a":'.repeat(170_000),
  'escaped text': `{"title":"x","text":"${'\\n'.repeat(440_000)}"}`,
  'escaped surrogates': `{"title":"x","text":"${'\\ud83d'.repeat(145_000)}"}`,
  'open string': `{"title":"${'\\"'.repeat(440_000)}`,
  blanks: padded('{"title":'),
}

export const plainBody = JSON.stringify({ title: 'x', text: 'x'.repeat(BODY) })
