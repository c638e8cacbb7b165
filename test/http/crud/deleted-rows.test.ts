import { expect } from 'chai'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import {
  Api,
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  CrudResource,
  type CrudResourceOptions,
  check,
  column,
  createTables,
  HasUserMixin,
  owner,
  Role,
  recent,
  role,
  runAs,
  SoftDeleteMixin,
  Token,
  User,
  where,
} from '../../../src/index.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases, countQueries } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { type Client, clientOf } from '../client.js'

class Post extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 50 }),
  slug: column.string({ maxLength: 50 }).unique(),
  isPublic: column.boolean().default(true),
  rank: column.integer().nullable(),
  note: column.string().nullable().hidden(),
}) {
  static override policy = {
    read: anyOf(where({ isPublic: true }), owner()),
    create: authenticated(),
    update: owner(),
    delete: owner(),
    restore: anyOf(owner(), role('editor')),
  }
}

/** Restoring follows the delete rule. */
class Draft extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = { read: authenticated(), create: authenticated(), update: authenticated(), delete: owner() }
}

class Contract extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = { read: owner(), create: authenticated(), delete: owner(), restore: allOf(owner(), recent(300)) }
}

class Memo extends SoftDeleteMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = { read: authenticated(), update: authenticated(), restore: role('editor') }
}

let allowed = false
class Judged extends SoftDeleteMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy = { read: authenticated(), update: authenticated(), restore: check(() => allowed) }
}

for (const name of availableDatabases) {
  describe(`Deleted rows over HTTP (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    let ada: Awaited<ReturnType<typeof signInAs>>
    let bob: Awaited<ReturnType<typeof signInAs>>
    let editor: string
    const called: string[] = []
    const statements: string[] = []

    before(async () => {
      zoo = await openZoo(name)
      await createTables(zoo.perms.knex, [Post, Draft, Contract, Memo, Judged])
      ada = await signInAs({})
      bob = await signInAs({})
      editor = (await signInAs({}, { role: 'editor' })).accessToken
      const posts = new CrudResource({
        model: Post,
        deleted: true,
        include: ['user'],
        methods: { list: { public: true } },
        hooks: {
          beforeRestore: (row) => {
            called.push(`before ${row.title} ${row.isDeleted}`)
            if (row.title === 'refused') throw new TypeError('a defect')
          },
          afterRestore: (row) => {
            called.push(`after ${row.title} ${row.isDeleted}`)
          },
        },
      })
      const resources = [
        posts,
        new CrudResource({ model: Draft, deleted: { role: 'editor' } }),
        new CrudResource({ model: Contract, deleted: true }),
        new CrudResource({ model: Post, path: 'own', parent: { model: User, param: 'userId' }, deleted: true, name: 'OwnPost' }),
      ]
      ask = clientOf(new Api({ resources }), zoo.perms)
      zoo.perms.knex.on('query', ({ sql }: { sql: string }) => statements.push(sql))
    })
    after(() => zoo.close())

    let count = 0
    async function deleted(values: Partial<Post> = {}, user = ada.user): Promise<Post> {
      count += 1
      return await asSystem(async () => {
        const post = await Post.create({ title: `post ${count}`, slug: `post-${count}`, userId: user.id, ...values })
        await post.delete()
        return post
      })
    }
    const idsIn = ({ body }: { body: any }) => body.data.map(({ id }: { id: string }) => id)
    const list = async (token: string | null, search = '') => await ask('GET', `/posts/deleted?pageSize=100${search}`, token)

    it('lists deleted rows for those who may read and restore them, and for nobody else [promise 201]', async () => {
      const [mine, hidden, live] = [
        await deleted(),
        await deleted({ isPublic: false }),
        await asSystem(() => Post.create({ title: 'live', slug: 'live', userId: ada.user.id })),
      ]
      expect(idsIn(await list(ada.accessToken)))
        .to.include.members([mine.id, hidden.id])
        .and.not.include(live.id)
      // Editors restore rows, but read the public ones only.
      expect(idsIn(await list(editor)))
        .to.include(mine.id)
        .and.not.include(hidden.id)
      // Everybody could read the public one, were it not deleted.
      expect((await list(bob.accessToken)).body).to.deep.include({ data: [] })
      expect((await list(bob.accessToken)).body.pagination).to.include({ total: 0 })
      expect((await list(null)).status).to.equal(401)
      expect(idsIn(await ask('GET', '/posts?pageSize=100', ada.accessToken))).to.not.include(mine.id)
      const [shown] = (await list(ada.accessToken, `&id=${mine.id}`)).body.data
      expect(shown).to.include({ title: mine.title })
      expect(shown.deletedAt).to.be.a('string')
      expect(shown).to.not.have.property('note')
    })

    it('restores a row: 200, 404 like a missing one for readers who may not restore, and 403 for a row that is not deleted [promise 201]', async () => {
      const post = await deleted({ isPublic: false })
      const open = await deleted()
      for (const [id, token] of [
        [post.id, bob.accessToken],
        [open.id, bob.accessToken],
        [post.id, editor],
      ] as const) {
        const refused = await ask('POST', `/posts/${id}/restore`, token)
        const missing = await ask('POST', '/posts/019aca54-0000-7000-8000-000000000000/restore', token)
        expect(refused.status).to.equal(404)
        expect(refused.body).to.deep.equal(missing.body)
      }
      expect((await ask('POST', `/posts/${post.id}/restore`)).status).to.equal(401)
      expect((await ask('GET', `/posts/${post.id}`, ada.accessToken)).status).to.equal(404)
      const answer = await ask('POST', `/posts/${post.id}/restore`, ada.accessToken)
      expect(answer.status).to.equal(200)
      expect(answer.body).to.include({ id: post.id, deletedAt: null })
      const got = await ask('GET', `/posts/${post.id}`, ada.accessToken)
      expect(got.headers['etag']).to.equal(answer.headers['etag'])
      expect((await ask('POST', `/posts/${open.id}/restore`, editor)).status).to.equal(200)
      // Now everybody reads the public one, and learns that restoring is not for them.
      expect((await ask('POST', `/posts/${open.id}/restore`, bob.accessToken)).status).to.equal(403)
    })

    it('answers a repeated request as the first one, without hooks and without writing', async () => {
      const post = await deleted({ title: 'again' })
      called.length = 0
      expect((await ask('POST', `/posts/${post.id}/restore`, ada.accessToken)).status).to.equal(200)
      expect(called).to.deep.equal(['before again true', 'after again false'])
      statements.length = 0
      const again = await ask('POST', `/posts/${post.id}/restore`, ada.accessToken)
      expect(again.status).to.equal(200)
      expect(again.body.deletedAt).to.equal(null)
      expect(called).to.have.length(2)
      expect(statements.filter((sql) => /^update/i.test(sql))).to.deep.equal([])
    })

    it('rolls back if a hook throws', async () => {
      const post = await deleted({ title: 'refused' })
      expect((await ask('POST', `/posts/${post.id}/restore`, ada.accessToken)).status).to.equal(500)
      expect((await ask('GET', `/posts/${post.id}`, ada.accessToken)).status).to.equal(404)
    })

    it('refuses ids that are none, unknown query keys and a taken value', async () => {
      const post = await deleted()
      for (const id of ['nope', '%00', '1', `${post.id}x`])
        expect((await ask('POST', `/posts/${id}/restore`, ada.accessToken)).status, id).to.equal(404)
      expect((await ask('POST', `/posts/${post.id}/restore?force=1`, ada.accessToken)).status).to.equal(422)
      expect((await ask('GET', '/posts/deleted?note=x', ada.accessToken)).status).to.equal(422)
      expect((await ask('GET', '/posts/deleted?allowed=update', ada.accessToken)).status).to.equal(422)
      expect((await ask('PATCH', '/posts/deleted', ada.accessToken, { body: {} })).status).to.equal(405)
    })

    it('checks If-Match before it restores, with the ETag of the deleted row', async () => {
      const post = await deleted({ title: 'tagged' })
      const stale = { headers: { 'if-match': '"stale"' } }
      expect((await ask('POST', `/posts/${post.id}/restore`, ada.accessToken, stale)).status).to.equal(412)
      const restored = await ask('POST', `/posts/${post.id}/restore`, ada.accessToken, { headers: { 'if-match': '*' } })
      expect(restored.status).to.equal(200)
      const etag = { headers: { 'if-match': restored.headers['etag'] as string } }
      expect((await ask('POST', `/posts/${post.id}/restore`, ada.accessToken, etag)).status).to.equal(200)
    })

    it('filters, sorts, pages, counts and includes relations like a list', async () => {
      const { user, accessToken } = await signInAs({})
      const rows = await Promise.all([3, 1, 2].map((rank) => deleted({ rank, title: `r${rank}` }, user as never)))
      const first = await list(accessToken, '&sort=rank')
      expect(first.body.data.map(({ rank }: Post) => rank)).to.deep.equal([1, 2, 3])
      expect(first.body.pagination).to.include({ total: 3 })
      const page = await ask('GET', '/posts/deleted?sort=-rank&pageSize=2&include=user', accessToken)
      expect(page.body.data.map(({ rank }: Post) => rank)).to.deep.equal([3, 2])
      expect(page.body.data[0].user).to.include({ id: user.id })
      const cursor = page.body.pagination.nextCursor
      const next = await ask('GET', `/posts/deleted?sort=-rank&pageSize=2&cursor=${encodeURIComponent(cursor)}`, accessToken)
      expect(next.body.data.map(({ rank }: Post) => rank)).to.deep.equal([1])
      expect((await ask('GET', `/posts?sort=-rank&pageSize=2&cursor=${encodeURIComponent(cursor)}`, accessToken)).status).to.equal(422)
      expect(idsIn(await list(accessToken, '&title__ilike=R1'))).to.deep.equal([rows[1]?.id])
      expect(idsIn(await list(accessToken, '&deletedAt__lt=2020-01-01'))).to.deep.equal([])
      const beyond = await ask('GET', '/posts/deleted?page=9', accessToken)
      expect(beyond.body).to.deep.include({ data: [] })
      expect(beyond.body.pagination).to.include({ total: 3 })
    })

    it('lists with one statement besides the look-up of the caller', async () => {
      expect((await countQueries(zoo.perms.knex, () => list(ada.accessToken))).statements).to.have.length(2)
    })

    it('serves rows below a parent', async () => {
      const post = await deleted({ title: 'below' })
      const path = `/users/${ada.user.id}/own`
      expect(idsIn(await ask('GET', `${path}/deleted?pageSize=100`, ada.accessToken))).to.include(post.id)
      expect((await ask('GET', `${path}/deleted`, bob.accessToken)).status).to.equal(404)
      const other = await deleted({}, bob.user)
      expect((await ask('POST', `${path}/${other.id}/restore`, ada.accessToken)).status).to.equal(404)
      expect((await ask('POST', `${path}/${post.id}/restore`, ada.accessToken)).status).to.equal(200)
    })

    it('takes the delete rule without a rule of its own, and applies its options besides [promise 201]', async () => {
      const both = await signInAs({}, { role: 'editor' })
      const draft = await asSystem(async () => {
        const made = await Draft.create({ title: 'd', userId: both.user.id })
        await made.delete()
        return made
      })
      expect((await ask('GET', '/drafts/deleted', ada.accessToken)).status).to.equal(403)
      expect((await ask('GET', '/drafts/deleted', editor)).body.data).to.deep.equal([])
      expect((await ask('POST', `/drafts/${draft.id}/restore`, editor)).status).to.equal(404)
      expect(idsIn(await ask('GET', '/drafts/deleted', both.accessToken))).to.deep.equal([draft.id])
      expect((await ask('POST', `/drafts/${draft.id}/restore`, both.accessToken)).status).to.equal(200)
    })

    it('needs the ability of the action from an API key, and the ability to read', async () => {
      const post = await deleted()
      const key = async (...abilities: string[]) => (await asSystem(() => Token.issue(ada.user as never, { kind: 'api', abilities }))).plain
      expect((await list(await key('posts:read'))).status).to.equal(403)
      expect((await list(await key('posts:write', 'posts:read'))).status).to.equal(403)
      const blind = await key('posts:restore')
      expect((await list(blind)).body.code).to.equal('insufficient_ability')
      expect((await ask('POST', `/posts/${post.id}/restore`, blind)).body.code).to.equal('insufficient_ability')
      const both = await key('posts:restore', 'posts:read')
      expect(idsIn(await list(both, `&id=${post.id}`))).to.deep.equal([post.id])
      expect((await ask('POST', `/posts/${post.id}/restore`, both)).status).to.equal(200)
    })

    it('asks for a fresh session where only that is missing', async () => {
      const made = await asSystem(async () => {
        const contract = await Contract.create({ title: 'c', userId: ada.user.id })
        await contract.delete()
        return contract
      })
      await zoo.perms
        .knex('token')
        .where({ user_id: ada.user.id })
        .update({ auth_time: new Date(Date.now() - 3_600_000) })
      const refused = await ask('POST', `/contracts/${made.id}/restore`, ada.accessToken)
      expect(refused.status).to.equal(401)
      expect(refused.body.code).to.equal('insufficient_user_authentication')
      expect((await ask('GET', '/contracts/deleted', ada.accessToken)).body.code).to.equal('insufficient_user_authentication')
      expect((await ask('POST', `/contracts/${made.id}/restore`, bob.accessToken)).status).to.equal(404)
      await zoo.perms.knex('token').where({ user_id: ada.user.id }).update({ auth_time: new Date() })
      expect(idsIn(await ask('GET', '/contracts/deleted', ada.accessToken))).to.deep.equal([made.id])
      expect((await ask('POST', `/contracts/${made.id}/restore`, ada.accessToken)).status).to.equal(200)
    })

    it('lets restore() of the model follow the same rule [promise 202]', async () => {
      const post = await deleted()
      const asEditor = await createUser({}, { role: 'editor' })
      const found = async () => (await Post.withDeleted().findById(post.id)) as Post
      await runAs(bob.user as never, async () => {
        const row = await found()
        expect(await row.can('restore')).to.equal(false)
        expect(await rejection(row.restore())).to.include({ status: 403 })
      })
      await runAs(asEditor as never, async () => {
        const row = await found()
        expect(await row.can('restore')).to.equal(true)
        const [flagged] = await Post.withDeleted().where({ id: post.id }).withAllowed('restore', 'delete')
        expect(flagged?.allowed).to.deep.equal({ restore: true, delete: false })
        await row.restore()
        // Who restores rows may not delete them.
        expect(await rejection(row.delete())).to.include({ status: 403 })
      })
      expect((await asSystem(found)).isDeleted).to.equal(false)
    })

    it('lets an update that sets deletedAt to null follow the rule too [promise 202]', async () => {
      const memo = await asSystem(() => Memo.create({ title: 'm' }))
      const mark = (deletedAt: unknown) =>
        Memo.withDeleted()
          .findById(memo.id)
          .patch({ deletedAt } as object)
      const isDeleted = async () => ((await asSystem(() => Memo.withDeleted().findById(memo.id))) as Memo).isDeleted
      await runAs(bob.user as never, async () => {
        expect(await rejection(mark(Memo.raw('null')))).to.be.instanceOf(Error)
        await mark(new Date())
        expect(await rejection(mark(null))).to.include({ status: 403 })
        expect(await rejection(mark(Memo.raw('null')))).to.be.instanceOf(Error)
      })
      expect(await isDeleted()).to.equal(true)
      const asEditor = await createUser({}, { role: 'editor' })
      await runAs(asEditor as never, () => mark(null))
      expect(await isDeleted()).to.equal(false)
    })

    it('judges a rule with check() in code [promise 202]', async () => {
      const memo = await asSystem(async () => {
        const made = await Judged.create({ title: 'yes' })
        await made.delete()
        return made
      })
      await runAs(bob.user as never, async () => {
        const row = (await Judged.withDeleted().findById(memo.id)) as Judged
        expect(await row.can('restore')).to.equal(false)
        expect(await rejection(row.restore())).to.include({ status: 403 })
        expect(
          await rejection(
            Judged.withDeleted()
              .findById(memo.id)
              .patch({ deletedAt: null } as object),
          ),
        ).to.include({ status: 403 })
        allowed = true
        expect(await row.can('restore')).to.equal(true)
        await row.restore()
        allowed = false
      })
      expect((await asSystem(() => Judged.query().findById(memo.id)))?.title).to.equal('yes')
    })
  })
}

describe('The option deleted', () => {
  let zoo: Zoo
  before(async () => {
    zoo = await openZoo()
  })
  after(() => zoo.close())

  const mount = (options: CrudResourceOptions<any>) => clientOf(new Api({ resources: [new CrudResource(options)] }), zoo.perms)

  it('is refused for models that keep no deleted rows, and for rules that cannot restrict lists', () => {
    class Plain extends BaseModel.withColumns({ name: column.string() }) {}
    class Kept extends BasePermsModel.withColumns({ name: column.string() }) {}
    class Checked extends SoftDeleteMixin(BasePermsModel).withColumns({ name: column.string() }) {
      static override policy = { read: authenticated(), delete: check(() => true) }
    }
    for (const model of [Plain, Kept]) expect(() => mount({ model, deleted: true })).to.throw('needs a model with SoftDeleteMixin')
    expect(() => mount({ model: Checked, deleted: true })).to.throw('static policy = { restore: ... }')
    expect(() => mount({ model: Post, deleted: true, skipMethods: ['list'] })).to.throw("needs the method 'list'")
    expect(() => mount({ model: Post, deleted: { role: 'a' }, methods: { list: { role: 'b' } } })).to.throw("requires the role 'b'")
  })

  it('adds no endpoint without it', () => {
    const routes = new Api({ resources: [new CrudResource({ model: Post })] }).routes(zoo.perms)
    expect(routes.map(({ path }) => path).filter((path) => /deleted|restore/.test(path))).to.deep.equal([])
  })

  it('is described in the OpenAPI document', () => {
    const api = new Api({ resources: [new CrudResource({ model: Post, deleted: true })] })
    const { paths } = openApiDocument(api, zoo.perms)
    const listed = paths['/posts/deleted']?.['get']
    const restored = paths['/posts/{id}/restore']?.['post']
    expect(listed?.operationId).to.equal('listDeletedPost')
    expect(restored?.operationId).to.equal('restorePost')
    const names = listed?.parameters.map((parameter) => (parameter as { name: string }).name)
    expect(names).to.include.members(['page', 'cursor', 'sort', 'deletedAt__gt']).and.not.include('allowed')
    expect(Object.keys(restored?.responses ?? {})).to.include.members(['200', '401', '403', '404', '409', '412'])
    expect(restored).to.not.have.property('requestBody')
  })

  it('keeps the requirements of list', () => {
    const resource = new CrudResource({ model: Post, deleted: { role: 'editor' }, methods: { list: { adminOnly: true } } })
    const options = new Api({ resources: [resource] }).routes(zoo.perms).filter(({ path }) => /deleted|restore/.test(path))
    for (const { endpoint } of options) expect(endpoint.options).to.include({ adminOnly: true, role: 'editor' })
    expect(Role.ADMIN).to.equal('admin')
  })
})
