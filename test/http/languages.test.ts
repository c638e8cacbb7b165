import { expect } from 'chai'
import Knex from 'knex'
import { fetchAdapter } from '../../src/adapters/fetch.js'
import { headerValue } from '../../src/http/core/response.js'
import {
  Api,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  everyone,
  initPerms,
  type Perms,
  User,
  UserResource,
} from '../../src/index.js'
import { testHasher } from '../../src/testing/hasher.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Sign extends BasePermsModel.withColumns({
  title: column.string({ maxLength: 5 }),
  rank: column.integer().nullable(),
  tags: column.json<string[]>({ type: 'array', maxItems: 1, items: { type: 'string', pattern: '^[a-z]+$' } }).nullable(),
}) {
  static override policy = { read: everyone(), create: everyone() }
}

describe('Error responses in the language of the client', () => {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true, pool: { min: 1, max: 1 } })
  let perms: Perms
  let handle: (request: Request) => Promise<Response> | Response

  before(async () => {
    const languages = { fr: { 'field.required': 'est obligatoire' } }
    perms = initPerms({ knex, jwt: { secret: 's'.repeat(32) }, passwordHasher: testHasher(), languages })
    await migrateAtOnce(perms)
    await createTables(knex, [Sign])
    await asSystem(() => User.create({ email: 'ada@example.com', password: 'correct horse battery' }))
    const api = new Api({
      prefix: '/api',
      resources: [
        new UserResource(),
        new CrudResource({ model: Sign, path: 'signs', methods: { list: { public: true }, create: { public: true } } }),
      ],
    })
    handle = fetchAdapter(perms).router(api)
  })
  after(async () => {
    await perms.close()
    await knex.destroy()
  })

  const send = async (path: string, language: string | null, body?: unknown) => {
    const headers = { 'content-type': 'application/json', ...(language !== null && { 'accept-language': language }) }
    const init =
      body === undefined ? { headers } : { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) }
    const response = await handle(new Request(`http://zoo.test${path}`, init))
    const problem = (await response.json()) as {
      title: string
      detail: string
      code: string
      status: number
      errors: { field: string; message: string }[]
    }
    return { response, problem }
  }

  const cases: [string, unknown][] = [
    ['/api/nowhere/', undefined],
    ['/api/user/me/', undefined],
    ['/api/signs/nothing/', undefined],
    [
      '/api/signs/?page=0&sort=x&colour=red&rank=a&title__like=%25%25%25%25%25%25%25%25%25%25%25&fields=y&include=z&rank__in=1,b&rank__null=2&pageSize=1&pageSize=2',
      undefined,
    ],
    ['/api/signs/', { title: 'too long a title', rank: 1.5, tags: ['A', 'b'], colour: 1 }],
    ['/api/signs/', { title: 1, tags: 'x' }],
    ['/api/signs/', {}],
    ['/api/signs/', '[]'],
    ['/api/signs/', '{'],
    ['/api/user/login/', { email: 'nobody@example.com', password: 'wrong' }],
    ['/api/user/login/', { email: '', password: 1, x: 2 }],
    ['/api/user/refresh/', { refresh_token: 'x' }],
  ]

  it('[promise 177] every part is German, and codes, statuses and field names are those of the English response', async () => {
    for (const [path, body] of cases) {
      const [english, german] = [await send(path, null, body), await send(path, 'de', body)]
      const plain = ({ problem }: typeof english) => ({
        code: problem.code,
        status: problem.status,
        fields: problem.errors.map(({ field }) => field),
      })
      expect(plain(german), path).to.deep.equal(plain(english))
      expect(english.problem.status, path).to.be.at.least(400)
      expect(german.problem.title, path).not.to.equal(english.problem.title)
      const [before, after] = [english, german].map(({ problem }) => [problem.detail, ...problem.errors.map(({ message }) => message)])
      for (const [i, text] of (after ?? []).entries()) expect(text, `${path} ${JSON.stringify(body)}`).not.to.equal(before?.[i])
      for (const text of after ?? []) expect(text, path).not.to.match(/\b(?:the|must|not|is|may|this|sign in)\b/i)
    }
  })

  it('without Accept-Language, or for a language without texts, the response is English', async () => {
    const { response, problem } = await send('/api/user/me/', null)
    expect([response.headers.get('content-language'), response.headers.get('vary')]).to.deep.equal([null, null])
    for (const language of ['xx', '', 'q=1', '*']) expect((await send('/api/user/me/', language)).problem).to.deep.equal(problem)
    const french = await send('/api/signs/', 'fr', {})
    expect(french.response.headers.get('content-language')).to.equal('fr')
    expect(french.problem.errors).to.deep.equal([{ field: 'title', message: 'est obligatoire' }])
    expect(french.problem.title).to.equal('Unprocessable Entity')
  })

  it('Vary is added to that of other middleware', () => {
    expect(headerValue('vary', 'Accept-Language', 'Origin')).to.equal('Origin, Accept-Language')
    for (const present of ['accept-language', 'Origin, Accept-Language', '*'])
      expect(headerValue('vary', 'Accept-Language', present)).to.equal(present)
    expect(headerValue('vary', 'Accept-Language', undefined)).to.equal('Accept-Language')
    expect(headerValue('allow', 'GET', 'POST')).to.equal('GET')
  })
})
