import { expect } from 'chai'
import type { UserLike } from '../../../src/enforce/perms-mixin.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import { BaseModel, column, createTables, type User, whatCan } from '../../../src/index.js'
import { asSystem } from '../../../src/policy/context.js'
import { signInAs } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { type AskWorld, askWorld } from '../../insight/world.js'
import { type Client, clientOf } from '../client.js'

class Plain extends BaseModel.withColumns({ text: column.text() }) {
  static override tableName = 'ask_plain'
}

interface Entry {
  readonly model: string
  readonly action: string
  readonly rows: string
}

eachDatabase('GET me/permissions/', (db) => {
  let world: AskWorld
  let ask: Client
  const tokens = new Map<string, string>()
  const path = '/users/me/permissions/'
  const resourcesOf = ({ Post, Project, Note }: AskWorld) => [
    new UserResource({ features: { apiKeys: true }, name: 'Account' }),
    new CrudResource({ model: Post, methods: { delete: { adminOnly: true } } }),
    new CrudResource({ model: Post, path: 'projects/posts', name: 'ProjectPost' }),
    new CrudResource({ model: Note, skipMethods: ['delete'] }),
    new CrudResource({ model: Project }),
    new CrudResource({ model: Plain }),
  ]
  const names = ['Account', 'Post', 'Note', 'Project']

  before(async () => {
    world = await askWorld(db.knex)
    await createTables(db.knex, [Plain])
    ask = clientOf(new Api({ resources: resourcesOf(world) }), world.perms)
    for (const [name, user] of Object.entries(world.users))
      if (name !== 'gone' && name !== 'off') tokens.set(name, (await signInAs(user as User, { perms: world.perms })).accessToken)
  })
  after(() => world.perms.close())

  const expected = (user: UserLike): Entry[] => {
    const { Person, Post, Note, Project } = world
    const modelNames = new Map([Person, Post, Note, Project].map(({ name }, i) => [name, names[i] as string]))
    return whatCan(user, [Person, Post, Note, Project]).map(({ model, action, rows }) => ({
      model: modelNames.get(model) as string,
      action,
      rows,
    }))
  }

  it('answers what whatCan() answers for the caller, for the models that the API serves, each once [promise 221]', async () => {
    const seen = new Set<string>()
    for (const [name, token] of tokens) {
      const { status, body, headers } = await ask('GET', path, token)
      expect(status, name).to.equal(200)
      expect(headers['cache-control'], name).to.equal('no-store')
      const actor = await world.perms.authenticate(token)
      expect(body, name).to.deep.equal({ data: expected(actor as never) })
      for (const { rows } of body.data as Entry[]) seen.add(rows)
    }
    expect([...seen].sort()).to.deep.equal(['all', 'none', 'some'])
  })

  it('shows neither rules, SQL, columns, ids nor grants [promise 221]', async () => {
    for (const token of tokens.values()) {
      const { body } = await ask('GET', path, token)
      expect(Object.keys(body)).to.deep.equal(['data'])
      for (const entry of body.data as Entry[]) expect(Object.keys(entry)).to.deep.equal(['model', 'action', 'rows'])
      const words = new Set((body.data as Entry[]).flatMap((entry) => Object.values(entry)))
      const actions = ['read', 'create', 'update', 'delete', 'publish', 'feature', 'mirror', 'praise', 'sign', 'flag', 'attend']
      expect([...names, ...actions, 'all', 'none', 'some']).to.include.members([...words])
    }
  })

  it('answers the same whatever the rows of others, their values and their grants are [promise 221]', async () => {
    const before = await ask('GET', path, tokens.get('eve'))
    await asSystem(async () => {
      await world.Post.query().patch({ status: 'published', secret: 'yes', userId: world.users.dan.id })
      await world.users.ann.grantRole('editor')
      await world.Project.query().patch({ isPublic: true })
    })
    expect(await ask('GET', path, tokens.get('eve'))).to.deep.equal(before)
  })

  it('takes no statement besides the one that loads the caller', async () => {
    const { perms } = world
    const { statements } = await countQueries(perms.knex, () => ask('GET', path, tokens.get('bob')))
    expect(statements).to.have.length(1)
  })

  it('is for signed-in callers, who may send no query parameters [promise 221]', async () => {
    expect((await ask('GET', path)).status).to.equal(401)
    expect((await ask('GET', path, 'bad')).status).to.equal(401)
    for (const query of ['?model=Locked', '?user=1', `?userId=${world.users.admin.id}`])
      expect((await ask('GET', `${path}${query}`, tokens.get('bob'))).status, query).to.equal(422)
    for (const method of ['POST', 'PATCH', 'DELETE']) expect((await ask(method, path, tokens.get('bob'))).status, method).to.equal(405)
    await asSystem(() => world.users.cleo.update({ isEnabled: false }))
    expect((await ask('GET', path, tokens.get('cleo'))).status).to.equal(401)
  })

  it('answers an API key with what the key can do [promise 221]', async () => {
    const made = await ask('POST', '/users/api-keys/', tokens.get('admin'), { body: { abilities: ['posts:read'], description: 'CI' } })
    const rowsOf = async (token: string | undefined) =>
      Object.fromEntries(((await ask('GET', path, token)).body.data as Entry[]).map((one) => [`${one.model} ${one.action}`, one.rows]))
    const ofKey = await rowsOf(made.body.key)
    const ofAdmin = await rowsOf(tokens.get('admin'))
    expect(ofAdmin).to.include({ 'Post update': 'some', 'Project read': 'all' })
    expect(ofKey).to.include({ 'Post update': 'none', 'Project read': 'none', 'Project create': 'none', 'Account read': 'none' })
    expect(ofKey['Post read']).to.equal('some')
  })

  it('judges recent() by the session of the request', async () => {
    const rowsOfDelete = async (token: string) =>
      ((await ask('GET', path, token)).body.data as Entry[]).find(({ model, action }) => model === 'Post' && action === 'delete')?.rows
    const { users, perms } = world
    expect(await rowsOfDelete((await signInAs(users.ann, { perms })).accessToken)).to.equal('some')
    const authTime = new Date(Date.now() - 3_600_000)
    expect(await rowsOfDelete((await signInAs(users.ann, { perms, authTime })).accessToken)).to.equal('none')
  })

  it('is off with features: { permissions: false } and with { me: false }', async () => {
    for (const features of [{ permissions: false }, { me: false }]) {
      const off = clientOf(new Api({ resources: [new UserResource({ features, methods: [] })] }), world.perms)
      const status = await off('GET', path, tokens.get('bob')).then(
        (reply) => reply.status,
        () => 404,
      )
      expect(status, JSON.stringify(features)).to.equal(404)
    }
  })

  it('names models that were added to the API after it was mounted', async () => {
    const api = new Api({ resources: [new UserResource()] })
    const later = clientOf(api, world.perms)
    const modelsOf = async () => new Set(((await later('GET', path, tokens.get('bob'))).body.data as Entry[]).map(({ model }) => model))
    expect([...(await modelsOf())]).to.deep.equal(['Person'])
    api.add(new CrudResource({ model: world.Locked }))
    expect([...(await modelsOf())]).to.deep.equal(['Person', 'Locked'])
  })
})
