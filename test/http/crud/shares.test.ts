import { expect } from 'chai'
import fc from 'fast-check'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import {
  Api,
  allOf,
  anyOf,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  member,
  owner,
  type Policy,
  type RowShare,
  recent,
  ShareableMixin,
  shared,
  Token,
  User,
  UserOwnershipMixin,
} from '../../../src/index.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { availableDatabases, countQueries } from '../../helpers/databases.js'
import { generatedCases } from '../../helpers/repetitions.js'
import { type Client, clientOf } from '../client.js'

class Recipe extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override shareRelations = ['viewer', 'editor', 'manager']
  static override policy: Policy<Recipe> = {
    read: anyOf(owner(), shared('viewer')),
    update: anyOf(owner(), shared('editor')),
    delete: owner(),
    share: anyOf(owner(), shared('editor')),
  }
}

/** Only members of the domain see its rows, whatever is shared. */
class Minute extends ShareableMixin(HasDomainMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 50 }) }) {
  static override policy: Policy<Minute> = {
    read: shared('viewer'),
    create: member(),
    update: shared('editor'),
    share: allOf(shared('editor'), recent(300)),
  }
}

for (const name of availableDatabases) {
  describe(`Shares over HTTP (${name})`, function () {
    this.timeout(30_000)
    let zoo: Zoo
    let ask: Client
    let api: Api
    let ada: Awaited<ReturnType<typeof signInAs>>
    let bob: Awaited<ReturnType<typeof signInAs>>
    let eve: Awaited<ReturnType<typeof signInAs>>
    let press: Domain
    before(async () => {
      zoo = await openZoo(name)
      await createTables(zoo.perms.knex, [Recipe, Minute])
      press = await asSystem(async () => await Domain.create({ name: 'press-http', displayName: 'Press' }))
      ada = await signInAs({}, { role: 'author', domain: press })
      bob = await signInAs({}, { role: 'author', domain: press })
      eve = await signInAs({})
      const resources = [
        new CrudResource({ model: Recipe, shares: true, pageSize: 2 }),
        new CrudResource({ model: Minute, shares: { role: 'clerk' } }),
      ]
      api = new Api({ resources })
      ask = clientOf(api, zoo.perms)
    })
    after(() => zoo.close())
    let path: string
    let recipe: Recipe
    beforeEach(async () => {
      recipe = await asSystem(async () => await Recipe.create({ title: 'Soup', userId: ada.user.id }))
      path = `/recipes/${recipe.id}/shares/`
    })

    const share = (userId: string, relation = 'viewer') => asSystem(async () => await recipe.share({ userId }, relation))

    it('[promise 244] shares a row, lists its shares and ends one', async () => {
      const body = { role: 'author', domainId: press.id, relation: 'viewer' }
      const made = await ask('POST', path, ada.accessToken, { body })
      expect(made.status, JSON.stringify(made.body)).to.equal(201)
      expect(made.body).to.include({ ...body, userId: null, expiresAt: null, sharedById: ada.user.id })
      expect(made.body).not.to.have.any.keys('subjectKey', 'rowTable', 'rowId')
      expect((await ask('GET', `/recipes/${recipe.id}`, bob.accessToken)).status).to.equal(200)
      const again = await ask('POST', path, ada.accessToken, { body: { ...body, relation: 'editor', expiresAt: '2999-01-01T00:00:00Z' } })
      expect([again.status, again.body.id, again.body.expiresAt]).to.deep.equal([201, made.body.id, '2999-01-01T00:00:00.000Z'])
      const listed = await ask('GET', path, ada.accessToken)
      expect(listed.body).to.deep.equal({
        data: [again.body],
        pagination: { page: 1, pageSize: 2, total: 1, totalPages: 1, nextCursor: null },
      })
      expect((await ask('DELETE', `${path}?role=author&domainId=${press.id}`, ada.accessToken)).status).to.equal(204)
      expect((await ask('DELETE', `${path}?role=author&domainId=${press.id}`, ada.accessToken)).status).to.equal(404)
      expect((await ask('GET', `/recipes/${recipe.id}`, bob.accessToken)).status).to.equal(404)
    })

    it('[promise 244] pages, filters and sorts the list', async () => {
      for (let i = 0; i < 3; i += 1) await share((await createUser()).id, i === 2 ? 'editor' : 'viewer')
      const first = await ask('GET', `${path}?sort=relation`, ada.accessToken)
      expect(first.body.data.map((one: RowShare) => one.relation)).to.deep.equal(['editor', 'viewer'])
      expect(first.body.pagination.total).to.equal(3)
      const next = await ask('GET', `${path}?sort=relation&cursor=${encodeURIComponent(first.body.pagination.nextCursor)}`, ada.accessToken)
      expect(next.body.data).to.have.lengthOf(1)
      expect((await ask('GET', `${path}?relation=editor&fields=userId`, ada.accessToken)).body.data).to.have.lengthOf(1)
      for (const query of ['?subjectKey=x', '?rowId=x', '?sort=subjectKey', '?include=user', '?fields=rowId'])
        expect((await ask('GET', path + query, ada.accessToken)).status, query).to.equal(422)
    })

    it('[promise 244] refuses callers in the order 401, 404, 403, 422', async () => {
      await share(bob.user.id)
      const bad = { body: { relation: 'nothing' } }
      for (const [method, more] of [
        ['GET', {}],
        ['POST', bad],
        ['DELETE', {}],
      ] as const) {
        expect((await ask(method, path, null, more)).status, `${method} anonymous`).to.equal(401)
        expect((await ask(method, path, eve.accessToken, more)).status, `${method} stranger`).to.equal(404)
        expect((await ask(method, path, bob.accessToken, more)).status, `${method} viewer`).to.equal(403)
      }
      expect((await ask('POST', path, ada.accessToken, bad)).status).to.equal(422)
      expect((await ask('DELETE', path, ada.accessToken)).status).to.equal(422)
      expect((await ask('DELETE', `${path}?userId=${bob.user.id}`, bob.accessToken)).status).to.equal(204)
      expect((await ask('GET', `/recipes/${recipe.id}`, bob.accessToken)).status).to.equal(404)
    })

    it('[promise 244] answers alike for unknown users and users whom the caller may not read', async () => {
      const missing = (await createUser()).id
      await asSystem(async () => await User.query().deleteById(missing))
      const post = (userId: unknown) => ask('POST', path, ada.accessToken, { body: { userId, relation: 'viewer' } })
      const [known, unknown] = [await post(bob.user.id), await post(missing)]
      expect(known.status).to.equal(422)
      expect(known.body).to.deep.equal(unknown.body)
      const first = await countQueries(zoo.perms.knex, () => post(bob.user.id))
      const second = await countQueries(zoo.perms.knex, () => post(missing))
      expect(first.statements).to.deep.equal(second.statements)
      const ended = (userId: string) => ask('DELETE', `${path}?userId=${userId}`, ada.accessToken)
      expect((await ended(bob.user.id)).body).to.deep.equal((await ended(missing)).body)
    })

    it('[promise 244] shares with users whom the caller may read', async () => {
      const made = await ask('POST', path, ada.accessToken, { body: { userId: ada.user.id, relation: 'manager' } })
      expect([made.status, made.body.userId]).to.deep.equal([201, ada.user.id])
      const root = await signInAs({}, { role: 'admin' })
      const byAdmin = await ask('POST', path, root.accessToken, { body: { userId: bob.user.id, relation: 'editor' } })
      expect([byAdmin.status, byAdmin.body.userId, byAdmin.body.sharedById]).to.deep.equal([201, bob.user.id, root.user.id])
      expect((await ask('PATCH', `/recipes/${recipe.id}`, bob.accessToken, { body: { title: 'Stew' } })).status).to.equal(200)
    })

    it('[promise 244] names each wrong field of a body', async () => {
      const cases: readonly [unknown, string][] = [
        [{ relation: 'viewer' }, 'userId'],
        [{ role: 'author' }, 'relation'],
        [{ role: 'author', relation: 'owner' }, 'relation'],
        [{ role: 'author', relation: 'viewer', expiresAt: 'soon' }, 'expiresAt'],
        [{ role: 'author', relation: 'viewer', expiresAt: '2001-01-01T00:00:00Z' }, 'expiresAt'],
        [{ role: 'author', relation: 'viewer', until: 1 }, 'until'],
        [{ role: 'a\u0000b', relation: 'viewer' }, 'role'],
        [{ role: 'x'.repeat(101), relation: 'viewer' }, 'role'],
        [{ role: ['author'], relation: 'viewer' }, 'role'],
        [{ userId: { a: 1 }, relation: 'viewer' }, 'userId'],
        [{ userId: ada.user.id, role: 'author', relation: 'viewer' }, 'userId'],
        [{ domainId: 'nowhere', relation: 'viewer' }, 'domainId'],
      ]
      for (const [body, field] of cases) {
        const reply = await ask('POST', path, ada.accessToken, { body })
        expect(reply.status, JSON.stringify(body)).to.equal(422)
        expect(
          reply.body.errors.map((one: { field: string }) => one.field),
          JSON.stringify(body),
        ).to.deep.equal([field])
      }
      for (const body of [[], 'text', null]) expect((await ask('POST', path, ada.accessToken, { body })).status).to.be.oneOf([400, 422])
    })

    it('[promise 244] answers random bodies and queries without an internal error, and stores nothing of a refused one', async () => {
      const values = fc.oneof(
        fc.constantFrom(null, '', 'author', 'viewer', bob.user.id, press.id, '2999-01-01T00:00:00Z', '\u0000', '\ud800', 0, -1, 1e30, true),
        fc.jsonValue(),
        fc.string(),
      )
      const keys = fc.constantFrom('userId', 'role', 'domainId', 'relation', 'expiresAt', 'id', 'subjectKey', '__proto__')
      const bodies = fc.oneof(fc.dictionary(keys, values, { maxKeys: 5 }), fc.jsonValue())
      await fc.assert(
        fc.asyncProperty(bodies, fc.dictionary(keys, fc.string(), { maxKeys: 3 }), async (body, query) => {
          const rows = async () => Number((await zoo.perms.knex('row_share').where('row_id', recipe.id)).length)
          const earlier = await rows()
          const posted = await ask('POST', path, ada.accessToken, { body })
          expect([201, 400, 403, 422], JSON.stringify([posted.status, posted.body])).to.include(posted.status)
          if (posted.status !== 201) expect(await rows()).to.equal(earlier)
          const text = `${path}?${new URLSearchParams(query)}`
          expect([204, 404, 422]).to.include((await ask('DELETE', text, ada.accessToken)).status)
          expect([200, 422]).to.include((await ask('GET', text, ada.accessToken)).status)
        }),
        { numRuns: generatedCases(300, 'FUZZ_RUNS') },
      )
    })

    it('[promise 244] lets API keys share only with the ability of the action share', async () => {
      const keyWith = async (abilities: string[]) =>
        (await asSystem(() => Token.issue(ada.user, { kind: 'api', abilities, description: 'test' }))).plain
      const body = { role: 'author', relation: 'viewer' }
      expect((await ask('POST', path, await keyWith(['recipes:read', 'recipes:write']), { body })).status).to.equal(403)
      expect((await ask('POST', path, await keyWith(['recipes:read', 'recipes:share']), { body })).status).to.equal(201)
      expect(await ask('GET', path, await keyWith(['recipes:read']))).to.include({ status: 403 })
    })

    it('[promise 244] keeps the rows of a domain to its members, and asks for a fresh session where the rule does', async () => {
      const clerk = await signInAs({}, { role: 'clerk' })
      await asSystem(() => clerk.user.grantRole('author', { domain: press }))
      const minute = await asSystem(async () => await Minute.create({ title: 'May', domainId: press.id }))
      await asSystem(async () => {
        await minute.share(clerk.user, 'editor')
        await minute.share(eve.user, 'editor')
      })
      const at = `/minutes/${minute.id}`
      expect((await ask('GET', at, eve.accessToken)).status).to.equal(404)
      expect((await ask('GET', at, clerk.accessToken)).status).to.equal(200)
      expect((await ask('GET', `${at}/shares/`, clerk.accessToken)).status).to.equal(200)
      const old = await signInAs({}, { role: 'clerk', authTime: new Date(0) })
      await asSystem(() => old.user.grantRole('author', { domain: press }))
      await asSystem(() => minute.share(old.user, 'editor'))
      const refused = await ask('GET', `${at}/shares/`, old.accessToken)
      expect([refused.status, refused.body.code]).to.deep.equal([401, 'insufficient_user_authentication'])
      const posted = await ask('POST', `${at}/shares/`, old.accessToken, { body: { role: 'author', relation: 'viewer' } })
      expect(posted.status).to.equal(401)
    })

    it('[promise 244] is described in the OpenAPI document', () => {
      const document = openApiDocument(api, zoo.perms, { title: 'T', version: '1' } as never)
      const { get, post, delete: remove } = document.paths['/recipes/{id}/shares'] as Record<string, any>
      expect([get.operationId, post.operationId, remove.operationId]).to.deep.equal(['listRecipeShares', 'shareRecipe', 'unshareRecipe'])
      expect(JSON.stringify(get.responses['200'])).to.contain('ListRecipeSharesOutputList')
      expect(remove.parameters.map((one: { name: string }) => one.name)).to.deep.equal(['id', 'userId', 'role', 'domainId'])
    })

    it('[promise 244] is refused for models that cannot be shared', () => {
      class Plain extends UserOwnershipMixin(BasePermsModel).withColumns({ title: column.string() }) {}
      expect(() => clientOf(new Api({ resources: [new CrudResource({ model: Plain, shares: true })] }), zoo.perms)).to.throw(
        /ShareableMixin/,
      )
    })
  })
}
