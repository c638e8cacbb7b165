import { expect } from 'chai'
import { inTransaction } from '../../../src/database/transaction.js'
import { openApiDocument } from '../../../src/http/openapi/document.js'
import {
  Api,
  allOf,
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  not,
  owner,
  Role,
  recent,
  role,
  Token,
  UserResource,
  where,
} from '../../../src/index.js'
import { createUser, signInAs } from '../../../src/testing/index.js'
import { openZoo, type Zoo } from '../../conformance/zoo.js'
import { countQueries } from '../../helpers/databases.js'
import { thrown } from '../../helpers/errors.js'
import { type Client, clientOf } from '../client.js'

class Ticket extends HasUserMixin(BasePermsModel).withColumns({
  subject: column.string({ maxLength: 50 }),
  status: column.enum(['open', 'closed']).default('open'),
  reason: column.string({ maxLength: 50 }).nullable(),
  note: column.string().nullable().hidden(),
}) {
  static override policy = {
    read: authenticated(),
    create: authenticated(),
    update: owner(),
    delete: allOf(owner(), recent(300)),
    close: allOf(role('agent'), where({ status: 'open' }), not(owner())),
    markPaid: owner(),
  }
}

class Plain extends BaseModel.withColumns({ name: column.string() }) {}

interface OpenApiSchema {
  readonly properties: Readonly<Record<string, OpenApiSchema>>
}

interface OpenApiOperation {
  readonly operationId: string
  readonly responses: object
  readonly parameters?: readonly { readonly name: string; readonly description?: string }[]
}

/** The parts of an OpenAPI document that these tests read. */
interface OpenApi {
  readonly paths: Readonly<Record<string, Readonly<Partial<Record<'get' | 'post', OpenApiOperation>>>>>
  readonly components: { readonly schemas: Readonly<Record<string, OpenApiSchema>> }
}

describe('actions over HTTP', () => {
  let zoo: Zoo
  let ask: Client
  let agent: string
  let key: string
  let seen: unknown
  let path: string
  const tickets = new CrudResource({ model: Ticket, methods: { delete: { adminOnly: true }, list: { public: true } } })
  tickets.action<{ reason: string }>('close', {
    input: ['reason'],
    handler: async ({ row, input }) => {
      seen = { isLocked: inTransaction(), note: row.note }
      if (input.reason === 'fail') {
        await asSystem(() => row.update({ status: 'closed' }))
        throw new TypeError('a defect')
      }
      return await asSystem(() => row.update({ status: 'closed', reason: input.reason }))
    },
  })
  tickets.action('markPaid', { adminOnly: true, handler: () => undefined })
  const api = new Api({ resources: [tickets, new UserResource()] })
  before(async () => {
    zoo = await openZoo()
    await createTables(zoo.perms.knex, [Ticket])
    ask = clientOf(api, zoo.perms)
    const { user, accessToken } = await signInAs({}, { role: 'agent' })
    agent = accessToken
    key = (await asSystem(() => Token.issue(user as never, { kind: 'api', abilities: ['tickets:read', 'tickets:close'] }))).plain
  })
  after(() => zoo.close())
  beforeEach(async () => {
    const { id } = await asSystem(() => Ticket.create({ subject: 'Help', note: 'internal', userId: zoo.ids.ada }))
    path = `/tickets/${id}`
  })

  it('run in a transaction with the locked row, and show the row as the resource does [promise 191]', async () => {
    const closed = await ask('POST', `${path}/close`, agent, { body: { reason: 'done' } })
    expect(closed.status).to.equal(200)
    expect(closed.body).to.include({ status: 'closed', reason: 'done' })
    expect(closed.body).not.to.have.property('note')
    expect(seen).to.deep.equal({ isLocked: true, note: 'internal' })
    expect((await ask('POST', `${path}/close`, agent, { body: { reason: 'again' } })).status, 'no longer open').to.equal(403)
  })

  it('undo their writes when the handler fails [promise 191]', async () => {
    expect((await ask('POST', `${path}/close`, agent, { body: { reason: 'fail' } })).status).to.equal(500)
    expect((await ask('GET', path, agent)).body.status).to.equal('open')
  })

  it('check the row as it is when it is locked [promise 191]', async () => {
    const id = path.slice('/tickets/'.length)
    const { statements } = await countQueries(zoo.perms.knex, () =>
      ask('POST', `${path}/close`, zoo.tokens.ada, { body: { reason: 'mine' } }),
    )
    expect(statements.some((sql) => /^update/.test(sql))).to.equal(false)
    class Late extends Ticket {
      static override tableName = 'ticket'
      // Another request closes the ticket after this one has loaded it.
      static async afterGet(): Promise<void> {
        await zoo.perms.knex('ticket').where({ id }).update({ status: 'closed' })
      }
    }
    const late = new CrudResource({ model: Late, path: 'late' })
    let ran = false
    late.action('close', {
      handler: () => {
        ran = true
      },
    })
    const answer = await clientOf(new Api({ resources: [late] }), zoo.perms)('POST', `/late/${id}/close`, agent)
    expect([answer.status, ran]).to.deep.equal([403, false])
  })

  it('take their ability from API keys, and their options from the resource [promise 191]', async () => {
    expect((await ask('PATCH', path, key, { body: { subject: 'x' } })).status).to.equal(403)
    expect((await ask('POST', `${path}/mark-paid`, zoo.tokens.ada)).status, 'adminOnly').to.equal(403)
    expect((await ask('POST', `${path}/mark-paid`, zoo.tokens.admin)).status).to.equal(204)
    expect((await ask('POST', `${path}/close`, agent, { body: { reason: 'x', status: 'open' } })).body.errors).to.deep.equal([
      { field: 'status', message: 'is not known here' },
    ])
    expect((await ask('POST', `${path}/close`, agent, { headers: { 'if-match': '"other"' }, body: { reason: 'x' } })).status).to.equal(412)
    expect((await ask('POST', `${path}/close`, key, { body: { reason: 'by key' } })).status).to.equal(200)
  })

  it('have flags that count what the resource allows the caller, in one statement [promise 81]', async () => {
    const names = '?allowed=close,update,delete,markPaid'
    const flagsFor = async (token: string | null) => (await ask('GET', `/tickets${names}&pageSize=1`, token)).body.data[0].allowed
    expect(await flagsFor(agent)).to.deep.equal({ update: false, delete: false, close: true, markPaid: false })
    expect(await flagsFor(zoo.tokens.ada), 'owner').to.deep.equal({ update: true, delete: false, close: false, markPaid: false })
    expect(await flagsFor(zoo.tokens.admin), 'admin').to.deep.equal({ update: true, delete: true, close: true, markPaid: true })
    expect(await flagsFor(key), 'key').to.deep.equal({ update: false, delete: false, close: true, markPaid: false })
    const { statements } = await countQueries(zoo.perms.knex, async () => {
      const { body, headers } = await ask('GET', `${path}${names}`, agent)
      expect(body.allowed).to.deep.equal({ update: false, delete: false, close: true, markPaid: false })
      expect(headers).not.to.have.property('etag')
    })
    expect(statements.filter((sql) => /from .ticket/.test(sql)).length).to.equal(1)
    for (const bad of ['read', 'create', 'note', 'close,', '__proto__', 'constructor'])
      expect((await ask('GET', `/tickets?allowed=${bad}`, agent)).body.errors, bad).to.have.length(1)
    expect((await ask('GET', `${path}?allowed=nope`, agent)).status).to.equal(422)
  })

  it('hide the flags of users whom the caller may not read [promise 81]', async () => {
    await createUser({}, { role: Role.ADMIN })
    const { body } = await ask('GET', '/users?allowed=update,delete', zoo.tokens.ada)
    expect(body.data.map((row: { id: string; allowed: object }) => [row.id, row.allowed])).to.deep.equal([
      [zoo.ids.ada, { update: true, delete: false }],
    ])
  })

  it('are described in the OpenAPI document', () => {
    // As a client receives it.
    const { paths, components }: OpenApi = JSON.parse(JSON.stringify(openApiDocument(api, zoo.perms)))
    const close = paths['/tickets/{id}/close']?.post as OpenApiOperation
    expect(close.operationId).to.equal('closeTicket')
    expect(components.schemas['CloseTicketInput']?.properties).to.have.all.keys('reason')
    expect(Object.keys(close.responses)).to.include.members(['200', '401', '403', '404', '422'])
    const list = paths['/tickets']?.get?.parameters?.find(({ name }) => name === 'allowed')
    expect(list?.description).to.include('update, delete, close, markPaid')
    expect(components.schemas['Ticket']?.properties['allowed']?.properties).to.have.all.keys('update', 'delete', 'close', 'markPaid')
  })

  it('need a rule in the policy of the model', () => {
    const bound = (resource: CrudResource<never>) => thrown(() => new Api({ resources: [resource] }).routes(zoo.perms))
    const typo = new CrudResource({ model: Ticket, path: 'typo' })
    typo.action('closs', { handler: () => undefined })
    expect(String(bound(typo as never))).to.include("Did you mean 'close'?")
    const plain = new CrudResource({ model: Plain })
    plain.action('close', { handler: () => undefined })
    expect(String(bound(plain as never))).to.include('Plain has no policy')
    expect(String(thrown(() => plain.action('update', { handler: () => undefined })))).to.include("option 'methods'")
  })
})
