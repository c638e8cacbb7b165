import { expect } from 'chai'
import {
  allOf,
  anyOf,
  asAnonymous,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  check,
  column,
  createTables,
  explain,
  HasUserMixin,
  hasMany,
  initPerms,
  not,
  owner,
  type Perms,
  type Policy,
  Role,
  role,
  runAs,
  transaction,
  type User,
  where,
} from '../../src/index.js'
import { runAsActor } from '../../src/policy/context.js'
import { createUser } from '../../src/testing/index.js'
import { toActor } from '../../src/users/caller/actor.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Folder extends HasUserMixin(BasePermsModel).withColumns({ name: column.string() }) {
  static override policy = { read: authenticated(), create: authenticated(), update: owner(), archive: role('editor') }
  static override relationMappings = { posts: hasMany(() => Post, 'folderId') }
}

class Post extends HasUserMixin(BasePermsModel).withColumns({
  title: column.string(),
  status: column.enum(['draft', 'published']).default('draft'),
  secret: column.integer().default(0).hidden(),
  folderId: column.uuid().references('folder.id').nullable(),
}) {
  declare folder?: Folder
  static override policy = {
    read: anyOf(where({ status: 'published' }), owner()),
    create: authenticated(),
    update: allOf(owner(), where({ status: 'draft' })),
    publish: anyOf(role('editor'), allOf(owner(), where({ secret: 1 }))),
    review: allOf(
      authenticated(),
      not(owner()),
      check<Post>((post) => post.title !== 'Bad' && (post.title !== 'Throws' || fail())),
    ),
  }
  static override relationMappings = { folder: belongsTo(() => Folder, 'folderId') }
}

function fail(): never {
  throw new Error('not to be shown')
}

const rowActions = ['read', 'update', 'delete', 'publish', 'review'] as const

eachDatabase('actions of a policy', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  let editor: User
  let admin: User
  before(async () => {
    perms = initPerms({ knex: db.knex, models: [Folder, Post], outsideContext: 'deny' })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Folder, Post])
    await asSystem(async () => {
      ada = await createUser()
      bob = await createUser()
      editor = await createUser({}, { role: 'editor' })
      admin = await createUser({}, { role: Role.ADMIN })
      const folder = await Folder.create({ name: 'All', userId: ada.id })
      for (const title of ['Good', 'Bad', 'Throws'])
        for (const status of ['draft', 'published'] as const)
          for (const secret of [0, 1]) await Post.create({ title, status, secret, userId: ada.id, folderId: folder.id })
    })
  })
  after(() => perms.close())

  const posts = () => asSystem(() => Post.query().orderBy('id'))

  it('need their rule and a readable row, and bypass neither for a key without the ability [promise 191]', async () => {
    const all = await posts()
    const [draft, published] = [all.find((one) => one.status === 'draft'), all.find((one) => one.status === 'published')] as [Post, Post]
    expect(await published.can('publish', editor)).to.equal(true)
    expect(await draft.can('publish', editor), 'not readable').to.equal(false)
    expect(await published.can('publish', bob)).to.equal(false)
    expect(await published.can('publish', null)).to.equal(false)
    expect(await published.can('publish', admin)).to.equal(true)
    expect(await published.can('update', ada)).to.equal(await published.canWrite(ada))
    const withKey = (abilities: string[]) => runAsActor({ ...toActor(editor as never), abilities }, () => published.can('publish'))
    expect(await withKey(['posts:read', 'posts:write'])).to.equal(false)
    expect(await withKey(['posts:read', 'posts:publish'])).to.equal(true)
    expect(await withKey(['posts:*'])).to.equal(true)
  })

  it('are explained, and merged key by key', () => {
    class Memo extends Post {
      static override policy = { ...Post.policy, publish: role('boss') }
    }
    const { words, statement } = explain(Post, 'publish', editor)
    expect(words).to.match(/^publish Post: \(holders of editor or/)
    expect(statement).to.match(/where .*published.*editor/)
    expect(explain(Memo, 'publish', editor).words).to.match(/^publish Memo: holders of boss/)
    expect(explain(Memo, 'review', editor).words).to.include('check()')
  })

  it('with unknown names are refused', async () => {
    const [post] = (await posts()) as [Post]
    for (const run of [
      () => post.can('publsh'),
      () => Post.query().withAllowed('publsh'),
      () => explain(Post, 'publsh', ada),
      () => post.can('constructor'),
    ]) {
      const error = await rejection(asSystem(async () => await run()))
      expect(error).to.include({ code: 'configuration' })
      expect((error as Error).message).to.match(/has no action/)
    }
    expect(String(await rejection(asSystem(() => post.can('publsh'))))).to.include("Did you mean 'publish'?")
    expect(String(await rejection(asSystem(() => post.can('create'))))).to.include('canCreate')
  })

  it('give each row the flags that can() gives, in one statement for 50 rows [promise 81]', async () => {
    const all = await posts()
    for (const caller of [ada, bob, editor, admin, null]) {
      const as = <T>(fn: () => T) => (caller ? runAs(caller, fn) : asAnonymous(fn))
      await as(async () => {
        const seen = new Map((await Post.query().withAllowed(...rowActions)).map((post) => [post.id, post.allowed]))
        for (const post of all) {
          const expected = Object.fromEntries(await Promise.all(rowActions.map(async (action) => [action, await post.can(action)])))
          if (expected['read']) expect(seen.get(post.id), `${caller?.email} ${post.title} ${post.status}`).to.deep.equal(expected)
          else expect(seen.has(post.id)).to.equal(false)
        }
      })
    }
    await asSystem(() =>
      transaction(async () => {
        for (let i = 0; i < 50; i += 1) await Post.create({ title: 'Many', userId: bob.id })
      }),
    )
    await runAs(bob, async () => {
      const { statements } = await countQueries(db.knex, async () => {
        const rows = await Post.query().where({ title: 'Many' }).withAllowed('update', 'delete', 'publish')
        expect(rows.length).to.equal(50)
        expect(new Set(rows.map((row) => JSON.stringify(row.allowed)))).to.deep.equal(
          new Set([JSON.stringify({ update: true, delete: true, publish: false })]),
        )
      })
      expect(statements.length).to.equal(1)
    })
  })

  it('show flags on single rows, pages and related rows, and leave rows as they are for writes [promise 81]', async () => {
    await runAs(ada, async () => {
      const one = await Post.query().findOne({ title: 'Good', status: 'draft' }).withAllowed('update').throwIfNotFound()
      expect(one.allowed).to.deep.equal({ update: true })
      expect(one.toJSON()).to.have.property('allowed')
      expect(Object.keys(one)).not.to.include('allowed')
      await one.update({ title: 'Good' })
      const { results, total } = await Post.query().withAllowed('update').page(0, 2)
      expect(total).to.be.greaterThan(2)
      expect(results.map(({ allowed }) => Object.keys(allowed))).to.deep.equal([['update'], ['update']])
      const [folder] = await Folder.query()
        .withAllowed('archive')
        .withGraphFetched('posts')
        .modifyGraph('posts', (query) => query.withAllowed('update'))
      expect(folder?.allowed).to.deep.equal({ archive: false })
      const related = (folder as unknown as { posts: (Post & { allowed: unknown })[] }).posts
      expect(related.every((post) => typeof (post.allowed as { update: unknown }).update === 'boolean')).to.equal(true)
    })
    expect(await asSystem(() => Post.query().first().withAllowed('publish')))
      .to.have.property('allowed')
      .that.deep.equals({ publish: true })
    const write = await rejection(asSystem(async () => await Post.query().withAllowed('update').patch({ title: 'x' })))
    expect(write).to.include({ code: 'configuration' })
  })
})

describe('a policy with an action', () => {
  const withAction = (name: string) => {
    class Paper extends BasePermsModel.withColumns({ title: column.string() }) {
      static override policy = { read: authenticated(), [name]: owner() } as Policy
    }
    return Paper
  }
  for (const [name, part] of [
    ['udpate', "looks like 'update'"],
    ['Delete', "looks like 'delete'"],
    ['craete', "looks like 'create'"],
    ['reads', "looks like 'read'"],
    ['write', 'stands for several actions'],
    ['mark-paid', 'is not the name of an action'],
    ['a:b', 'is not the name of an action'],
  ] as const) {
    it(`refuses the name '${name}' [promise 191]`, () => {
      const error = thrown(() => withAction(name).columnSpecs)
      expect(error).to.include({ code: 'configuration' })
      expect(String(error)).to.include(part)
    })
  }
})
