import { expect } from 'chai'
import type { Knex } from 'knex'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { initPerms } from '../../../src/init.js'
import { createTables } from '../../../src/migrations.js'
import { anyOf, owner, where } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import type { Perms } from '../../../src/setup/perms.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { planOf, rowsRead, type Sent } from '../../helpers/plans.js'
import { type Client, clientOf } from '../client.js'

const columns = {
  title: column.string({ maxLength: 100 }).index(),
  kind: column.integer().index(),
  place: column.integer().index(),
  isPublic: column.boolean().default(false),
  ownerId: column.uuid().index(),
}

class Sheet extends BasePermsModel.withColumns(columns) {
  static override policy = { read: owner('ownerId') }
}
class Poster extends BasePermsModel.withColumns(columns) {
  static override policy = { read: anyOf(where({ isPublic: true }), owner('ownerId')) }
}

eachDatabase('the plans of lists', (db) => {
  let knex: Knex
  let perms: Perms
  let ask: Client
  const sent: Sent[] = []
  const tokens: string[] = []
  const count = 6000

  before(async function () {
    this.timeout(60_000)
    knex = db.knex
    perms = initPerms({ knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await createTables(knex, [Sheet, Poster])
    const [most, few] = [await createUser(), await createUser()]
    for (const user of [most, few]) tokens.push((await signInAs(user, { perms })).accessToken)
    for (const model of [Sheet, Poster]) {
      const table = model.tableName
      await knex.schema.alterTable(table, (builder) => builder.index(['created_at']))
      // MariaDB has no incremental sort: without the other keys in the index it reads and sorts everything that follows.
      if (db.dialect === 'mysql') {
        await knex.raw(
          'alter table ?? add index created_at_index (created_at desc, id), add index place_index (place desc, created_at, id)',
          [table],
        )
      }
      const rows = Array.from({ length: count }, (_, i) => {
        const at = new Date(Date.UTC(2030, 0, 1) + Math.floor(i / 10) * 1000)
        return model.build({
          title: `title ${String((i * 7919) % count).padStart(5, '0')}`,
          kind: i % 300,
          place: Math.floor(i / 10),
          isPublic: i % 50 === 0,
          ownerId: i % 100 === 0 ? few.id : most.id,
          createdAt: at,
          updatedAt: at,
        })
      })
      for (const row of rows) (row as unknown as { $beforeInsert(context: object): void }).$beforeInsert({ transaction: knex })
      for (let from = 0; from < count; from += 100)
        await knex(table).insert(rows.slice(from, from + 100).map((row) => row.$toDatabaseJson()))
      await knex.raw(db.dialect === 'mysql' ? 'analyze table ??' : 'analyze ??', [table])
    }
    const resources = [Sheet, Poster].map((model) => new CrudResource({ model, path: model.name.toLowerCase() }))
    ask = clientOf(new Api({ resources }), perms)
    knex.on('query', (query: Sent) => sent.push(query))
  })
  after(() => perms.close())

  const list = async (target: string, token: string | undefined): Promise<{ statement: Sent; body: any }> => {
    sent.length = 0
    const { status, body } = await ask('GET', target, token)
    expect(status, JSON.stringify(body)).to.equal(200)
    const statement = sent.find(({ sql }) => /title/.test(sql))
    if (!statement) throw new Error('The list sent no statement.')
    return { statement, body }
  }

  it('a query with a pattern uses the index of an owner rule', async () => {
    const { statement, body } = await list('/sheet?title__like=%251%25&total=false', tokens[1])
    expect(body.data).not.to.have.length(0)
    expect(await planOf(knex, statement)).to.include('sheet_owner_id_index')
  })

  it('a query with a pattern uses the index of an equality filter', async () => {
    for (const path of ['/sheet', '/poster']) {
      const { statement, body } = await list(`${path}?kind=5&title__like=%251%25&total=false`, tokens[0])
      expect(body.data).not.to.have.length(0)
      expect(await planOf(knex, statement)).to.include(`${path.slice(1)}_kind_index`)
    }
  })

  if (db.dialect === 'mysql')
    it('MariaDB does not evaluate a pattern in an index before it reads the row [promise 63]', async () => {
      for (const [target, token] of [
        ['/sheet?title__gte=title%2005900&sort=title&title__like=%25t%25', tokens[0]],
        ['/poster?isPublic=true&title__gte=title%2005900&sort=title&title__like=%25t%25', tokens[1]],
      ] as const) {
        const { statement, body } = await list(`${target}&total=false`, token)
        expect(body.data).not.to.have.length(0)
        const plan = await planOf(knex, statement)
        expect(plan).to.include('_title_index')
        const conditions = [...plan.matchAll(/"index_condition": "([^"]*)"/g)].map(([, condition]) => condition)
        expect(conditions).not.to.have.length(0)
        for (const condition of conditions) expect(condition).not.to.include('like')
      }
    })

  for (const sort of ['', '&sort=createdAt', '&sort=place', '&sort=-place,createdAt']) {
    it(`a cursor starts in the index of the first key without reading earlier rows${sort && `, with ${sort.slice(1)}`}`, async () => {
      const { body } = await list(`/sheet?pageSize=20&page=150&total=false${sort}`, tokens[0])
      const { statement, body: next } = await list(`/sheet?pageSize=20&total=false${sort}&cursor=${body.pagination.nextCursor}`, tokens[0])
      expect(next.data).to.have.length(20)
      const plan = await planOf(knex, statement)
      expect(plan).to.match(/(created_at|place)_index/)
      if (db.dialect === 'sqlite')
        expect(plan).to.match(/SEARCH sheet USING INDEX sheet_(created_at|place)_index \((created_at|place)[<>]\?\)/)
      else expect(await rowsRead(knex, statement)).to.be.lessThan(100)
    })
  }
})
