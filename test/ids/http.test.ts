import { Ajv2020 } from 'ajv/dist/2020.js'
import { expect } from 'chai'
import { openApiDocument } from '../../src/http/openapi/document.js'
import type { User } from '../../src/index.js'
import { eachServedId, type Id, openServed, type ServedWorld } from './served-world.js'

type Row = Record<string, any>

/** The parts of an OpenAPI document that these tests read. */
interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<string, Operation>>>>>
  readonly components: {
    readonly schemas: Readonly<Record<string, Schema>>
    readonly parameters: Readonly<Record<string, Parameter>>
  }
}
interface Operation {
  readonly parameters?: readonly Parameter[]
  readonly requestBody?: { readonly content: Content }
  readonly responses: Readonly<Record<string, { readonly content: Content }>>
}
type Content = Readonly<Record<string, { readonly schema: Schema; readonly example?: Readonly<Record<string, unknown>> }>>
interface Named {
  readonly $ref?: string
}
interface Schema extends Named {
  readonly type?: string | readonly string[]
  readonly format?: string
  readonly properties?: Readonly<Record<string, Schema>>
}
interface Parameter extends Named {
  readonly in?: string
  readonly schema?: Schema
  readonly example?: unknown
}

eachServedId('Over HTTP', (db, ids) => {
  let world: ServedWorld
  let ada: User
  let tokens: { ada: string; bob: string }
  let project: Row
  /** Six notes of two ranks, in the order in which they were created. */
  const notes: Row[] = []
  let reply: (status: number, method: string, target: string, body?: unknown) => Promise<any>
  const segment = (row: Row) => encodeURIComponent(String(world.idOf(row)))
  const idsOf = (rows: readonly object[]) => rows.map((row) => world.idOf(row))

  before(async () => {
    world = await openServed(db.knex, ids)
    ada = await world.user('ada@example.com')
    const bob = await world.user('bob@example.com')
    tokens = { ada: await world.signIn(ada), bob: await world.signIn(bob) }
    reply = (status, method, target, body) => world.expectReply(status, method, target, tokens.ada, body)
    project = await reply(201, 'POST', '/projects', world.values({ title: 'a project' }))
    await world.expectReply(201, 'POST', '/notes', tokens.bob, world.values({ title: 'of bob' }))
    for (let i = 0; i < 6; i += 1) {
      const values = { title: `note ${i}`, rank: i % 2, projectId: i < 3 ? world.idOf(project) : null }
      notes.push(await reply(201, 'POST', '/notes', world.values(values)))
    }
  })
  after(() => world?.perms.close())

  it('a new row is at its Location', async () => {
    const response = await world.client('POST', '/projects', tokens.ada, { body: world.values({ title: 'located' }) })
    expect(response.headers.location).to.equal(`/projects/${encodeURIComponent(String(world.idOf(response.body)))}`)
    expect(await reply(200, 'GET', response.headers.location as string)).to.deep.equal(response.body)
    await reply(204, 'DELETE', response.headers.location as string)
    await reply(404, 'GET', response.headers.location as string)
  })

  it('a cursor pages past equal sort values in both directions, each row once [promise 46]', async () => {
    for (const sort of ['rank', '-rank', `rank,-${world.property}`, `-rank,-${world.property}`, world.property, `-${world.property}`]) {
      const whole = (await reply(200, 'GET', `/notes?sort=${sort}`)).data
      expect(whole).to.have.length(6)
      for (const pageSize of [1, 4]) {
        const paged: Row[] = []
        let cursor: string | null = ''
        while (cursor !== null) {
          const page = await reply(200, 'GET', `/notes?sort=${sort}&pageSize=${pageSize}${cursor && `&cursor=${cursor}`}`)
          paged.push(...page.data)
          cursor = page.pagination.nextCursor
        }
        expect(idsOf(paged), `${sort}, ${pageSize}`).to.deep.equal(idsOf(whole))
      }
    }
  })

  it('a cursor that was changed, or belongs to another caller or parent, is refused [promise 46]', async () => {
    const { nextCursor } = (await reply(200, 'GET', '/notes?sort=rank&pageSize=2')).pagination
    const target = (cursor: string) => `/notes?sort=rank&pageSize=2&cursor=${cursor}`
    const last = notes[5] as Row
    const forged = [
      `${nextCursor.slice(0, -1)}${nextCursor.endsWith('A') ? 'B' : 'A'}`,
      Buffer.from(JSON.stringify([1, world.idOf(last)])).toString('base64url'),
      encodeURIComponent(JSON.stringify([1, world.idOf(last)])),
      segment(last),
    ]
    for (const cursor of forged) await reply(422, 'GET', target(cursor))
    await world.expectReply(422, 'GET', target(nextCursor), tokens.bob)
    const below = `/projects/${segment(project)}/below?sort=rank&pageSize=2`
    await reply(422, 'GET', `${below}&cursor=${nextCursor}`)
    const { nextCursor: ofProject } = (await reply(200, 'GET', below)).pagination
    expect((await reply(200, 'GET', `${below}&cursor=${ofProject}`)).data).to.have.length(1)
    await reply(422, 'GET', target(ofProject))
  })

  it('an ETag changes with the row, and If-Match and If-None-Match compare it', async () => {
    const [one, other] = [notes[0], notes[1]] as [Row, Row]
    const send = (method: string, row: Row, headers: Record<string, string>, body?: object) =>
      world.client(method, `/notes/${segment(row)}`, tokens.ada, { headers, ...(body ? { body } : {}) })
    const { etag = '' } = (await send('GET', one, {})).headers
    const { etag: otherEtag = '' } = (await send('GET', other, {})).headers
    expect(etag).to.match(/^"/).and.not.equal(otherEtag)
    expect((await send('GET', one, { 'if-none-match': etag })).status).to.equal(304)
    expect((await send('GET', other, { 'if-none-match': etag })).status).to.equal(200)
    expect((await send('PATCH', one, { 'if-match': otherEtag }, { title: 'no' })).status).to.equal(412)
    const changed = await send('PATCH', one, { 'if-match': etag }, { title: 'changed' })
    expect([changed.status, changed.body.title]).to.deep.equal([200, 'changed'])
    expect((await send('PATCH', one, { 'if-match': etag }, { title: 'again' })).status).to.equal(412)
    expect((await send('DELETE', one, { 'if-match': etag })).status).to.equal(412)
    expect((await send('PATCH', one, { 'if-match': changed.headers.etag as string }, { title: 'note 0' })).status).to.equal(200)
  })

  it('filters compare ids exactly, alone and in lists, and references too', async () => {
    const [first, second] = [notes[0], notes[1]] as [Row, Row]
    const find = async (query: string) => idsOf((await reply(200, 'GET', `/notes?sort=title&${query}`)).data)
    const key = world.property
    const all = idsOf(notes)
    // A comma separates the values of __in, so an id that contains one is no value of it.
    const listed = ids.given ? segment(second).replaceAll('%2C', ',') : `${segment(first)},${segment(second)}`
    expect(await find(`${key}=${segment(first)}`)).to.deep.equal([all[0]])
    expect(await find(`${key}__ne=${segment(first)}`)).to.deep.equal(all.slice(1))
    expect(await find(`${key}__in=${listed}`)).to.deep.equal(ids.given ? [] : all.slice(0, 2))
    expect(await find(`projectId=${segment(project)}`)).to.deep.equal(all.slice(0, 3))
    expect(await find('projectId__null=true')).to.deep.equal(all.slice(3))
    expect(await find(`userId=${encodeURIComponent(String(ada.id))}`)).to.deep.equal(all)
    for (const text of ids.malformed(String(all[0])).filter((one) => one !== String(all[0]))) {
      for (const filter of [key, `${key}__in`, 'projectId']) {
        const { status, body } = await world.client('GET', `/notes?${filter}=${encodeURIComponent(text)}`, tokens.ada)
        if (status === 200) expect(body.data, `${filter}=${text}`).to.deep.equal([])
        else expect([status, body.errors?.[0].field], `${filter}=${text.slice(0, 50)}`).to.deep.equal([422, filter])
      }
    }
  })

  it('included rows are those that refer to each other', async () => {
    const [withNotes] = (await reply(200, 'GET', '/projects?include=notes')).data
    expect(idsOf(withNotes.notes)).to.have.members(idsOf(notes.slice(0, 3)))
    const { data } = await reply(200, 'GET', '/notes?sort=title&include=project,tags')
    expect(data.map((note: Row) => note.project && world.idOf(note.project))).to.deep.equal(
      notes.map((_, i) => (i < 3 ? world.idOf(project) : null)),
    )
    expect(data.map((note: Row) => note.tags)).to.deep.equal(notes.map(() => []))
  })

  it('a reference to another row is checked: an absent one, one of another caller and another type are 422', async () => {
    const theirs = await world.expectReply(201, 'POST', '/projects', tokens.bob, world.values({ title: 'of bob' }))
    const wrong: unknown[] = [world.idOf(theirs), {}, [], true, '', `${world.idOf(project)} `, [world.idOf(project)]]
    wrong.push(typeof world.idOf(project) === 'number' ? String(world.idOf(project)) : 7)
    if (ids.type === 'integer') wrong.push(0, -1, 1.5, 2 ** 31, 2 ** 53, 1e300)
    if (ids.type === 'bigint') wrong.push('0', '007', '9223372036854775808', '1e3')
    for (const projectId of wrong) {
      const { status, body } = await world.client('POST', '/notes', tokens.ada, { body: world.values({ title: 'x', projectId }) })
      expect([status, body.errors?.[0].field], JSON.stringify(projectId)).to.deep.equal([422, 'projectId'])
      const patched = await world.client('PATCH', `/notes/${segment(notes[3] as Row)}`, tokens.ada, { body: { projectId } })
      expect([patched.status, patched.body.errors?.[0].field], JSON.stringify(projectId)).to.deep.equal([422, 'projectId'])
    }
  })

  it('the id of a row cannot be changed, and a client sets it only where it is a natural key', async () => {
    const [one, other] = [notes[0], notes[1]] as [Row, Row]
    for (const id of [world.idOf(other), ids.given?.() ?? world.idOf(one)]) {
      const { status } = await world.client('PATCH', `/notes/${segment(one)}`, tokens.ada, { body: { [world.property]: id } })
      expect(status).to.equal(422)
    }
    const { status, body } = await world.client('POST', '/notes', tokens.ada, {
      body: { ...world.values({ title: 'x' }), [world.property]: world.idOf(other) },
    })
    expect([status, status === 422 && body.errors[0].field]).to.deep.equal(ids.given ? [409, false] : [422, world.property])
  })

  it('the OpenAPI document gives path parameters, properties and examples the type of the ids', () => {
    // As a client receives it.
    const document: OpenApi = JSON.parse(JSON.stringify(openApiDocument(world.api, world.perms)))
    const types = { integer: 'integer', bigint: 'string', uuid: 'string', string: 'string' }
    const ajv = new Ajv2020({ code: { optimize: false }, strict: false, validateFormats: false })
    const named = <T extends Named>(one: T, all: Readonly<Record<string, T>>): T =>
      one.$ref ? (all[one.$ref.split('/').pop() ?? ''] as T) : one
    const propertiesOf = (schema: Schema | undefined) => named(schema as Schema, document.components.schemas).properties ?? {}
    const bodyOf = (path: string, method: 'post' | 'patch') =>
      propertiesOf(document.paths[path]?.[method]?.requestBody?.content['application/json']?.schema)
    const check = (what: string, schema: Schema | undefined, id: Id, example?: unknown) => {
      if (!schema) throw new Error(`The document has no schema of ${what}.`)
      expect([schema.type].flat(), what).to.include(types[ids.type])
      if (ids.type === 'uuid') expect(schema.format, what).to.equal('uuid')
      expect(ajv.validate(schema, id), `${what}: ${JSON.stringify(schema)} allows ${id}`).to.equal(true)
      if (example !== undefined) expect(ajv.validate(schema, example), `${what}: ${JSON.stringify(example)} is an example`).to.equal(true)
    }
    const own = world.idOf(notes[0] as Row)
    for (const [path, id] of [
      ['/notes/{id}', own],
      ['/projects/{projectId}/below', world.idOf(project)],
      ['/users/{userId}/owned', ada.id as Id],
    ] as const) {
      const parameter = document.paths[path]?.get?.parameters
        ?.map((one) => named(one, document.components.parameters))
        .find((one) => one.in === 'path')
      check(path, parameter?.schema, ids.type === 'integer' ? id : String(id), parameter?.example)
    }
    const media = document.paths['/notes/{id}']?.get?.responses['200']?.content['application/json']
    const note = propertiesOf(media?.schema)
    check('the id', note[world.property], own, media?.example?.[world.property])
    check('the owner', note['userId'], ada.id as Id, media?.example?.['userId'])
    check('the project', note['projectId'], world.idOf(project), media?.example?.['projectId'])
    const input = bodyOf('/notes', 'post')
    expect(input).to.have.any.keys('title')
    expect(Object.hasOwn(input, world.property)).to.equal(ids.given !== undefined)
    const change = bodyOf('/notes/{id}', 'patch')
    expect(change).to.have.any.keys('title')
    expect(change).to.not.have.property(world.property)
  })
})
