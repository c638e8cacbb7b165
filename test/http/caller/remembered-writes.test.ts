import { expect } from 'chai'
import type { Knex } from 'knex'
import { BasePermsModel } from '../../../src/enforce/base-perms-model.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { createTables } from '../../../src/migrations.js'
import { HasUserMixin } from '../../../src/mixins/has-user.js'
import { asSystem, currentUserId } from '../../../src/policy/context.js'
import { allOf, anyOf, not, owner, role, where } from '../../../src/policy/rules.js'
import { column } from '../../../src/schema/column.js'
import { createUser, type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { Domain } from '../../../src/users/domain.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { type CallerState, callerChanges, sessionsOf } from './caller-changes.js'
import { type Answer, type Ask, clients, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

const columns = {
  kind: column.enum(['plain', 'special']),
  text: column.string({ maxLength: 100 }),
  code: column.string().nullable().unique(),
}

const rule = allOf(
  owner(),
  not(role('blocked')),
  anyOf(where({ kind: 'plain' }), role('editor', { domain: 'any' }), role('reporter', { domain: 'press' })),
)

/** Writes of plain rows depend on the absence of a role, those of special ones also on roles. */
class Draft extends HasUserMixin(BasePermsModel).withColumns(columns) {
  static override tableName = 'draft'
  static override policy = { read: owner(), create: rule, update: rule, delete: rule }
}

class Step extends HasUserMixin(BasePermsModel).withColumns({ draftId: column.uuid().references('draft.id'), text: column.string() }) {
  static override tableName = 'draft_step'
  static override policy = { read: owner(), create: owner(), update: owner(), delete: owner() }
}

const ran: unknown[] = []
const drafts = new CrudResource({ model: Draft, path: 'drafts' })
const hooked = new CrudResource({
  model: Draft,
  path: 'hooked',
  hooks: { beforeUpdate: () => void ran.push(currentUserId()), beforeDelete: () => void ran.push(currentUserId()) },
})
hooked.endpoint({ method: 'POST', path: ':id/own', item: true, readsBody: false, handler: () => ({ caller: currentUserId() }) })
const steps = new CrudResource({ model: Step, path: 'steps' })
const stepsOf = new CrudResource({ model: Step, path: 'steps', parent: { model: Draft, param: 'draftId' } })

eachDatabase('a write of a remembered caller', (db) => {
  let world: RememberedWorld
  let ask: Ask
  let askLoading: Ask
  let elsewhere: Knex
  let press: Domain
  let me: SignedInAs
  let state: CallerState
  before(async function () {
    this.timeout(30_000)
    world = await openRememberedWorld(db.knex)
    await createTables(db.knex, [Draft, Step])
    const made = clients(world.perms, { resources: [drafts, hooked, steps, stepsOf] })
    ask = made.ask
    askLoading = made.askLoading
    elsewhere = db.connect()
    press = await asSystem(() => Domain.create({ name: 'press' }))
  })
  after(() => world.perms.close())

  beforeEach(async () => {
    me = await signInAs()
    const own = await asSystem(() => Note.create({ text: 'mine', userId: me.user.id }))
    const foreign = await asSystem(async () => Note.create({ text: 'theirs', userId: (await createUser({})).id }))
    state = { elsewhere, user: me.user, press, own, foreign }
    ran.length = 0
  })
  afterEach(async () => {
    await elsewhere('draft_step').delete()
    await elsewhere('draft').delete()
    await elsewhere('note').delete()
    await elsewhere('domain').where('id', press.id).update({ active: true, name: 'press' })
  })

  /** Reads until the caller is remembered. */
  async function warm(): Promise<void> {
    await ask('GET', '/notes/', me.accessToken)
    expect((await ask('GET', '/notes/', me.accessToken)).statements, 'the second list').to.equal(1)
  }
  const create = (kind: string, more: object = {}) => ask('POST', '/drafts/', me.accessToken, { body: { kind, text: 'new', ...more } })
  const rows = async () => Number((await elsewhere('draft').count({ n: '*' }).first())?.n)
  const ofKind = (kind: 'plain' | 'special') => asSystem(() => Draft.create({ kind, text: 'kept', userId: me.user.id }))
  const codeOf = ({ body }: Answer) => JSON.parse(body).code as string

  it('needs no statement that loads the caller: create is one, update and delete are two [promise 82]', async () => {
    await warm()
    const made = await create('plain')
    expect(made).to.include({ status: 201, statements: 1 })
    const { id } = JSON.parse(made.body)
    expect(await elsewhere('draft').where('id', id).first()).to.include({ user_id: me.user.id, kind: 'plain', text: 'new' })
    const patched = await ask('PATCH', `/drafts/${id}/`, me.accessToken, { body: { text: 'changed' } })
    expect([patched.status, JSON.parse(patched.body).text, patched.statements]).to.deep.equal([200, 'changed', 2])
    expect(await ask('DELETE', `/drafts/${id}/`, me.accessToken)).to.include({ status: 204, statements: 2 })
    expect(await rows()).to.equal(0)
  })

  for (const [name, { prepare, change, writes }] of Object.entries(callerChanges))
    it(`obeys the next change of another process: ${name} [promises 82, 245]`, async () => {
      const [kind, before, after] = writes
      await prepare?.(state)
      const row = await ofKind(kind)
      await warm()
      const first = await create(kind)
      expect(first.status, 'create before').to.equal(before)
      if (before === 201) expect(first.statements).to.equal(1)
      await change(state)
      const kept = await rows()
      expect((await create(kind)).status, 'create after').to.equal(after)
      expect(await rows()).to.equal(after === 201 ? kept + 1 : kept)
      const statusOf = async (method: string, body?: object) =>
        (await ask(method, `/drafts/${row.id}/`, me.accessToken, body && { body })).status
      const isGone = name === 'a deleted user'
      expect(await statusOf('PATCH', { text: 'changed' }), 'update after').to.equal(after === 201 ? 200 : after)
      expect(await statusOf('DELETE'), 'delete after').to.equal(after === 201 ? 204 : after)
      const left = await elsewhere('draft').where('id', row.id).first()
      if (after === 201 || isGone) expect(left).to.equal(undefined)
      else expect(left.text).to.equal('kept')
    })

  it('is stored by no statement of a caller whose rights have changed: the INSERT itself is refused [promise 245]', async () => {
    await warm()
    await create('plain')
    await sessionsOf(state).update({ kind: 'custom' })
    const kept = await rows()
    const sent: string[] = []
    const note = ({ sql }: { sql: string }) => sent.push(sql)
    db.knex.on('query', note)
    const { status } = await create('plain')
    db.knex.off('query', note)
    expect([status, await rows(), sent.filter((sql) => /^insert/i.test(sql)).length]).to.deep.equal([401, kept, 1])
  })

  it('starts over with the body that it has read [promise 245]', async () => {
    await warm()
    await create('plain')
    await elsewhere('user_role').insert({
      id: '01900000-0000-7000-8000-00000000aaaa',
      user_id: me.user.id,
      role: 'reader',
      domain_key: '*',
      created_at: db.dialect === 'sqlite' ? Date.now() : new Date(),
      updated_at: db.dialect === 'sqlite' ? Date.now() : new Date(),
    })
    const made = await create('plain', { text: 'of a stream' })
    expect([made.status, JSON.parse(made.body).text]).to.deep.equal([201, 'of a stream'])
    expect(made.statements, 'the refused INSERT, the caller, and the INSERT').to.equal(3)
  })

  it('is refused for its values only after the caller was loaded: a client without a session learns of no conflict [promise 245]', async () => {
    await asSystem(async () => Draft.create({ kind: 'plain', text: 'x', code: 'taken', userId: (await createUser({})).id }))
    await warm()
    expect(codeOf(await create('plain', { code: 'taken' }))).to.equal('taken')
    await create('plain')
    await sessionsOf(state).update({ revoked: true })
    expect((await create('plain', { code: 'taken' })).status).to.equal(401)
  })

  it('is not repeated when nobody knows whether the row was stored [promise 245]', async () => {
    await warm()
    await create('plain')
    const kept = await rows()
    const client = db.knex.client as { query(connection: object, query: { sql: string }): Promise<unknown> }
    const { query } = client
    let inserts = 0
    client.query = async (connection, given) => {
      const answer = await query.call(client, connection, given)
      if (!/^insert/i.test(given.sql)) return answer
      inserts += 1
      throw Object.assign(new Error('Connection terminated unexpectedly'), { code: 'ECONNRESET' })
    }
    const { status } = await create('plain').finally(() => {
      client.query = query
    })
    expect(status).to.be.at.least(500)
    expect([inserts, await rows()]).to.deep.equal([1, kept + 1])
  })

  it('loads the caller before it looks up a row that the new one refers to', async () => {
    const { id } = await ofKind('plain')
    await warm()
    const seen = []
    for (let i = 0; i < 4; i += 1) {
      const { status, statements } = await ask('POST', '/steps/', me.accessToken, { body: { draftId: id, text: 'x' } })
      expect(status).to.equal(201)
      seen.push(statements)
    }
    expect(new Set(seen), 'the caller, begin, the row, insert and commit').to.deep.equal(new Set([5]))
    expect((await ask('POST', `/drafts/${id}/steps/`, me.accessToken, { body: { text: 'x' } })).status).to.equal(201)
  })

  it('runs hooks and own endpoints of a row for a proven caller only [promise 228]', async () => {
    const { id } = await ofKind('plain')
    await warm()
    expect((await ask('PATCH', `/hooked/${id}/`, me.accessToken, { body: { text: 'y' } })).status).to.equal(200)
    const own = await ask('POST', `/hooked/${id}/own/`, me.accessToken)
    expect([JSON.parse(own.body), own.statements]).to.deep.equal([{ caller: me.user.id }, 1])
    expect(ran).to.deep.equal([me.user.id])
    await sessionsOf(state).update({ revoked: true })
    expect((await ask('PATCH', `/hooked/${id}/`, me.accessToken, { body: { text: 'z' } })).status).to.equal(401)
    expect((await ask('DELETE', `/hooked/${id}/`, me.accessToken)).status).to.equal(401)
    expect((await ask('POST', `/hooked/${id}/own/`, me.accessToken)).status).to.equal(401)
    expect(ran).to.deep.equal([me.user.id])
  })

  it('is answered like one whose caller is loaded: status, headers and body [promise 229]', async function () {
    this.timeout(60_000)
    const bodies: unknown[] = [
      { kind: 'plain', text: 'x' },
      { kind: 'special', text: 'x' },
      { kind: 'plain' },
      { kind: 'plain', text: 1 },
      { kind: 'plain', text: 'x', userId: (await createUser({})).id },
      { kind: 'plain', text: 'x', id: '01900000-0000-7000-8000-000000000001' },
      { kind: 'plain', text: 'x', nope: 1 },
      { kind: 'plain', text: 'x'.repeat(101) },
      {},
      [],
      'not JSON',
      undefined,
    ]
    const headers = [{}, { 'content-type': 'text/plain' }, { accept: 'text/html' }, { 'x-request-id': 'r1' }]
    const comparable = ({ status, headers: given, body }: Answer) =>
      JSON.stringify({ status, given, body })
        .replace(/[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'id')
        .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'time')
        .replace(/\\"[\w+/=-]{20,}\\"/g, 'etag')
    let proven = 0
    for (const body of bodies)
      for (const more of headers) {
        await warm()
        const send = (asking: Ask) => asking('POST', '/drafts/', me.accessToken, { body, headers: more })
        const [one, other] = [await send(ask), await send(askLoading)]
        expect(comparable(one), `${JSON.stringify(body)} ${JSON.stringify(more)}`).to.equal(comparable(other))
        if (one.statements < other.statements) proven += 1
      }
    expect(proven).to.be.at.least(1)
  })

  it('by cookie comes from an allowed page only [promise 229]', async () => {
    await warm()
    const cookies = { cookie: `__Host-access=${me.accessToken}`, 'sec-fetch-site': 'cross-site' }
    const { status } = await ask('POST', '/drafts/', null, { body: { kind: 'plain', text: 'x' }, headers: cookies })
    expect([status, await rows()]).to.deep.equal([403, 0])
  })

  it('needs the ability of its API key before and after a change [promise 25]', async () => {
    const { key, plain } = await asSystem(() => world.perms.auth.apiKeys.issue(me.user, { abilities: ['drafts:create', 'notes:read'] }))
    await elsewhere('token').where('id', key.id).update({ last_used_at: new Date() })
    const send = async () =>
      (await countQueries(db.knex, () => ask('POST', '/drafts/', plain, { body: { kind: 'plain', text: 'x' } }))).result
    await send()
    expect(await send()).to.include({ status: 201, statements: 1 })
    await elsewhere('token')
      .where('id', key.id)
      .update({ abilities: JSON.stringify(['notes:read']) })
    const kept = await rows()
    expect([(await send()).status, await rows()]).to.deep.equal([403, kept])
  })
})
