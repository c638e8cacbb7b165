import { expect } from 'chai'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import {
  Api,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  owner,
  Role,
  role,
  runAs,
  where,
} from '../../../src/index.js'
import { signInAs } from '../../../src/testing/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { type Client, clientOf } from '../client.js'

class Article extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string({ maxLength: 100 }).searchable(),
  body: column.text().nullable().searchable(),
  plain: column.text().nullable(),
  secret: column.text().nullable().searchable().hidden(),
  notes: column.text().nullable().searchable().readableBy(role(Role.ADMIN)),
  isPublic: column.boolean().default(true),
}) {
  static override policy = { read: anyOf(where({ isPublic: true }), owner()), create: authenticated(), update: owner(), delete: owner() }
}

class Essay extends BasePermsModel.withColumns({
  title: column.string({ maxLength: 100 }).searchable(),
  body: column.text().nullable().searchable({ fullText: 'english' }),
  isPublic: column.boolean().default(true),
}) {
  static override policy = { read: where({ isPublic: true }), create: authenticated() }
}

class Report extends BasePermsModel.withColumns({ body: column.text().searchable({ fullText: 'english' }) }) {}

class Question extends BasePermsModel.withColumns({ q: column.string(), text: column.text().searchable() }) {
  static override policy = { read: authenticated() }
}

class Silent extends BasePermsModel.withColumns({ text: column.text() }) {
  static override policy = { read: authenticated() }
}

for (const name of availableDatabases) {
  describe(`Search in lists (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    let ada: Awaited<ReturnType<typeof signInAs>>
    let bob: Awaited<ReturnType<typeof signInAs>>
    let admin: string

    before(async () => {
      zoo = await openZoo(name)
      await createTables(zoo.perms.knex, [Article, Essay, Report, Question, Silent])
      ada = await signInAs({})
      bob = await signInAs({})
      admin = (await signInAs({}, { role: Role.ADMIN })).accessToken
      const resources = [
        new CrudResource({ model: Article }),
        new CrudResource({ model: Essay }),
        new CrudResource({ model: Article, path: 'titles', name: 'Title', schema: ['id', 'title'] }),
        new CrudResource({ model: Article, path: 'narrow', name: 'Narrow', methods: { list: { argSchema: ['title'] } } }),
        new CrudResource({ model: Question }),
        new CrudResource({ model: Silent }),
      ]
      ask = clientOf(new Api({ resources }), zoo.perms)
      await asSystem(async () => {
        const rows: Partial<Article>[] = [
          { title: 'Red fox', body: 'jumps over the Lazy dog', plain: 'zebra', secret: 'sesame', notes: 'audited' },
          { title: 'red herring', body: null },
          { title: 'Grüße aus KÖLN', body: 'a 100% pure under_score back\\slash [set] *star* ?' },
          { title: 'private fox', body: 'jumps', isPublic: false },
        ]
        for (const row of rows) await Article.create({ ...row, userId: ada.user.id })
        await Question.create({ q: 'a', text: 'b' })
      })
    })
    after(() => zoo.close())

    async function titles(q: string, token: string | null = bob.accessToken, path = 'articles'): Promise<string[]> {
      const { status, body } = await ask('GET', `/${path}?sort=title&q=${encodeURIComponent(q)}`, token)
      expect(status, JSON.stringify(body)).to.equal(200)
      expect(body.pagination.total).to.equal(body.data.length)
      return body.data.map(({ title }: Article) => title).sort()
    }

    it('finds rows that have each word in one of the columns, in any case [promise 204]', async () => {
      expect(await titles('RED')).to.deep.equal(['Red fox', 'red herring'])
      expect(await titles('lazy red')).to.deep.equal(['Red fox'])
      expect(await titles('  fox   jumps ')).to.deep.equal(['Red fox'])
      expect(await titles('grüße')).to.deep.equal(['Grüße aus KÖLN'])
      expect(await titles('köln GRÜSSE'.replace('SS', 'ß'))).to.deep.equal(['Grüße aus KÖLN'])
      expect(await titles('red unheard')).to.deep.equal([])
      expect(await titles('   ')).to.have.length(3)
    })

    it('takes every character of a word for itself [promise 204]', async () => {
      for (const q of ['100%', 'under_score', 'back\\slash', '[set]', '*star*', '?', '% _', "'; drop table article; --"]) {
        const expected = q.startsWith("'") ? [] : ['Grüße aus KÖLN']
        expect(await titles(q), q).to.deep.equal(expected)
      }
      for (const q of ['%%', 'f_x', '*', '[r]ed', 'r?d']) expect(await titles(q), q).to.deep.equal(q === '*' ? ['Grüße aus KÖLN'] : [])
    })

    it('searches only rows that the caller may read [promise 63]', async () => {
      expect(await titles('fox')).to.deep.equal(['Red fox'])
      expect(await titles('fox', ada.accessToken)).to.deep.equal(['Red fox', 'private fox'])
    })

    it('never searches columns that are hidden, not shown, not readable or not marked [promise 204]', async () => {
      for (const q of ['zebra', 'sesame', 'audited']) expect(await titles(q), q).to.deep.equal([])
      expect(await titles('audited', admin)).to.deep.equal(['Red fox'])
      expect(await titles('sesame', admin)).to.deep.equal([])
      expect(await titles('lazy', bob.accessToken, 'titles')).to.deep.equal([])
      expect(await titles('lazy', bob.accessToken, 'narrow')).to.deep.equal([])
      expect(await titles('fox', bob.accessToken, 'titles')).to.deep.equal(['Red fox'])
    })

    it('refuses what is too long, and q where nothing is searchable [promise 62]', async () => {
      const status = async (q: string, path = 'articles') =>
        (await ask('GET', `/${path}?q=${encodeURIComponent(q)}`, bob.accessToken)).status
      expect(await status('x'.repeat(257))).to.equal(422)
      expect(await status('x'.repeat(256))).to.equal(200)
      expect(await status('a b c d e f g h i j k')).to.equal(422)
      expect(await status('a b c d e f g h i j j j')).to.equal(200)
      expect(await status('\u0000')).to.equal(422)
      expect((await ask('GET', '/articles?q=a&q=b', bob.accessToken)).status).to.equal(422)
      expect(await status('a', 'silents')).to.equal(422)
      // A column of this name stays a filter.
      expect((await ask('GET', '/questions?q=b', bob.accessToken)).body.data).to.deep.equal([])
      expect((await ask('GET', '/questions?q=a', bob.accessToken)).body.data).to.have.length(1)
    })

    it('pages by cursors that belong to one search', async () => {
      const first = await ask('GET', '/articles?q=red&sort=title&pageSize=1', bob.accessToken)
      const cursor = encodeURIComponent(first.body.pagination.nextCursor)
      const next = await ask('GET', `/articles?q=red&sort=title&pageSize=1&cursor=${cursor}`, bob.accessToken)
      expect(next.body.data).to.have.length(1)
      expect(next.body.data[0].id).to.not.equal(first.body.data[0].id)
      expect((await ask('GET', `/articles?q=fox&sort=title&pageSize=1&cursor=${cursor}`, bob.accessToken)).status).to.equal(422)
      expect(decodeURIComponent(first.headers['link'] ?? '')).to.include('q=red')
    })

    it(`${name === 'pg' ? 'compares words by language' : 'looks for substrings'} in columns with fullText [promise 204]`, async () => {
      await asSystem(async () => {
        await Essay.create({ title: 'Foxes', body: 'A fox was running over the hills.' })
        await Essay.create({ title: 'Empty', body: null })
        await Essay.create({ title: 'Secret', body: 'Nobody runs here.', isPublic: false })
      })
      const titles = async (q: string) => {
        const { status, body } = await ask('GET', `/essays?sort=title&q=${encodeURIComponent(q)}`, bob.accessToken)
        expect(status).to.equal(200)
        return body.data.map(({ title }: { title: string }) => title)
      }
      const byLanguage = name === 'pg'
      expect(await titles('runs')).to.deep.equal(byLanguage ? ['Foxes'] : [])
      expect(await titles('run HILL')).to.deep.equal(['Foxes'])
      expect(await titles('unnin')).to.deep.equal(byLanguage ? [] : ['Foxes'])
      expect(await titles('foxes')).to.deep.equal(['Foxes'])
      // The configuration leaves out words such as 'the'. A word of the title may be anything.
      expect(await titles('the run')).to.deep.equal(['Foxes'])
      expect(await titles('mpt')).to.deep.equal(['Empty'])

      for (const q of ["zebra'", 'zebra & fox', 'zebra?', 'zebra\\\\', "fox') or 1=1 --"]) expect(await titles(q), q).to.deep.equal([])
    })

    if (name === 'pg')
      it('uses an index on to_tsvector() for callers who may read every row [promise 204]', async () => {
        const { knex } = zoo.perms
        await knex.raw("create index report_words on report using gin (to_tsvector('english', body))")
        const rows = "select gen_random_uuid(), now(), now(), 'word' || i from generate_series(1, 5000) i"
        await knex.raw(`insert into report (id, created_at, updated_at, body) ${rows}`)
        await knex.raw('analyze report')
        const { sql, bindings } = await asSystem(async () => Report.query().select('id').search('word77').toKnexQuery().toSQL())
        const plan = await knex.raw(`explain ${sql}`, bindings as never)
        expect(JSON.stringify(plan.rows)).to.match(/Bitmap Index Scan on report_words/)
      })

    it('lets code search by query().search(), under the policy and without restricted columns [promise 204]', async () => {
      await runAs(bob.user as never, async () => {
        expect(await Article.query().search('fox')).to.have.length(1)
        expect(await Article.query().alias('a').search('red LAZY')).to.have.length(1)
        expect(await Article.query().search('fox').where('isPublic', false)).to.have.length(0)
        expect(await Article.query().search(' ').resultSize()).to.equal(3)
      })
      await asSystem(async () => {
        for (const q of ['sesame', 'audited', 'zebra']) expect(await Article.query().search(q)).to.have.length(0)
        expect(await Article.query().search('fox').resultSize()).to.equal(2)
        expect(await rejection((async () => await Article.query().search('x'.repeat(300)))())).to.include({ status: 422 })
        expect(() => Silent.query().search('x')).to.throw('column.text().searchable()')
      })
    })
  })
}

describe('searchable()', () => {
  it('is refused for columns that hold no text', () => {
    expect(() => column.integer().searchable()).to.throw('searchable() needs a column of text')
    for (const fullText of ["english'", 'English', '', 1 as never, null as never])
      expect(() => column.text().searchable({ fullText }), String(fullText)).to.throw("such as 'english' or 'simple'")
    expect(() => column.text().searchable({ fulltext: 'english' } as never)).to.throw('fullText')
  })

  it('is described in the OpenAPI document', async () => {
    const zoo = await openZoo()
    const api = new Api({ resources: [new CrudResource({ model: Article }), new CrudResource({ model: Silent })] })
    const { paths } = openApiDocument(api, zoo.perms)
    const parametersOf = (path: string) => paths[path]?.['get']?.parameters as { name: string; description: string }[]
    expect(parametersOf('/articles').find((one) => one.name === 'q')?.description).to.equal(
      'Words that each row has in: title, body, notes.',
    )
    expect(parametersOf('/silents').map((one) => one.name)).to.not.include('q')
    await zoo.close()
  })
})
