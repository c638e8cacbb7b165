import { expect } from 'chai'
import { Model, raw } from 'objection'
import {
  authenticated,
  BasePermsModel,
  column,
  createTables,
  everyone,
  ForbiddenError,
  HasUserMixin,
  hasMany,
  initPerms,
  MissingReferenceError,
  NotFoundError,
  owner,
  type Perms,
  runAs,
  User,
  UserOwnershipMixin,
  ValidationError,
} from '../../src/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const linked = (modelClass: typeof Model, own: string, other: string) => ({
  relation: Model.ManyToManyRelation,
  modelClass,
  join: {
    from: `link_${own}.id`,
    through: { from: `link.${own}_id`, to: `link.${other}_id`, extra: { mark: 'note' } },
    to: `link_${other}.id`,
  },
})

/** Only its owner may read it. */
class LinkDoc extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
  declare topics?: LinkTopic[]
  static override relationMappings(): any {
    return {
      topics: linked(LinkTopic, 'doc', 'topic'),
      pages: hasMany(() => LinkPage, 'docId'),
    }
  }
}

class LinkPage extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  text: column.string(),
  docId: column.uuid().references('link_doc.id').nullable(),
}) {}

/** Every caller may read it. */
class LinkTopic extends HasUserMixin(BasePermsModel).withColumns({ name: column.string() }) {
  /** An extra column of the join table. */
  declare mark?: string
  static override policy = { read: everyone(), create: authenticated(), update: owner(), delete: owner() }
  static override relationMappings(): any {
    return {
      docs: linked(LinkDoc, 'topic', 'doc'),
    }
  }
}

const [Doc, Topic, Page] = [LinkDoc, LinkTopic, LinkPage] as const

eachDatabase('Links of many-to-many relations', (db) => {
  let perms: Perms
  let [me, other]: User[] = []
  let [mine, second, theirs]: any[] = []
  let [topics, page]: any[] = []

  before(async () => {
    perms = initPerms({ knex: db.knex, models: [LinkDoc, LinkTopic, LinkPage] })
    await createTables(db.knex, [User, LinkDoc, LinkTopic, LinkPage])
    await migrateAtOnce(perms)
    await db.knex.schema.createTable('link', (table) => {
      table.uuid('doc_id').notNullable()
      table.uuid('topic_id').notNullable()
      table.string('note')
      table.primary(['doc_id', 'topic_id'])
    })
    ;[me, other] = [await User.create({ email: 'me@example.com' }), await User.create({ email: 'other@example.com' })]
    mine = await Doc.create({ title: 'mine', userId: me.id })
    second = await Doc.create({ title: 'second', userId: me.id })
    theirs = await Doc.create({ title: 'theirs', userId: other.id })
    page = await Page.create({ text: 'one', userId: me.id })
    topics = []
    for (const name of ['a', 'b', 'c']) topics.push(await Topic.create({ name, userId: other.id }))
  })
  after(() => perms?.close())

  beforeEach(async () => {
    await db.knex('link').delete()
    const link = (doc: LinkDoc, topic: LinkTopic, note: string) => ({ doc_id: doc.id, topic_id: topic.id, note })
    for (const row of [
      link(mine, topics[0], 'm0'),
      link(mine, topics[1], 'm1'),
      link(theirs, topics[0], 't0'),
      link(theirs, topics[2], 't2'),
    ])
      await db.knex('link').insert(row)
  })

  const notes = async () => ((await db.knex('link').orderBy('note')) as { note: string }[]).map(({ note }) => note)
  const asMe = <T>(fn: () => T) => runAs(me as User, fn)

  it('[promise 32] are shown only to callers who may read both rows', async () => {
    const seen = await asMe(async () => [
      await Doc.relatedQuery('topics').for(theirs.id),
      await Doc.fromDatabaseJson({ id: theirs.id }).$relatedQuery('topics'),
      (await Doc.fetchGraph([Doc.fromDatabaseJson({ id: theirs.id })], 'topics'))[0]?.topics,
      await Topic.query().joinRelated('docs').select('docs_join.note').where('docs_join.note', 'like', 't%'),
    ])
    expect(seen).to.deep.equal([[], [], [], []])
    const left = await asMe(() => Topic.query().leftJoinRelated('docs').select('name', 'docs_join.docId', 'docs_join.note').orderBy('name'))
    expect(left.map(({ docId, note }: any) => [docId, note])).to.deep.equal([
      [mine.id, 'm0'],
      [mine.id, 'm1'],
      [null, null],
    ])
    const count = Topic.query().leftJoinRelated('docs').count('docs_join.docId as n').first()
    expect(Number(((await asMe(() => count)) as { n?: unknown } | undefined)?.n)).to.equal(2)
    expect(await asMe(() => Doc.relatedQuery('topics').for(mine.id).orderBy('name'))).to.have.length(2)
    expect(await Doc.relatedQuery('topics').for(theirs.id), 'without a caller').to.have.length(2)
    expect(await Doc.bypassPerms(() => Doc.relatedQuery('topics').for(theirs.id))).to.have.length(2)
  })

  it('[promise 33] are removed by unrelate() only where its conditions match', async () => {
    const unlink = () => mine.$relatedQuery('topics').unrelate()
    expect(await asMe(() => unlink().where('name', 'b'))).to.equal(1)
    expect(await notes()).to.deep.equal(['m0', 't0', 't2'])
    expect(await asMe(() => unlink().whereIn('link_topic.id', [topics[2].id]))).to.equal(0)
    expect(await asMe(() => unlink().where('link.note', 'm0'))).to.equal(1)
    expect(await notes()).to.deep.equal(['t0', 't2'])
  })

  it('get their extra columns from insert(), relate() and graphs', async () => {
    await asMe(async () => {
      await mine.$relatedQuery('topics').insert({ name: 'new', mark: 'inserted' })
      await mine.$relatedQuery('topics').relate({ id: topics[2].id, mark: 'related' })
      await mine.$relatedQuery('topics').insertGraph([{ name: 'graph of one', mark: 'root' }])
      const { topics: made = [] } = await Doc.query().insertGraph({ title: 'graph', topics: [{ name: 'deep', mark: 'graph' }] })
      expect(made[0]).to.include({ name: 'deep', mark: 'graph' })
      await made[0]?.$query().delete()
    })
    expect(await notes()).to.deep.equal(['graph', 'inserted', 'm0', 'm1', 'related', 'root', 't0', 't2'])
    const error = await rejection(asMe(() => Topic.query().insert({ name: 'x', mark: 'none' })))
    expect(error).to.be.instanceOf(ValidationError).with.property('message', 'mark is not known here')
  })

  it('[promise 33] have extra columns that a caller may change if they may update the owner, even if not the related row', async () => {
    const before = await Topic.query().findById(topics[0].id)
    await asMe(async () => {
      await mine.$relatedQuery('topics').patch({ mark: 'patched' }).where('name', 'a')
      await mine
        .$relatedQuery('topics')
        .findById(topics[1].id)
        .patch({ mark: raw("'by id'") })
    })
    expect(await notes()).to.deep.equal(['by id', 'patched', 't0', 't2'])
    await asMe(() => Doc.query().upsertGraph({ id: mine.id, topics: [{ id: topics[0].id, mark: 'upserted' }, { id: topics[1].id }] }))
    expect(await notes()).to.deep.equal(['by id', 't0', 't2', 'upserted'])
    expect((await Topic.query().findById(topics[0].id))?.updatedAt).to.deep.equal(before?.updatedAt)
    await asMe(() => Doc.relatedQuery('topics').for(theirs.id).patch({ mark: 'hacked' }))
    await asMe(() => Topic.relatedQuery('docs').for(topics[0].id).patch({ mark: 'hacked' })).catch(() => {})
    expect(await notes())
      .to.include('t0')
      .and.to.not.include('hacked')
  })

  it('[promise 34] cannot be moved to another owner by a change of extra columns', async () => {
    const elsewhere = (built: any) => {
      if (built._method === 'update') Object.assign(built._single.update, { doc_id: theirs.id })
    }
    const move = () =>
      mine
        .$relatedQuery('topics')
        .patch({ mark: 'x' })
        .context({ onBuild: (query: any) => query.onBuildKnex(elsewhere) })
    expect(await rejection(asMe(move))).to.be.instanceOf(ForbiddenError)
    expect(await db.knex('link').where({ doc_id: theirs.id })).to.have.length(2)
  })

  it('can be added by relate() and insert() with a query as the owner', async () => {
    const one = () => Doc.query().where('title', 'second')
    await asMe(async () => {
      expect(await Doc.relatedQuery('topics').for(one()).relate(topics[2].id)).to.equal(1)
      expect(await Doc.relatedQuery('pages').for(one()).relate(page.id)).to.equal(1)
      expect(
        (
          (await Doc.relatedQuery('pages')
            .for(one())
            .insert({ text: 'two' } as never)) as unknown as LinkPage
        ).docId,
      ).to.equal(second.id)
      expect(await Doc.relatedQuery('pages').for(second.id)).to.have.length(2)
      const none = rejection(Doc.relatedQuery('topics').for(Doc.query().findById(theirs.id)).relate(topics[1].id))
      expect(await none).to.be.instanceOf(NotFoundError)
      const many = rejection(
        Doc.relatedQuery('topics')
          .for(Doc.query().where('title', '<>', 'x'))
          .relate(topics[1].id),
      )
      expect((await many).message).to.equal('The query for doc_id returns several rows. Narrow it to one row.')
      await page.$query().patch({ docId: Doc.query().select('id').where('title', 'mine') })
      expect((await Page.query().findById(page.id))?.docId).to.equal(mine.id)
      expect(await rejection(page.$query().patch({ docId: raw('?', [theirs.id]) }))).to.be.instanceOf(ForbiddenError)
    })
    expect(await db.knex('link').where({ doc_id: second.id })).to.have.length(1)
    const hidden = () => page.$query().patch({ docId: db.knex('link_doc').select('id').where('title', 'theirs') })
    expect(await rejection(asMe(hidden))).to.satisfy((e: unknown) => e instanceof ForbiddenError || e instanceof MissingReferenceError)
  })
})
