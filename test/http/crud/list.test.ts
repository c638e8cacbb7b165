import { expect } from 'chai'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { asSystem } from '../../../src/policy/context.js'
import { openZoo, UserDocument, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases } from '../../helpers/databases.js'
import { type Client, clientOf } from '../client.js'

for (const name of availableDatabases) {
  describe(`Lists (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    const statements: string[] = []

    before(async () => {
      zoo = await openZoo(name)
      await asSystem(async () => {
        await UserDocument.query().delete()
        const rows: [string, number | null, string | null, string | null][] = [
          ['alpha', 1, '1.50', '2030-01-01T00:00:00.000Z'],
          ['Alpha', 2, '10.00', '2030-01-01T23:59:59.999Z'],
          ['beta_1', 2, '9.99', '2030-01-02T00:00:00.000Z'],
          ['beta%2', null, null, null],
          ['ünï', 5, '-2.00', '2029-12-31T23:00:00.000Z'],
        ]
        for (const [title, rating, price, publishedAt] of rows) {
          await UserDocument.create({
            title,
            content: 'c',
            rating,
            price,
            publishedAt: publishedAt === null ? null : new Date(publishedAt),
            userId: zoo.ids.ada,
          })
        }
        await UserDocument.create({ title: 'alpha', content: 'of another', rating: 1, userId: zoo.ids.bob })
      })
      const api = new Api({ resources: [new CrudResource({ model: UserDocument, path: 'documents', include: ['user'] })] })
      ask = clientOf(api, zoo.perms)
      zoo.perms.knex.on('query', ({ sql }: { sql: string }) => statements.push(sql))
    })
    after(() => zoo.close())

    const titles = async (query: string): Promise<string[]> => {
      const { status, body } = await ask('GET', `/documents?sort=title&${query}`, zoo.tokens.ada)
      expect(status, JSON.stringify(body)).to.equal(200)
      expect(body.pagination.total).to.equal(body.data.length)
      return body.data.map(({ title }: { title: string }) => title)
    }
    const refused = async (query: string, token = zoo.tokens.ada): Promise<string[]> => {
      const { status, body } = await ask('GET', `/documents?${query}`, token)
      expect(status, JSON.stringify(body)).to.equal(422)
      return body.errors.map(({ field }: { field: string }) => field)
    }
    const all = ['Alpha', 'alpha', 'beta%2', 'beta_1', 'ünï']

    it("contain only the caller's rows, also in the total [promise 31]", async () => {
      expect(await titles('')).to.deep.equal(all)
    })

    const found: [string, string[]][] = [
      ['title=alpha', ['alpha']],
      ['title=%25', []],
      ['title__ne=alpha', ['Alpha', 'beta%2', 'beta_1', 'ünï']],
      ['title__like=beta%25', ['beta%2', 'beta_1']],
      ['title__like=beta%5C%25%25', ['beta%2']],
      ['title__like=beta%5C_%25', ['beta_1']],
      ['title__like=%5C', []],
      ['title__like=alph_', ['alpha']],
      ['title__ilike=ALPHA', ['Alpha', 'alpha']],
      ['title__ilike=%C3%9CN%C3%8F', ['ünï']],
      ['title__ilike=%C3%9C_%25', ['ünï']],
      ['title__ilike=BETA%5C_1', ['beta_1']],
      ['title__ilike=BETA[%25', []],
      ['title__ilike=BETA*', []],
      ['title__in=alpha,Alpha,none', ['Alpha', 'alpha']],
      ['title__gt=alpha', ['beta%2', 'beta_1', 'ünï']],
      ['rating=2', ['Alpha', 'beta_1']],
      ['rating__ne=2', ['alpha', 'beta%2', 'ünï']],
      ['rating__null=true', ['beta%2']],
      ['rating__null=false', ['Alpha', 'alpha', 'beta_1', 'ünï']],
      ['rating__gte=2&rating__lt=5', ['Alpha', 'beta_1']],
      ['rating__min=2&rating__max=2', ['Alpha', 'beta_1']],
      ['rating__lt=99999999999', ['Alpha', 'alpha', 'beta_1', 'ünï']],
      ['rating__gt=99999999999', []],
      ['rating=99999999999', []],
      ['rating__in=1,99999999999', ['alpha']],
      ['price__gt=9.99', ['Alpha']],
      ['price__lte=1.5', ['alpha', 'ünï']],
      ['price=10', ['Alpha']],
      ['publishedAt__from=2030-01-01&publishedAt__to=2030-01-01', ['Alpha', 'alpha']],
      ['publishedAt__lte=2030-01-01', ['alpha', 'ünï']],
      ['publishedAt__gt=2030-01-01T01:00:00+01:00', ['Alpha', 'beta_1']],
      ['publishedAt=2030-01-01T23:59:59.999Z', ['Alpha']],
    ]
    for (const [query, expected] of found) {
      it(`find the rows of ${query}`, async () => {
        expect(await titles(query)).to.deep.equal(expected)
      })
    }

    const bad: [string, string[]][] = [
      ['rating=x', ['rating']],
      ['rating__in=1,,2', ['rating__in']],
      ['rating__like=1', ['rating__like']],
      ['rating__null=maybe', ['rating__null']],
      ['price=1.005', ['price']],
      ['publishedAt=0000-13-45', ['publishedAt']],
      ['publishedAt=2030-01-01T00:00:00', ['publishedAt']],
      ['title=%00', ['title']],
      [`title__in=${Array(101).fill('x').join(',')}`, ['title__in']],
      ['title=a&title=b', ['title']],
      [`title__like=${'x'.repeat(257)}`, ['title__like']],
      [`title__ilike=${'x'.repeat(257)}`, ['title__ilike']],
      [`title__like=${'%25a'.repeat(11)}`, ['title__like']],
      [`title__ilike=${'_'.repeat(11)}`, ['title__ilike']],
      ['sort=title,title', ['sort']],
      ['sort=', ['sort']],
      ['sort=content%20desc', ['sort']],
      ['fields=', ['fields']],
      ['include=tokens', ['include']],
      ['page=1&cursor=x', ['page', 'cursor']],
      ['total=no', ['total']],
      ['pageSize=1e2', ['pageSize']],
    ]
    for (const [query, fields] of bad) {
      it(`refuse ${query.slice(0, 40)}`, async () => {
        const named = await refused(query)
        for (const field of named) expect(fields).to.include(field)
      })
    }

    it('name the limit that a refused pattern exceeds [promise 63]', async () => {
      for (const operator of ['like', 'ilike']) {
        const messageFor = async (pattern: string) => {
          const { body } = await ask('GET', `/documents?title__${operator}=${encodeURIComponent(pattern)}`, zoo.tokens.ada)
          return body.errors?.[0].message
        }
        expect(await messageFor('x'.repeat(257))).to.include('at most 256 characters')
        expect(await messageFor('%a'.repeat(11))).to.include('at most 10 wildcards')
        expect(await messageFor('_'.repeat(11))).to.include('at most 10 wildcards')
        expect(await messageFor('%a'.repeat(10))).to.equal(undefined)
        expect(await messageFor('\\%'.repeat(100))).to.equal(undefined)
        expect(await messageFor('x'.repeat(256))).to.equal(undefined)
      }
    })

    it('refuse hidden columns like unknown ones, also for admins [promise 43]', async () => {
      expect(await refused('secret=x&sort=secret&fields=secret', zoo.tokens.admin)).to.have.members(['secret', 'sort', 'fields'])
    })

    for (const sort of ['title', '-title', 'rating', '-rating', 'price,-title', '-publishedAt', 'rating,-price', '-createdAt']) {
      it(`page by cursor in the order of ${sort} like by page number, NULL first`, async () => {
        const byPage: string[] = []
        const byCursor: string[] = []
        for (let page = 1; page <= 5; page += 1) {
          const { body } = await ask('GET', `/documents?sort=${sort}&pageSize=1&page=${page}`, zoo.tokens.ada)
          byPage.push(body.data[0].title)
          expect(body.pagination).to.include({ page, pageSize: 1, total: 5, totalPages: 5 })
          expect(body.pagination.nextCursor === null).to.equal(page === 5)
        }
        let cursor: string | null = ''
        while (cursor !== null) {
          const { body } = await ask('GET', `/documents?sort=${sort}&pageSize=2${cursor === '' ? '' : `&cursor=${cursor}`}`, zoo.tokens.ada)
          byCursor.push(...body.data.map(({ title }: { title: string }) => title))
          cursor = body.pagination.nextCursor
          expect(body.pagination.total).to.equal(5)
        }
        expect([...byPage].sort()).to.deep.equal([...all].sort())
        expect(byCursor).to.deep.equal(byPage)
        if (sort === 'rating') expect(byPage[0]).to.equal('beta%2')
        if (sort === '-rating') expect(byPage[4]).to.equal('beta%2')
        if (sort === 'title') expect(byPage).to.deep.equal(all)
      })
    }

    it('refuse a cursor with a changed byte, or of another caller, sort or filter [promise 46]', async () => {
      const { body } = await ask('GET', '/documents?sort=title&pageSize=2', zoo.tokens.ada)
      const cursor = body.pagination.nextCursor as string
      for (let i = 0; i < cursor.length; i += 1) {
        const changed = cursor.slice(0, i) + (cursor[i] === 'A' ? 'B' : 'A') + cursor.slice(i + 1)
        expect(await refused(`sort=title&pageSize=2&cursor=${changed}`)).to.deep.equal(['cursor'])
      }
      expect(await refused(`sort=-title&cursor=${cursor}`)).to.deep.equal(['cursor'])
      expect(await refused(`sort=title&rating=1&cursor=${cursor}`)).to.deep.equal(['cursor'])
      expect(await refused(`sort=title&cursor=${cursor}`, zoo.tokens.bob)).to.deep.equal(['cursor'])
      expect(Buffer.from(cursor, 'base64url').toString('latin1')).not.to.include('lpha')
    })

    it('need one statement for a page with its total, and one more for an include', async () => {
      const asked = async (query: string) => {
        statements.length = 0
        expect((await ask('GET', `/documents?${query}`, zoo.tokens.ada)).status).to.equal(200)
        return statements.filter((sql) => /user_document/.test(sql))
      }
      for (const query of ['pageSize=2', 'pageSize=5', 'pageSize=2&page=2', 'pageSize=2&total=false', 'title=none']) {
        expect(await asked(query), query).to.have.length(1)
      }
      // No row of the page could carry the total.
      expect(await asked('pageSize=2&page=9')).to.have.length(2)
      statements.length = 0
      await ask('GET', '/documents?pageSize=5&include=user', zoo.tokens.ada)
      const withInclude = statements.length
      statements.length = 0
      await ask('GET', '/documents?pageSize=5', zoo.tokens.ada)
      expect(withInclude - statements.length).to.equal(1)
    })

    it('select columns by name, so that PostgreSQL prepares the statements', async () => {
      statements.length = 0
      const { body } = await ask('GET', '/documents?pageSize=2', zoo.tokens.ada)
      await ask('GET', `/documents/${body.data[0].id}`, zoo.tokens.ada)
      const own = statements.filter((sql) => /user_document/.test(sql))
      expect(own).to.have.length(2)
      for (const sql of own) expect(sql).not.to.match(/(\.|select )[`"]?\*/)
    })

    it('show the requested fields, and related rows without hidden columns', async () => {
      const { body } = await ask('GET', '/documents?fields=title&include=user&pageSize=1', zoo.tokens.ada)
      expect(body.data[0]).to.have.all.keys('title', 'user')
      expect(body.data[0].user).to.include({ email: 'ada@example.com' })
      expect(JSON.stringify(body)).not.to.match(/password/i)
    })
  })
}
