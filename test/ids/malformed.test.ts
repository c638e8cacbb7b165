import { randomUUID } from 'node:crypto'
import { expect } from 'chai'
import { openApiDocument } from '../../src/http/openapi/document.js'
import { asSystem, Domain, Role, type User } from '../../src/index.js'
import { eachServedId, openServed, type ServedIds, type ServedWorld, servedIds } from './served-world.js'

interface Target {
  readonly method: string
  /** A path such as /notes/{id}/done. */
  readonly path: string
  readonly params: readonly string[]
}

const libraryParams = ['deviceId', 'domainId', 'identityId', 'passkeyId', 'grantId', 'invitationId', 'keyId', 'sessionId']
const uuids = servedIds.find(({ type }) => type === 'uuid') as ServedIds
const isFull = process.env['FULL'] === '1'

eachServedId('A malformed id', (db, ids) => {
  let world: ServedWorld
  let root: User
  let token: string
  let targets: readonly Target[]
  /** The id of an existing row for each parameter that is not the id of a note, a project or a user. */
  let known: Record<string, string>

  before(async () => {
    world = await openServed(db.knex, ids)
    root = await world.user('root@example.com')
    await asSystem(() => root.grantRole(Role.SUPERADMIN))
    token = await world.signIn(root)
    const project = await world.expectReply(201, 'POST', '/projects', token, world.values({ title: 'a project' }))
    const projectId = String(world.idOf(project))
    const note = await world.expectReply(201, 'POST', '/notes', token, world.values({ title: 'a note', projectId: world.idOf(project) }))
    // The library's rows have UUIDs whatever the ids of the application are.
    const press = await asSystem(() => Domain.create({ name: 'press' }))
    const grant = await asSystem(() => root.grantRole('editor', { domain: press }))
    const { id: keyId } = await world.expectReply(201, 'POST', '/users/api-keys', token, { abilities: ['*'] })
    const [session] = (await world.expectReply(200, 'GET', '/users/sessions', token)).data
    known = { id: String(world.idOf(note)), projectId, userId: String(root.id) }
    const { id: invitationId } = await world.expectReply(201, 'POST', '/users/invitations', token, {
      email: 'new@example.com',
      role: 'editor',
      domain: 'press',
    })
    known = { ...known, invitationId, domainId: `id:${press.id}`, grantId: grant.id, keyId, sessionId: session.id, provider: 'query' }
    for (const name of ['passkeyId', 'identityId', 'deviceId']) known[name] = randomUUID()
    targets = Object.entries(openApiDocument(world.api, world.perms).paths).flatMap(([path, methods]) => {
      const params = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name as string)
      return Object.keys(methods).flatMap((method) => (params.length > 0 ? [{ method: method.toUpperCase(), path, params }] : []))
    })
  })
  after(() => world?.perms.close())

  // The other parameters identify existing rows.
  const fill = ({ path }: Target, param: string, text: string) =>
    path.replace(/\{(\w+)\}/g, (_, name: string) => encodeURIComponent(name === param ? text : (idAt(path, name) as string)))
  const idAt = (path: string, name: string) => {
    if (name !== 'id') return known[name]
    return path.startsWith('/users/') ? known['userId'] : path.startsWith('/projects/{id}') ? known['projectId'] : known['id']
  }

  it('in any path parameter of any endpoint is 404, whatever the method and the body are [promise 75]', async function () {
    this.timeout(60_000)
    expect(targets.length).to.be.greaterThan(20)
    const wrong: string[] = []
    let n = 0
    for (const target of targets) {
      // The name of a provider is no id.
      for (const param of target.params.filter((name) => name !== 'provider')) {
        const own = idAt(target.path, param) as string
        expect(own, `an id for ${param} of ${target.path}`).to.be.a('string')
        const { malformed } = libraryParams.includes(param) ? uuids : ids
        const texts = malformed(own).filter((text) => text !== own)
        for (const [i, text] of texts.entries()) {
          n += 1
          if (!isFull && n % 5 !== 0) continue
          // A body that is not valid is reported after the row that does not exist.
          const body = target.method === 'GET' || target.method === 'DELETE' ? {} : { body: i % 2 === 0 ? {} : { role: 'x' } }
          const path = fill(target, param, text)
          const { status } = await world.client(target.method, path, token, body)
          if (status !== 404) wrong.push(`${status} ${target.method} ${target.path} ${param}=${JSON.stringify(text).slice(0, 60)}`)
        }
      }
    }
    expect(wrong).to.deep.equal([])
  })

  it('with broken percent-encoding is 400 or 404', async () => {
    for (const target of targets) {
      for (const segment of ['%', '%zz', '%ff', '%c3', '%00%ff']) {
        const path = target.path.replace(/\{\w+\}/g, segment)
        const { status } = await world.client(target.method, path, token, target.method === 'GET' ? {} : { body: {} })
        expect(status, `${target.method} ${path}`).to.be.oneOf([400, 404])
      }
    }
  })

  it('leaves the row in place, and its own spelling finds it', async () => {
    await world.expectReply(200, 'GET', `/notes/${encodeURIComponent(known['id'] as string)}`, token)
    await world.expectReply(200, 'GET', `/projects/${encodeURIComponent(known['projectId'] as string)}`, token)
    await world.expectReply(204, 'POST', `/notes/${encodeURIComponent(known['id'] as string)}/done`, token)
    await world.expectReply(200, 'GET', `/projects/${encodeURIComponent(known['projectId'] as string)}/below`, token)
    await world.expectReply(200, 'GET', `/users/${encodeURIComponent(known['userId'] as string)}/owned`, token)
  })
})
