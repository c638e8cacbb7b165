import { expect } from 'chai'
import type { Knex } from 'knex'
import { type JSONSchema, Model, QueryBuilder } from 'objection'
import {
  Api,
  anyOf,
  asSystem,
  CrudResource,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  runAs,
  type User,
  where,
} from '../../../src/index.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../client.js'

/** A base class as an application had it before: a query builder, hooks and output of its own. */
class AppQueryBuilder<M extends Model, R = M[]> extends QueryBuilder<M, R> {
  declare ArrayQueryBuilderType: AppQueryBuilder<M, M[]>
  declare SingleQueryBuilderType: AppQueryBuilder<M, M>
  declare MaybeSingleQueryBuilderType: AppQueryBuilder<M, M | undefined>
  declare NumberQueryBuilderType: AppQueryBuilder<M, number>
  declare PageQueryBuilderType: AppQueryBuilder<M, import('objection').Page<M>>

  urgent(): this {
    return this.where('priority', '>', 2)
  }
}

class AppModel extends Model {
  declare QueryBuilderType: AppQueryBuilder<this>
  static override QueryBuilder = AppQueryBuilder
  declare updated_at?: string

  override $beforeUpdate(): void {
    this.updated_at = '2030-05-06T07:08:09.000Z'
  }
}

class Task extends PermsMixin(AppModel) {
  declare id: number
  declare title: string
  declare status: 'open' | 'done'
  declare user_id: string
  static override get tableName(): string {
    return 'tasks'
  }
  static override get jsonSchema(): JSONSchema {
    return {
      type: 'object',
      required: ['title'],
      properties: {
        id: { type: 'integer' },
        title: { type: 'string', minLength: 1, maxLength: 100 },
        status: { type: 'string', enum: ['open', 'done'], default: 'open' },
        priority: { type: ['integer', 'null'] },
        estimate: { type: 'number' },
        is_public: { type: 'boolean' },
        due_on: { type: ['string', 'null'], format: 'date' },
        due_at: { type: ['string', 'null'], format: 'date-time' },
        labels: { type: 'array', items: { type: 'string' } },
        user_id: { type: 'string', format: 'uuid' },
        updated_at: { type: 'string', format: 'date-time', readOnly: true },
        anything: {},
      },
    }
  }
  static override policy = {
    read: anyOf(where({ is_public: true }), owner('user_id')),
    create: owner('user_id'),
    update: owner('user_id'),
    delete: owner('user_id'),
  }
}

async function createTasks(knex: Knex, isPg: boolean): Promise<void> {
  await knex.schema.createTable('tasks', (table) => {
    table.increments('id')
    table.string('title').notNullable()
    table.string('status').notNullable().defaultTo('open')
    table.integer('priority')
    table.decimal('estimate', 10, 2)
    table.boolean('is_public').notNullable().defaultTo(false)
    table.date('due_on')
    table.dateTime('due_at', { precision: 3 } as never)
    if (isPg) table.jsonb('labels')
    else table.text('labels')
    if (isPg) table.uuid('user_id').notNullable()
    else table.string('user_id', 36).notNullable()
    table.string('anything')
    table
      .dateTime('updated_at', { precision: 3 } as never)
      .defaultTo(knex.client.driverName.includes('sqlite') ? knex.fn.now() : knex.fn.now(3))
    table.string('internal_note').defaultTo('from the database')
  })
}

eachDatabase('A model with only a jsonSchema, over HTTP', (db) => {
  let perms: Perms
  const errors: unknown[] = []
  let ask: Client
  let users: { ada: User; bob: User }
  let tokens: { ada: string; bob: string }
  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await createTasks(db.knex, db.dialect === 'pg')
    users = await asSystem(async () => ({
      ada: await createUser({ email: 'ada@example.com' }),
      bob: await createUser({ email: 'bob@example.com' }),
    }))
    tokens = { ada: (await signInAs(users.ada)).accessToken, bob: (await signInAs(users.bob)).accessToken }
    ask = clientOf(new Api({ resources: [new CrudResource({ model: Task })] }), perms, errors)
  })
  after(() => perms.close())
  beforeEach(() => db.knex('tasks').delete())

  const make = async (values: object = {}) =>
    await ask('POST', '/tasks/', tokens.ada, { body: { title: 'Paint the fence', user_id: users.ada.id, ...values } })

  it('filters by __like with regard to case, and by __ilike without, whatever the collation of the column is', async () => {
    for (const title of ['paint', 'Paint', 'päint', 'paint ']) await make({ title })
    const find = async (query: string) => {
      const { data } = (await ask('GET', `/tasks?sort=title&${query}`, tokens.ada)).body
      return data.map(({ title }: { title: string }) => title)
    }
    expect(await find('title__like=p%25')).to.deep.equal(['paint', 'paint ', 'päint'])
    expect(await find('title__like=P%25')).to.deep.equal(['Paint'])
    expect(await find('title__like=p_int')).to.deep.equal(['paint', 'päint'])
    expect(await find('title__like=paint')).to.deep.equal(['paint'])
    expect(await find('title__ilike=PAINT')).to.include.members(['Paint', 'paint'])
  })

  it('creates, shows, changes and deletes rows', async () => {
    const made = await make({ priority: 3, labels: ['garden'], due_on: '2030-01-31', due_at: '2030-01-31T12:00:00.000Z', estimate: 2.5 })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body.id).to.be.a('number')
    const expected = {
      title: 'Paint the fence',
      status: 'open',
      priority: 3,
      estimate: 2.5,
      is_public: false,
      due_on: '2030-01-31',
      due_at: '2030-01-31T12:00:00.000Z',
      user_id: users.ada.id,
    }
    expect(made.body).to.include(expected)
    const shown = await ask('GET', `/tasks/${made.body.id}`, tokens.ada)
    expect(shown.body).to.include(expected)
    expect(shown.body.labels).to.deep.equal(['garden'])
    expect(shown.headers.etag).to.equal(made.headers.etag)
    const changed = await ask('PATCH', `/tasks/${made.body.id}`, tokens.ada, { body: { status: 'done', priority: null } })
    expect(changed.status, JSON.stringify(changed.body)).to.equal(200)
    expect(changed.body).to.include({ status: 'done', priority: null, updated_at: '2030-05-06T07:08:09.000Z' })
    expect((await ask('DELETE', `/tasks/${made.body.id}`, tokens.ada)).status).to.equal(204)
    expect(await db.knex('tasks')).to.deep.equal([])
  })

  it('keeps the rows of another user unseen and unwritten', async () => {
    const { id } = (await make()).body
    expect((await ask('GET', '/tasks/', tokens.bob)).body.data).to.deep.equal([])
    for (const [method, body] of [['GET'], ['PATCH', { title: 'his' }], ['DELETE']] as const)
      expect((await ask(method, `/tasks/${id}`, tokens.bob, body ? { body } : {})).status).to.equal(404)
    expect((await ask('POST', '/tasks/', tokens.bob, { body: { title: 'x', user_id: users.ada.id } })).status).to.equal(403)
    await db.knex('tasks').where({ id }).update({ is_public: true })
    expect((await ask('GET', `/tasks/${id}`, tokens.bob)).status).to.equal(200)
    expect((await ask('PATCH', `/tasks/${id}`, tokens.bob, { body: { title: 'his' } })).status).to.equal(403)
    expect(await db.knex('tasks')).to.have.length(1)
  })

  it('neither shows, filters, sorts nor writes an undeclared column [promise 78]', async () => {
    const { id } = (await make()).body
    const bodies = [
      (await ask('GET', `/tasks/${id}`, tokens.ada)).body,
      (await ask('GET', '/tasks/', tokens.ada)).body,
      (await make()).body,
      (await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { title: 'x' } })).body,
    ]
    for (const body of bodies) expect(JSON.stringify(body)).not.to.match(/internal_note|from the database/)
    for (const query of ['internal_note=x', 'internal_note__like=f%25', 'sort=internal_note', 'fields=internal_note']) {
      const refused = await ask('GET', `/tasks/?${query}`, tokens.ada)
      expect(refused.status, query).to.equal(422)
    }
    expect((await make({ internal_note: 'mine' })).status).to.equal(422)
    const changed = await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { internal_note: 'mine' } })
    expect(changed.status).to.equal(422)
    expect(await db.knex('tasks').where({ internal_note: 'mine' })).to.deep.equal([])
  })

  it('filters and sorts by the types of the jsonSchema', async () => {
    await make({ title: 'a', priority: 10, estimate: 1.25, due_on: '2030-01-01', due_at: '2030-01-01T00:00:00.000Z', is_public: true })
    await make({ title: 'b', priority: 9, estimate: 10.5, due_on: '2030-02-01', due_at: '2030-02-01T00:00:00.000Z', status: 'done' })
    await make({ title: 'C' })
    const titles = async (query: string) => {
      const { body, status } = await ask('GET', `/tasks/?${query}`, tokens.ada)
      expect(status, `${JSON.stringify(body)} ${String(errors)}`).to.equal(200)
      return body.data.map(({ title }: Task) => title).join('')
    }
    expect(await titles('priority__gt=9')).to.equal('a')
    expect(await titles('priority=9')).to.equal('b')
    expect(await titles('priority__in=9,10&sort=priority')).to.equal('ba')
    expect(await titles('priority__ne=9&sort=title')).to.equal('Ca')
    expect(await titles('priority=99999999999')).to.equal('')
    expect(await titles('priority__lt=99999999999&sort=-priority')).to.equal('ab')
    expect(await titles('priority__null=true')).to.equal('C')
    expect(await titles('estimate__gte=10.5')).to.equal('b')
    expect(await titles('estimate=1.25')).to.equal('a')
    expect(await titles('is_public=true')).to.equal('a')
    expect(await titles('status=done')).to.equal('b')
    expect(await titles('title=c')).to.equal('')
    expect(await titles('title__in=A,C')).to.equal('C')
    expect(await titles('due_on__from=2030-01-15')).to.equal('b')
    expect(await titles('due_at__lte=2030-01-15T00:00:00Z')).to.equal('a')
    expect(await titles('due_at=2030-02-01T00:00:00Z')).to.equal('b')
    expect(await titles('sort=-due_at')).to.equal('baC')
    expect(await titles('sort=title')).to.equal('Cab')
    for (const query of ['priority=many', 'status=shut', 'is_public=1', 'due_on=2030-02-30', 'anything=x', 'labels=x'])
      expect((await ask('GET', `/tasks/?${query}`, tokens.ada)).status, query).to.equal(422)
  })

  it('pages with cursors over every type', async () => {
    for (let i = 0; i < 5; i += 1)
      await make({
        title: `t${i}`,
        priority: i % 2 ? null : i,
        estimate: i / 4,
        due_at: `2030-01-0${i + 1}T00:00:00.000Z`,
        due_on: `2030-01-0${i + 1}`,
      })
    for (const sort of ['priority', '-priority', 'estimate', '-due_at', 'due_on', 'status', 'title', 'is_public', '-id']) {
      const seen: string[] = []
      let cursor = ''
      do {
        const { body, status } = await ask(
          'GET',
          `/tasks/?sort=${sort}&pageSize=2${cursor && `&cursor=${encodeURIComponent(cursor)}`}`,
          tokens.ada,
        )
        expect(status, `${sort}: ${JSON.stringify(body)}`).to.equal(200)
        seen.push(...body.data.map(({ title }: Task) => title))
        cursor = body.pagination.nextCursor ?? ''
      } while (cursor !== '')
      expect([...seen].sort(), sort).to.deep.equal(['t0', 't1', 't2', 't3', 't4'])
    }
  })

  const itOnSqlite = db.dialect === 'sqlite' ? it : () => {}
  itOnSqlite('compares datetimes that SQLite holds in several forms', async () => {
    const forms = ['2030-01-01 10:00:00', '2030-01-01T12:30:00+02:00', Date.parse('2030-01-01T11:00:00Z')]
    for (const [i, due_at] of forms.entries())
      await db.knex('tasks').insert({ title: `t${i}`, user_id: users.ada.id, due_at: due_at as string })
    const listed = await ask('GET', '/tasks/?sort=due_at&due_at__gte=2030-01-01T10:30:00Z', tokens.ada)
    expect(listed.body.data.map((one: Task) => one.title)).to.deep.equal(['t1', 't2'])
    expect(listed.body.data[0].due_at).to.equal('2030-01-01T10:30:00.000Z')
    expect((await ask('GET', '/tasks/?due_at=2030-01-01T10:00:00Z', tokens.ada)).body.data).to.have.length(1)
  })

  it('refuses values that the jsonSchema refuses, and names the field', async () => {
    const bad: [object, string][] = [
      [{ title: '' }, 'title'],
      [{ priority: 'high' }, 'priority'],
      [{ status: 'shut' }, 'status'],
      [{ due_on: 'soon' }, 'due_on'],
      [{ labels: [1] }, 'labels.0'],
      [{ is_public: null }, 'is_public'],
      [{ id: 7 }, 'id'],
      [{ updated_at: '2030-01-01T00:00:00.000Z' }, 'updated_at'],
    ]
    for (const [values, field] of bad) {
      const { status, body } = await make(values)
      expect(status, field).to.equal(422)
      expect(
        body.errors.map((one: { field: string }) => one.field),
        JSON.stringify(body),
      ).to.deep.equal([field])
    }
    expect((await ask('POST', '/tasks/', tokens.ada, { body: { user_id: users.ada.id } })).body.errors[0].field).to.equal('title')
    expect(await db.knex('tasks')).to.deep.equal([])
  })

  it('has an OpenAPI document with the properties of the jsonSchema', async () => {
    const document = JSON.stringify((await ask('GET', '/openapi.json')).body)
    expect(document)
      .to.match(/due_on/)
      .and.not.match(/internal_note/)
    const { create, update, output, filter } = Task.schema
    expect(Object.keys(create.properties)).not.to.include.members(['id', 'updated_at'])
    expect(create.required).to.deep.equal(['title'])
    expect(update.required).to.deep.equal([])
    expect(output.properties.priority).to.deep.equal({ type: ['integer', 'null'] })
    expect(output.properties.estimate).to.deep.equal({ type: ['number', 'null'] })
    expect(filter.properties).to.include.keys('id', 'title', 'due_at').and.not.have.any.keys('labels', 'anything')
  })

  it('keeps the application’s query builder, hooks and defaults in code', async () => {
    const made = await runAs(users.ada, () => Task.create({ title: 'x', user_id: users.ada.id, priority: 5 } as never))
    expect(made.status).to.equal('open')
    expect(await runAs(users.ada, () => Task.query().urgent())).to.have.length(1)
    expect(await runAs(users.bob, () => Task.query().urgent())).to.have.length(0)
    await runAs(users.ada, () => Task.query().findById(made.id).patch({ title: 'y' }))
    const [row] = await runAs(users.ada, () => Task.query())
    expect(JSON.parse(JSON.stringify(row))).to.include({
      title: 'y',
      updated_at: '2030-05-06T07:08:09.000Z',
      internal_note: 'from the database',
    })
  })
})
