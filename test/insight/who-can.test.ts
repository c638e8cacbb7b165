import { expect } from 'chai'
import type { Model } from 'objection'
import { mayAct } from '../../src/enforce/perms-mixin.js'
import { asAnonymous, asSystem, BasePermsModel, check, column, everyone, runAs, UserRole, whoCan } from '../../src/index.js'
import type { Actor } from '../../src/policy/context.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { type AskWorld, askWorld, freshActor } from './world.js'

eachDatabase('whoCan()', (db) => {
  let world: AskWorld
  const actors = new Map<string, Actor | null>()
  before(async function () {
    this.timeout(60_000)
    world = await askWorld(db.knex)
    for (const [name, user] of Object.entries(world.users)) actors.set(name, await freshActor(user))
  })
  after(() => world?.perms.close())

  const named = (found: readonly { email: unknown }[]) => found.map(({ email }) => String(email).split('@')[0]).sort()
  const ask = (action: string, row: unknown) => whoCan(action, row as Model)

  async function each(action: string, row: Model): Promise<unknown[]> {
    const able: unknown[] = []
    for (const [name, actor] of actors) {
      if (actor && (await asSystem(() => mayAct(row, action, actor)))) able.push(name.toLowerCase())
    }
    return able.sort()
  }

  it('[promise 217] names the users for whom can() is true: for each action, rule, scope, bypass and limit', async function () {
    this.timeout(120_000)
    const { posts, note, adminNote, locked, token, users, press, project, Post } = world
    const actions = [
      'read',
      'update',
      'delete',
      ...Object.keys(Post.policy).filter((name) => !['read', 'create', 'update', 'delete'].includes(name)),
    ]
    const grants = await asSystem(() => UserRole.query())
    const plain = [note, adminNote, locked, token, press, project, users.ann, users.admin, users.root, users.eve, ...grants]
    const cases: [string, Model][] = [
      ...Object.values(posts).flatMap((row) => actions.map((action): [string, Model] => [action, row])),
      ...plain.flatMap((row) => ['read', 'update', 'delete'].map((action): [string, Model] => [action, row as never])),
    ]
    let several = 0
    for (const [action, row] of cases) {
      const found = named(await asSystem(() => ask(action, row)))
      const expected = await each(action, row)
      expect(found, `${action} ${row.constructor.name} ${JSON.stringify(row)}`).to.deep.equal(expected)
      if (found.length > 1) several += 1
    }
    expect(several).to.be.greaterThan(40)
  })

  it('[promise 217] is one statement that takes where(), orderBy(), page() and resultSize()', async () => {
    const { draft } = world.posts
    const { result, statements } = await countQueries(db.knex, () => asSystem(() => ask('update', draft)))
    expect(statements).to.have.lengthOf(1)
    expect(result.length).to.equal(await asSystem(() => ask('update', draft).resultSize()))
    const page = await asSystem(() => ask('update', draft).orderBy('email', 'desc').page(1, 2))
    expect(page.total).to.equal(result.length)
    expect(named(page.results)).to.deep.equal(named(result).slice(-4, -2))
    const filtered = await asSystem(() => ask('update', draft).where('email', 'like', 'bob%').orWhere('email', 'like', 'eve%'))
    expect(named(filtered)).to.deep.equal(['bob'])
    expect(named(await asSystem(() => ask('update', draft).alias('u').where('u.email', 'bob@example.com')))).to.deep.equal(['bob'])
  })

  it('[promise 217] never names a user for a deleted row, or a row that does not exist', async () => {
    expect(await asSystem(() => ask('read', world.posts.deleted))).to.deep.equal([])
    const missing = world.Post.fromDatabaseJson({ id: '00000000-0000-4000-8000-000000000000' })
    expect(await asSystem(() => ask('read', missing))).to.deep.equal([])
  })

  it('[promise 81] is refused for a row that the caller may not read as for a missing row, and for callers who may not update it', async () => {
    const { posts, users } = world
    for (const user of [users.eve, users.ann]) {
      const error = await rejection(runAs(user.id, () => ask('update', posts.homeless)))
      expect(error).to.include({ code: 'not_found' })
    }
    expect(await rejection(asAnonymous(() => ask('update', posts.draft)))).to.include({ code: 'not_found' })
    expect(await rejection(runAs(users.bob.id, () => ask('flag', posts.draft)))).to.include({ status: 403 })
    expect(await rejection(runAs(users.ann.id, () => ask('update', posts.archived)))).to.include({ code: 'not_found' })
  })

  it('[promise 81] tells a caller only of users and grants that the caller may read', async () => {
    const { posts, users } = world
    const asBob = named(await runAs(users.bob.id, () => ask('update', posts.draft)))
    // Bob reads the users of press, but not their grants: Ann's membership, which the domain asks for, does not count.
    expect(asBob).to.deep.equal(['bob'])
    const asPressAdmin = named(await runAs(users.pressAdmin.id, () => ask('update', posts.draft)))
    expect(asPressAdmin).to.deep.equal(['ann', 'bob', 'pressadmin'])
    const asAdmin = named(await runAs(users.admin.id, () => ask('update', posts.draft)))
    expect(asAdmin).to.deep.equal(named(await asSystem(() => ask('update', posts.draft))))
  })

  it('[promise 81] answers the same whatever the grants are that the caller may not read', async () => {
    const { posts, users, radio, press } = world
    const answers = async () => {
      const found: unknown[] = []
      for (const action of ['read', 'update', 'delete', 'praise', 'attend', 'publish'])
        for (const row of Object.values(posts))
          found.push(await runAs(users.bob.id, () => ask(action, row)).then(named, (error: { code: string }) => error.code))
      return found
    }
    const before = await answers()
    const more: [typeof users.ann, string, unknown][] = [
      [users.ann, 'admin', null],
      [users.pressAdmin, 'superadmin', null],
      [users.ann, 'editor', press],
      [users.ann, 'chief', radio],
    ]
    const grants = []
    for (const [user, role, domain] of more)
      grants.push(await asSystem(() => UserRole.create({ user, role, ...(domain ? { domain } : {}) } as never)))
    try {
      const changed = await asSystem(() => ask('update', posts.homeless))
      expect(named(changed)).to.include('ann')
      expect(await answers()).to.deep.equal(before)
    } finally {
      for (const grant of grants) await asSystem(() => grant.delete())
    }
  })

  it('[promise 81] refuses callers an answer that depends on columns or related rows that they may not read', async () => {
    const { posts, users } = world
    // Bob may update the post, but may not read its secret or the project.
    for (const action of ['flag', 'mirror', 'feature'])
      expect(await rejection(runAs(users.bob.id, () => ask(action, posts.published))), action).to.include({ status: 403 })
    expect(named(await runAs(users.admin.id, () => ask('flag', posts.published)))).to.include('bob')
  })

  it('[promise 217] refuses rules by code, creation and unknown actions', () => {
    class Coded extends BasePermsModel.withColumns({ title: column.string() }) {
      static override tableName = 'ask_coded'
      static override policy = { read: everyone(), update: check(() => true) }
    }
    const row = Coded.fromDatabaseJson({ id: '00000000-0000-4000-8000-000000000000' })
    expect(() => ask('update', row)).to.throw(/uses check\(\), which has no form in SQL. Ask for each user/)
    expect(() => ask('create', row)).to.throw(/cannot be created/)
    expect(() => ask('pubish', world.posts.draft)).to.throw(/has no action 'pubish'.*publish/)
    expect(() => ask('read', new Coded())).to.throw(/has no id/)
  })
})
