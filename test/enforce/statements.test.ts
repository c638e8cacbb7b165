import { expect } from 'chai'
import { asAnonymous, explain, type Perms, Role, runAs, Token, type User, UserRole } from '../../src/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { Article, Closed, Comment, Doc, idsFor, insertRows, makeUser, Notice, openWorld, Post, type Rows } from './world.js'

eachDatabase('statements under permissions', (db) => {
  let perms: Perms
  let user: User
  let ids: Rows

  before(async function () {
    this.timeout(60_000)
    perms = await openWorld(db.knex)
    user = await makeUser('ada')
    ids = idsFor(user.id)
    await insertRows(ids, 'mine', null, 5)
  })
  after(() => perms?.close())

  async function sent(run: () => unknown): Promise<string[]> {
    const { statements } = await runAs(user, () => countQueries(db.knex, async () => await run()))
    return statements.map((sql) => (/^\W*(\w+)/.exec(sql)?.[1] ?? '').toLowerCase())
  }

  /** The last statement of the model's that was sent meanwhile, with its values in place. */
  async function written(run: () => PromiseLike<unknown>): Promise<string> {
    const all: string[] = []
    const note = ({ sql, bindings }: { sql: string; bindings?: unknown[] }) =>
      all.push(db.knex.raw(sql.replaceAll(/\$\d+/g, '?'), (bindings ?? []) as never).toString())
    db.knex.on('query', note)
    try {
      await run()
    } finally {
      db.knex.removeListener('query', note)
    }
    return all.filter((sql) => !/^(begin|commit|savepoint|release)/i.test(sql)).at(-1) ?? ''
  }

  const reads: [string, () => unknown][] = [
    ['query()', () => Doc.query()],
    ['findById', () => Doc.query().findById(ids.doc)],
    ['get', () => Doc.get(ids.doc)],
    ['count', () => Doc.query().count()],
    ['resultSize', () => Doc.query().resultSize()],
    ['a joined graph', () => Doc.query().withGraphJoined('[comments, tags, project]')],
    ['a join', () => Doc.query().joinRelated('comments')],
    ['canRead', async () => Doc.fromDatabaseJson({ id: ids.doc }).canRead()],
  ]
  for (const [name, run] of reads) {
    it(`sends one for ${name}`, async () => {
      expect(await sent(run)).to.deep.equal(['select'])
    })
  }

  it('explain() returns the statement that is sent', async () => {
    const admin = await makeUser('admin', [[Role.ADMIN]])
    for (const cls of [Doc, Article, Post, Notice, Closed, UserRole, Token]) {
      for (const caller of [user, admin, null]) {
        const as = (run: () => unknown) => (caller ? runAs(caller, run) : asAnonymous(run))
        const found = await written(() => as(() => (cls as typeof Doc).query()))
        const read = explain(cls, 'read', caller)
        expect(read.statement).to.equal(found)
        if (read.sql === 'true') expect(found).to.not.include(' where ')
        else expect(found.endsWith(` where ${read.sql === 'false' ? '1 = 0' : read.sql}`), `${found} ends with ${read.sql}`).to.equal(true)
        const deleted = explain(cls, 'delete', caller).sql
        if (cls !== Post && cls !== UserRole && deleted !== 'true')
          expect(await written(() => as(() => (cls as typeof Doc).query().delete().where('id', ids.tag)))).to.include(
            deleted === 'false' ? '1 = 0' : deleted,
          )
        const updated = explain(cls, 'update', caller).sql
        const patch = cls === Token ? { description: 'x' } : { title: 'x' }
        if (cls !== UserRole && updated !== 'true')
          expect(await written(() => as(() => (cls as typeof Doc).query().patch(patch).where('id', ids.tag)))).to.include(
            updated === 'false' ? '1 = 0' : updated,
          )
      }
    }
  })

  it('sends two for a page with its total, and one more for each relation fetched', async () => {
    expect(await sent(() => Doc.query().page(0, 5))).to.deep.equal(['select', 'select'])
    expect(await sent(() => Doc.query().withGraphFetched('comments'))).to.deep.equal(['select', 'select'])
  })

  it('sends one for a patch that needs no check afterwards', async () => {
    expect(await sent(() => Doc.query().findById(ids.doc).patch({ title: 'x' }))).to.deep.equal(['update'])
    expect(await sent(() => Doc.fromDatabaseJson({ id: ids.doc }).$query().patch({ title: 'y' }))).to.deep.equal(['update'])
    expect(await sent(() => Doc.query().patch({ rating: 3 }))).to.deep.equal(['update'])
    expect(await sent(() => Doc.query().findById(ids.doc).increment('rating', 1))).to.deep.equal(['update'])
  })

  it('sends one statement for a save with changes, and none for a save without changes', async () => {
    const row = await runAs(user, () => Doc.getOr404(ids.doc))
    row.title = 'z'
    expect(await sent(() => row.save())).to.deep.equal(['update'])
    expect(await sent(() => row.save())).to.deep.equal([])
  })

  it('sends one for an insert, and one for a delete', async () => {
    let made: any
    expect(
      await sent(async () => {
        made = await Doc.create({ title: 'new' })
      }),
    ).to.deep.equal(['insert'])
    expect(await sent(() => Comment.query().insert({ text: 'x' }))).to.deep.equal(['insert'])
    expect(await sent(() => made.delete())).to.deep.equal(['delete'])
    expect(await sent(() => Comment.query().delete().where('text', 'x'))).to.deep.equal(['delete'])
  })

  it('looks a reference up in the transaction of the insert', async () => {
    const statements = await sent(() => Doc.create({ title: 'new', projectId: ids.project }))
    expect(statements.filter((word) => word === 'select' || word === 'insert')).to.deep.equal(['select', 'insert'])
  })
})
