import { expect } from 'chai'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { openZoo, password, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases, countQueries } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

/**
 * The statements that a request may send, in this order. With a token, the first select loads the caller, except in reads for a caller
 * who is remembered: their statement proves the caller.
 */
interface Budget {
  readonly request: string
  readonly body?: object
  readonly isAnonymous?: true
  readonly status: number
  readonly statements: string
}

const login = (email: string, given: string) => ({
  request: 'POST /users/login',
  body: { email, password: given },
  isAnonymous: true as const,
})

const budgets = ({ ids }: Zoo, refresh_token: string): readonly Budget[] => [
  { request: 'GET /users/me', status: 200, statements: 'select' },
  { request: 'GET /users/me/permissions', status: 200, statements: 'select' },
  { request: 'GET /users/sessions', status: 200, statements: 'select select' },
  // The rows and their total in one. The caller is remembered from here on, and proven by the first statement of a request.
  { request: 'GET /documents', status: 200, statements: 'select select' },
  { request: 'GET /documents', status: 200, statements: 'select' },
  { request: 'GET /documents?total=false', status: 200, statements: 'select' },
  { request: 'GET /documents?title__like=M%25&sort=title,-createdAt&pageSize=5', status: 200, statements: 'select' },
  { request: 'GET /documents?include=user', status: 200, statements: 'select select' },
  { request: `GET /documents/${ids.document}`, status: 200, statements: 'select' },
  // No row proves the caller. The next request to this endpoint loads the caller first.
  { request: `GET /documents/${ids.foreign}`, status: 404, statements: 'select select select' },
  { request: `GET /documents/${ids.foreign}`, status: 404, statements: 'select select' },
  { request: 'GET /documents/nope', status: 404, statements: 'select' },
  { request: 'POST /documents', body: { title: 'a', content: 'b' }, status: 201, statements: 'insert' },
  { request: 'POST /documents', body: { title: 5 }, status: 422, statements: 'select' },
  { request: `PATCH /documents/${ids.document}`, body: { title: 'c' }, status: 200, statements: 'select update' },
  { request: `PATCH /documents/${ids.foreign}`, body: { title: 'c' }, status: 404, statements: 'select select select' },
  { request: `DELETE /documents/${ids.document}`, status: 204, statements: 'select delete' },
  { request: `DELETE /documents/${ids.foreign}`, status: 404, statements: 'select select select' },
  // The password again, the second factors (an app and passkeys), the session, and the caller as it is then.
  { ...login('bob@example.com', password), status: 200, statements: 'select begin update select select insert commit select' },
  { ...login('bob@example.com', 'not the password'), status: 401, statements: 'select' },
  { ...login('nobody@example.com', password), status: 401, statements: 'select' },
  { request: 'POST /users/refresh', body: { refresh_token }, isAnonymous: true, status: 200, statements: 'select begin update commit' },
  { request: 'POST /users/logout', body: {}, status: 204, statements: 'select begin update commit' },
]

const kind = (sql: string) => /\w+/.exec(sql)?.[0].toLowerCase()

for (const name of availableDatabases) {
  describe(`The number of statements of a request (${name})`, () => {
    let zoo: Zoo
    let ask: Client
    let refreshToken: string
    before(async () => {
      zoo = await openZoo(name)
      const documents = new CrudResource({ model: UserDocument, path: 'documents', include: ['user'] })
      ask = clientOf(new Api({ resources: [new UserResource({}), documents] }), zoo.perms)
      const { body } = await ask('POST', '/users/login', null, { body: { email: 'bob@example.com', password } })
      refreshToken = body.refresh_token
    })
    after(() => zoo.close())

    it('does not exceed its budget', async () => {
      const wanted = budgets(zoo, refreshToken)
      const seen: Pick<Budget, 'request' | 'status' | 'statements'>[] = []
      for (const { request, body, isAnonymous } of wanted) {
        const [method = '', target = ''] = request.split(' ')
        const send = () => ask(method, target, isAnonymous ? null : zoo.tokens.ada, body === undefined ? {} : { body })
        const { result, statements } = await countQueries(zoo.perms.knex, send)
        seen.push({ request, status: result.status, statements: statements.map(kind).join(' ') })
      }
      expect(seen).to.deep.equal(wanted.map(({ request, status, statements }) => ({ request, status, statements })))
    })
  })
}
