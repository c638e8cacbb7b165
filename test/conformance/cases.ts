import type { Zoo } from './zoo.js'
import { password } from './zoo.js'

export interface Case {
  readonly title: string
  readonly method: string
  readonly path: string
  readonly as?: 'ada' | 'bob' | 'admin' | undefined
  /** Sent as it is where it is text, else as JSON. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly status: number
  /** Headers that must be so; null: absent. */
  readonly expect?: Readonly<Record<string, string | null>>
  /** The problem's code. */
  readonly code?: string
  /** The fields that the problem names. */
  readonly fields?: readonly string[]
  /** Not in the comparison of bytes: the framework's own answer, or parser. */
  readonly own?: boolean
  /** What a body parser of the application's may answer instead. */
  readonly orElse?: number
  /** Frameworks that cannot be asked this. */
  readonly not?: readonly string[]
}

const invalidToken = { 'www-authenticate': 'Bearer error="invalid_token"', 'cache-control': 'no-store' }
const noToken = { 'www-authenticate': 'Bearer' }

/** What every framework answers alike. Cases run in order; what one made, the next may see. */
export function cases({ ids }: Zoo): Case[] {
  const document = `/api/documents/${ids.document}`
  const foreign = `/api/documents/${ids.foreign}`
  const big = JSON.stringify({ title: 'x', content: 'x'.repeat(1024 * 1024) })
  const deep = `{"title":${'['.repeat(40)}${']'.repeat(40)}}`
  return [
    // -- signing in
    { title: 'signs in', method: 'POST', path: '/api/users/login/', body: { email: 'ada@example.com', password }, status: 200, expect: { 'cache-control': 'no-store' } },
    { title: 'signs in without the slash', method: 'POST', path: '/api/users/login', body: { email: 'ada@example.com', password }, status: 200 },
    { title: 'signs in whatever stands in Authorization [promise 19]', method: 'POST', path: '/api/users/login/', headers: { authorization: 'Bearer bad' }, body: { email: 'ada@example.com', password }, status: 200 },
    { title: 'refuses a wrong password', method: 'POST', path: '/api/users/login/', body: { email: 'ada@example.com', password: 'wrong' }, status: 401, code: 'invalid_credentials' },
    { title: 'refuses an unknown address alike', method: 'POST', path: '/api/users/login/', body: { email: 'nobody@example.com', password: 'wrong' }, status: 401, code: 'invalid_credentials' },
    { title: 'names what is missing of the credentials', method: 'POST', path: '/api/users/login/', body: {}, status: 422, fields: ['email', 'password'] },
    { title: 'names what is no text [promise 27]', method: 'POST', path: '/api/users/login/', body: { email: { $gt: '' }, password: ['x'] }, status: 422, fields: ['email', 'password'] },
    { title: 'names what is blank', method: 'POST', path: '/api/users/login/', body: { email: ' ', password: '' }, status: 422, fields: ['email', 'password'] },
    { title: 'names what it does not know', method: 'POST', path: '/api/users/login/', body: { email: 'a@b.c', password: 'x', admin: true }, status: 422, fields: ['admin'] },
    { title: 'wants a body', method: 'POST', path: '/api/users/login/', status: 422 },
    { title: 'wants an object', method: 'POST', path: '/api/users/login/', body: '[]', status: 422 },
    { title: 'refuses a blank refresh token', method: 'POST', path: '/api/users/refresh/', body: { refresh_token: '' }, status: 422, fields: ['refresh_token'] },
    { title: 'refuses a refresh token of nobody', method: 'POST', path: '/api/users/refresh/', body: { refresh_token: 'x' }, status: 401 },
    // -- the caller
    { title: 'shows the caller', method: 'GET', path: '/api/users/me/', as: 'ada', status: 200 },
    { title: 'shows the roles', method: 'GET', path: '/api/users/me', as: 'admin', status: 200 },
    { title: 'asks who it is', method: 'GET', path: '/api/users/me/', status: 401, code: 'unauthorized', expect: noToken },
    { title: 'refuses a bad Bearer [promise 19]', method: 'GET', path: '/api/users/me/', headers: { authorization: 'Bearer bad' }, status: 401, code: 'invalid_token', expect: invalidToken },
    { title: 'refuses an empty Bearer [promise 19]', method: 'GET', path: '/api/users/me/', headers: { authorization: 'Bearer' }, status: 401, code: 'invalid_token' },
    { title: 'refuses a bad Bearer on a public route [promise 19]', method: 'GET', path: '/api/critters/', headers: { authorization: 'bearer bad' }, status: 401, code: 'invalid_token', expect: invalidToken },
    { title: 'takes other schemes for no caller', method: 'GET', path: '/api/users/me/', headers: { authorization: 'Basic YTpi' }, status: 401, code: 'unauthorized', expect: noToken },
    { title: 'looks at no token in the query [promise 19]', method: 'GET', path: '/who?access_token=bad&token=bad', status: 200 },
    // -- the application's own routes
    { title: 'runs own routes as the caller', method: 'GET', path: '/who', as: 'ada', status: 200 },
    { title: 'runs own routes as nobody', method: 'GET', path: '/who', status: 200 },
    { title: 'guards own routes against bad tokens', method: 'GET', path: '/who', headers: { authorization: 'Bearer bad' }, status: 401, expect: invalidToken },
    { title: 'demands a user', method: 'GET', path: '/account', status: 401, expect: noToken },
    { title: 'lets a user in', method: 'GET', path: '/account', as: 'ada', status: 200 },
    { title: 'demands a role of nobody', method: 'GET', path: '/reports', status: 401 },
    { title: 'demands a role of somebody', method: 'GET', path: '/reports', as: 'ada', status: 403, code: 'forbidden' },
    { title: 'lets the role in', method: 'GET', path: '/reports', as: 'admin', status: 200 },
    { title: 'answers the library\'s errors of own routes', method: 'GET', path: '/invalid', status: 422, fields: ['x'] },
    { title: 'leaves unknown paths to the framework', method: 'GET', path: '/nowhere', status: 404, own: true },
    { title: 'leaves unknown paths below the prefix to the framework', method: 'GET', path: '/api/nowhere', as: 'ada', status: 404, own: true },
    // -- lists
    { title: 'lists own rows', method: 'GET', path: '/api/documents/', as: 'ada', status: 200 },
    { title: 'lists all rows to an admin', method: 'GET', path: '/api/documents', as: 'admin', status: 200 },
    { title: 'asks who lists', method: 'GET', path: '/api/documents/', status: 401 },
    { title: 'lists what is public', method: 'GET', path: '/api/critters/', status: 200 },
    { title: 'pages', method: 'GET', path: '/api/documents/?page=2&pageSize=1', as: 'admin', status: 200, expect: { link: null } },
    { title: 'links to the next page', method: 'GET', path: '/api/documents/?pageSize=1', as: 'admin', status: 200, expect: { link: '</api/documents/?pageSize=1&page=2>; rel="next"' } },
    { title: 'has empty pages past the end', method: 'GET', path: '/api/documents/?page=9', as: 'ada', status: 200 },
    { title: 'refuses pages that are none [promise 46]', method: 'GET', path: '/api/documents/?page=0&pageSize=101', as: 'ada', status: 422, fields: ['page', 'pageSize'] },
    { title: 'refuses unknown keys [promise 44]', method: 'GET', path: '/api/documents/?nope=1&document.title=x&%22title%22=x&userId__drop=1', as: 'ada', status: 422, fields: ['nope', 'document.title', '"title"', 'userId__drop'] },
    { title: 'refuses hidden columns as unknown [promise 43]', method: 'GET', path: '/api/documents/?secret=x&secret__null=true&sort=secret&fields=secret', as: 'admin', status: 422, fields: ['secret', 'secret__null', 'sort', 'fields'] },
    { title: 'refuses values of another type [promise 45]', method: 'GET', path: '/api/documents/?rating=many&userId=x&publishedAt=0000-13-45', as: 'ada', status: 422, fields: ['rating', 'userId', 'publishedAt'] },
    { title: 'refuses arrays and objects [promise 45]', method: 'GET', path: '/api/documents/?title=a&title=b&title[like]=x', as: 'ada', status: 422, fields: ['title', 'title[like]'] },
    { title: 'refuses NUL in filters [promise 47]', method: 'GET', path: '/api/documents/?title=%00', as: 'ada', status: 422, fields: ['title'] },
    { title: 'refuses a cursor from elsewhere [promise 46]', method: 'GET', path: '/api/documents/?cursor=AAAA', as: 'ada', status: 422, fields: ['cursor'] },
    { title: 'takes numbers past 2^31 for a bound [promise 47]', method: 'GET', path: '/api/documents/?rating__lt=9999999999&rating__ne=9999999999', as: 'ada', status: 200 },
    { title: 'filters, sorts and picks', method: 'GET', path: '/api/documents/?title=Mine&sort=-title,createdAt&fields=title,content', as: 'ada', status: 200 },
    { title: 'takes wildcards of equality literally [promise 45]', method: 'GET', path: '/api/documents/?title=%25', as: 'admin', status: 200 },
    { title: 'includes a relation', method: 'GET', path: '/api/documents/?include=user&fields=title', as: 'ada', status: 200 },
    { title: 'refuses relations that are not offered', method: 'GET', path: '/api/documents/?include=user.tokens', as: 'ada', status: 422, fields: ['include'] },
    // -- items
    { title: 'gets a row', method: 'GET', path: document, as: 'ada', status: 200, expect: { 'cache-control': 'private, no-cache' } },
    { title: 'gets it with the slash', method: 'GET', path: `${document}/`, as: 'ada', status: 200 },
    { title: 'hides another\'s row [promise 36]', method: 'GET', path: foreign, as: 'ada', status: 404, code: 'not_found' },
    { title: 'knows no row of that id', method: 'GET', path: '/api/documents/00000000-0000-7000-8000-000000000000', as: 'ada', status: 404, code: 'not_found' },
    { title: 'knows no row of what is no id [promise 47]', method: 'GET', path: '/api/documents/1%27--', as: 'ada', status: 404, code: 'not_found' },
    { title: 'knows no row of an encoded slash [promise 49]', method: 'GET', path: `/api/documents/..%2f${ids.document}`, as: 'ada', status: 404, code: 'not_found' },
    { title: 'answers HEAD without a body', method: 'HEAD', path: document, as: 'ada', status: 200 },
    { title: 'answers HEAD of a missing row', method: 'HEAD', path: foreign, as: 'ada', status: 404 },
    { title: 'asks before it looks', method: 'GET', path: foreign, status: 401 },
    // -- writing
    { title: 'creates', method: 'POST', path: '/api/documents/', as: 'ada', body: { title: 'New', content: 'c', price: '1.5' }, status: 201 },
    { title: 'needs all that is needed', method: 'POST', path: '/api/documents/', as: 'ada', body: {}, status: 422, fields: ['title', 'content'] },
    { title: 'refuses what clients may not set [promise 42]', method: 'POST', path: '/api/documents/', as: 'ada', body: '{"title":"t","content":"c","id":"x","createdAt":"2020-01-01T00:00:00Z","secret":"s","$x":1,"nope":1}', status: 422, fields: ['id', 'createdAt', 'secret', '$x', 'nope'] },
    // Some body parsers refuse it themselves.
    { title: 'refuses __proto__ and constructor as any unknown key [promise 42]', method: 'POST', path: '/api/documents/', as: 'ada', body: '{"title":"t","content":"c","__proto__":{"a":1},"constructor":{"prototype":{}}}', status: 422, fields: ['__proto__', 'constructor'], own: true, orElse: 400 },
    { title: 'refuses values of another type', method: 'POST', path: '/api/documents/', as: 'ada', body: { title: 1, content: ['c'], rating: 'x', price: '1.005' }, status: 422, fields: ['title', 'content', 'rating', 'price'] },
    { title: 'refuses NUL and lone surrogates [promise 47]', method: 'POST', path: '/api/documents/', as: 'ada', body: '{"title":"\\u0000","content":"\\ud800"}', status: 422, fields: ['title', 'content'] },
    { title: 'refuses malformed JSON [promise 47]', method: 'POST', path: '/api/documents/', as: 'ada', body: '{"title":', status: 400, code: 'bad_request', own: true },
    { title: 'refuses other content types [promise 47]', method: 'POST', path: '/api/documents/', as: 'ada', body: 'title=x', headers: { 'content-type': 'application/x-www-form-urlencoded' }, status: 415, code: 'unsupported_media_type' },
    { title: 'refuses too large a body [promise 46]', method: 'POST', path: '/api/documents/', as: 'ada', body: big, status: 413, own: true },
    { title: 'refuses too deep a body [promise 46]', method: 'POST', path: '/api/documents/', as: 'ada', body: deep, status: 413, code: 'payload_too_large' },
    { title: 'changes', method: 'PATCH', path: document, as: 'ada', body: { title: 'Changed' }, status: 200 },
    { title: 'refuses to change what is another\'s', method: 'PATCH', path: foreign, as: 'ada', body: { title: 5 }, status: 404 },
    { title: 'refuses before it looks at the input', method: 'PATCH', path: `/api/critters/${ids.critter}`, as: 'ada', body: { name: 5 }, status: 403 },
    { title: 'changes the caller', method: 'PATCH', path: '/api/users/me/', as: 'ada', body: { isEnabled: true }, status: 403 },
    { title: 'refuses a precondition that fails', method: 'PATCH', path: document, as: 'ada', headers: { 'if-match': '"other"' }, body: { title: 5 }, status: 412, code: 'precondition_failed' },
    { title: 'takes If-Match: *', method: 'PATCH', path: document, as: 'ada', headers: { 'if-match': '*' }, body: { title: 'Matched' }, status: 200 },
    { title: 'refuses adminOnly', method: 'DELETE', path: `/api/critters/${ids.critter}`, as: 'ada', status: 403 },
    { title: 'hides before it refuses adminOnly [promise 36]', method: 'DELETE', path: `/api/critters/${ids.shy}`, as: 'ada', status: 404 },
    { title: 'deletes', method: 'DELETE', path: document, as: 'ada', status: 204 },
    { title: 'has deleted', method: 'GET', path: document, as: 'ada', status: 404 },
    // -- manners
    { title: 'names the methods that it takes', method: 'PUT', path: '/api/documents/', as: 'ada', status: 405, code: 'method_not_allowed', expect: { allow: 'GET, POST, HEAD' } },
    { title: 'takes no other method for a fixed path', method: 'DELETE', path: '/api/users/me', as: 'admin', status: 405 },
    { title: 'accepts what takes JSON', method: 'GET', path: '/api/critters/', headers: { accept: 'text/html,application/*;q=0.5' }, status: 200 },
    { title: 'refuses what takes no JSON', method: 'GET', path: '/api/critters/', headers: { accept: 'text/html' }, status: 406, code: 'not_acceptable' },
    { title: 'passes a request id through', method: 'GET', path: '/api/critters/', headers: { 'x-request-id': 'abc-1' }, status: 200, expect: { 'x-request-id': 'abc-1' } },
    { title: 'passes nothing else through', method: 'GET', path: '/api/critters/', headers: { 'x-request-id': 'a b<c>' }, status: 200, expect: { 'x-request-id': null } },
    // -- other spellings of a path [promise 49]
    ...['/api//documents/', '//api/documents/', '/API/documents/', '/api/Documents/', '/api/documents;x=1', '/api/documents//', '/api/%64ocuments/', '/api%2fdocuments', '/api/documents%2f'].map(
      (path): Case => ({ title: `opens no other door: ${path} [promise 49]`, method: 'GET', path, as: 'ada', status: 404, own: true }),
    ),
    { title: 'opens no other door: dots [promise 49]', method: 'GET', path: '/api/critters/../documents/', status: 401, own: true, not: ['express', 'koa', 'node', 'fastify'] },
  ]
}
