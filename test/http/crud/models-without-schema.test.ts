import { expect } from 'chai'
import { Model } from 'objection'
import {
  Api,
  asSystem,
  authenticated,
  CrudResource,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  PermsMixin,
  runAs,
  type User,
  UserOwnershipMixin,
  UserResource,
} from '../../../src/index.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { eachDatabase } from '../../helpers/databases.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../client.js'

class AppModel extends Model {}

/** As an application had it before: only Objection knows the columns, from the database. */
class Task extends PermsMixin(AppModel) {
  declare id: number
  declare title: string
  declare labels: unknown
  static override tableName = 'tasks'
  static override policy = {
    read: owner('user_id'),
    create: authenticated(),
    update: owner('user_id'),
    delete: owner('user_id'),
  }
}

class Paper extends UserOwnershipMixin(HasUserMixin(PermsMixin(AppModel))) {
  static override tableName = 'papers'
  static override columnNames = { userId: 'written_by' }
}

const shownColumns = [
  'id',
  'title',
  'status',
  'priority',
  'small',
  'estimate',
  'ratio',
  'views',
  'is_public',
  'due_on',
  'due_at',
  'labels',
  'key',
  'body',
]
const writtenColumns = shownColumns.filter((name) => name !== 'id')

eachDatabase('A model without a schema, over HTTP', (db) => {
  let perms: Perms
  const errors: unknown[] = []
  let ask: Client
  let users: { ada: User; bob: User }
  let tokens: { ada: string; bob: string }

  async function createTables(): Promise<void> {
    const owned = (table: import('knex').Knex.CreateTableBuilder, name: string) =>
      db.dialect === 'pg' ? table.uuid(name) : table.string(name, 36)
    if (db.dialect === 'pg') await db.knex.raw(`create type task_status as enum ('open', 'done')`)
    await db.knex.schema.createTable('tasks', (table) => {
      table.increments('id')
      table.string('title', 20).notNullable()
      if (db.dialect === 'pg') table.specificType('status', 'task_status').notNullable().defaultTo('open')
      else if (db.dialect === 'mysql') table.enum('status', ['open', 'done']).notNullable().defaultTo('open')
      else table.string('status').notNullable().defaultTo('open')
      table.integer('priority')
      table.specificType('small', 'smallint')
      table.specificType('estimate', 'decimal(10, 2)')
      table.specificType('ratio', 'double precision')
      table.bigInteger('views')
      table.boolean('is_public').notNullable().defaultTo(false)
      table.date('due_on')
      table.dateTime('due_at', { precision: 3 } as never)
      table.json('labels')
      table.specificType('key', 'uuid').unique()
      table.text('body')
      owned(table, 'user_id')
      table.string('internal_note').defaultTo('from the database').unique()
    })
    await db.knex.schema.createTable('papers', (table) => {
      table.bigIncrements('id')
      owned(table, 'written_by').notNullable()
      table.string('title')
      table.string('secret_note').defaultTo('from the database')
    })
  }

  before(async () => {
    perms = initPerms({ knex: db.knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher() })
    await migrateAtOnce(perms)
    await createTables()
    users = await asSystem(async () => ({
      ada: await createUser({ email: 'ada@example.com' }),
      bob: await createUser({ email: 'bob@example.com' }),
    }))
    tokens = { ada: (await signInAs(users.ada)).accessToken, bob: (await signInAs(users.bob)).accessToken }
    const tasks = new CrudResource({
      model: Task,
      schema: shownColumns,
      argSchema: writtenColumns,
      hooks: {
        beforeCreate({ input, actor }) {
          input['user_id'] = actor?.id
          input['internal_note'] = `by a hook ${String(input['title'])}`
        },
      },
    })
    ask = clientOf(new Api({ resources: [tasks, new CrudResource({ model: Paper })] }), perms, errors)
  })
  after(() => perms.close())
  beforeEach(async () => {
    errors.length = 0
    await db.knex('tasks').delete()
    await db.knex('papers').delete()
  })

  const make = async (values: object = {}) => await ask('POST', '/tasks/', tokens.ada, { body: { title: 'Paint the fence', ...values } })

  it('is part of me/permissions/ before the types of its columns are known [promise 221]', async () => {
    const resources = [new UserResource({ methods: [] }), new CrudResource({ model: Task }), new CrudResource({ model: Paper })]
    const { status, body } = await clientOf(new Api({ resources }), perms)('GET', '/users/me/permissions/', tokens.ada)
    expect(status).to.equal(200)
    const rows = body.data.map(({ model, action, rows }: Record<string, string>) => `${model} ${action} ${rows}`)
    expect(rows).to.include.members(['Task read some', 'Task create all', 'Paper read some', 'Paper create some'])
  })

  it('creates, shows, changes and deletes rows with the types of the database', async () => {
    const values = {
      priority: 3,
      small: -7,
      estimate: '2.50',
      ratio: 0.25,
      views: '9007199254740993',
      is_public: true,
      due_on: '2030-01-31',
      due_at: '2030-01-31T12:00:00.000Z',
      key: '00000000-0000-4000-8000-00000000000a',
      body: 'long',
      status: 'done',
    }
    const views = db.dialect === 'sqlite' ? '7' : values.views
    const made = await make({ ...values, views, labels: ['garden', { a: 1 }] })
    expect(made.status, `${JSON.stringify(made.body)} ${String(errors)}`).to.equal(201)
    expect(made.body.id).to.be.a('number')
    const expected = { ...values, views, title: 'Paint the fence' }
    expect(made.body).to.include(expected)
    const shown = await ask('GET', `/tasks/${made.body.id}`, tokens.ada)
    expect(shown.body).to.include(expected)
    expect(shown.body.labels).to.deep.equal(['garden', { a: 1 }])
    expect(Object.keys(shown.body)).to.have.members(shownColumns)
    const changed = await ask('PATCH', `/tasks/${made.body.id}`, tokens.ada, { body: { is_public: false, priority: null, labels: null } })
    expect(changed.status, JSON.stringify(changed.body)).to.equal(200)
    expect(changed.body).to.include({ is_public: false, priority: null, labels: null })
    const listed = await ask('GET', '/tasks/', tokens.ada)
    expect(listed.body.data).to.deep.equal([changed.body])
    expect((await ask('DELETE', `/tasks/${made.body.id}`, tokens.ada)).status).to.equal(204)
    expect(errors).to.deep.equal([])
  })

  it('neither shows, filters, sorts nor writes a column that no option names [promise 78]', async () => {
    const made = await make()
    const { id } = made.body
    const bodies = [
      made.body,
      (await ask('GET', `/tasks/${id}`, tokens.ada)).body,
      (await ask('GET', '/tasks/', tokens.ada)).body,
      (await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { title: 'x' } })).body,
    ]
    for (const body of bodies) expect(JSON.stringify(body)).not.to.match(/internal_note|by a hook|user_id/)
    for (const name of ['internal_note', 'user_id'])
      for (const query of [`${name}=x`, `${name}__like=b%25`, `${name}__null=true`, `sort=${name}`, `fields=${name}`]) {
        const refused = await ask('GET', `/tasks/?${query}`, tokens.ada)
        expect(refused.status, query).to.equal(422)
      }
    expect((await make({ internal_note: 'mine' })).status).to.equal(422)
    expect((await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { internal_note: 'mine' } })).status).to.equal(422)
    expect((await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { user_id: users.bob.id } })).status).to.equal(422)
    const [row] = await db.knex('tasks')
    expect(row).to.include({ internal_note: 'by a hook Paint the fence', user_id: users.ada.id })
  })

  it('shows only the id and the columns of mixins without options, and writes only these', async () => {
    const made = await ask('POST', '/papers/', tokens.ada, { body: {} })
    expect(made.status, JSON.stringify(made.body)).to.equal(201)
    expect(made.body).to.have.all.keys('id', 'userId')
    const at = `/papers/${made.body.id}`
    expect((await ask('GET', at, tokens.ada)).body).to.deep.equal({ id: made.body.id, userId: users.ada.id })
    expect((await ask('GET', '/papers/', tokens.ada)).body.data).to.deep.equal([{ id: made.body.id, userId: users.ada.id }])
    expect((await ask('GET', `/papers/?userId=${users.ada.id}&sort=-id`, tokens.ada)).body.data).to.have.length(1)
    expect((await ask('GET', at, tokens.bob)).status).to.equal(404)
    for (const body of [{ title: 'x' }, { secret_note: 'x' }, { written_by: users.ada.id }]) {
      const refused = await ask('PATCH', at, tokens.ada, { body })
      expect(refused.status).to.equal(422)
      expect(refused.body.errors).to.deep.equal([{ field: Object.keys(body)[0], message: 'is not known here' }])
    }
    for (const query of ['title=x', 'written_by=x', 'sort=secret_note'])
      expect((await ask('GET', `/papers/?${query}`, tokens.ada)).status, query).to.equal(422)
  })

  it('filters and sorts by the types of the database', async () => {
    const first = { estimate: '1.25', ratio: 0.5, due_on: '2030-01-01', due_at: '2030-01-01T00:00:00.000Z', is_public: true, views: '9' }
    const second = { estimate: '10.50', ratio: 1.5, due_on: '2030-02-01', due_at: '2030-02-01T00:00:00.000Z', status: 'done', views: '10' }
    await make({ title: 'a', priority: 10, key: '00000000-0000-4000-8000-00000000000A', ...first })
    await make({ title: 'b', priority: 9, ...second })
    await make({ title: 'C' })
    const titles = async (query: string) => {
      const { body, status } = await ask('GET', `/tasks/?${query}`, tokens.ada)
      expect(status, `${query} ${JSON.stringify(body)} ${String(errors)}`).to.equal(200)
      return body.data.map(({ title }: Task) => title).join('')
    }
    const expected: Record<string, string> = {
      'priority__gt=9': 'a',
      'priority__in=9,10&sort=priority': 'ba',
      'priority__ne=9&sort=title': 'Ca',
      'priority=99999999999': '',
      'priority__lt=99999999999&sort=-priority': 'ab',
      'priority__null=true': 'C',
      'estimate__gte=10.5': 'b',
      'estimate=1.25': 'a',
      'estimate__in=1.25,10.50&sort=estimate': 'ab',
      'ratio__lt=1': 'a',
      'views__gt=9': 'b',
      'views=9': 'a',
      'sort=-views': 'baC',
      'is_public=true': 'a',
      'is_public=false&sort=title': 'Cb',
      'status=done': 'b',
      'status__ne=done&sort=title': 'Ca',
      'title=c': '',
      'title__in=A,C': 'C',
      'title__ilike=c': 'C',
      'due_on__from=2030-01-15': 'b',
      'due_at__lte=2030-01-15T00:00:00Z': 'a',
      'due_at=2030-02-01T00:00:00Z': 'b',
      'sort=-due_at': 'baC',
      'sort=title': 'Cab',
      'key=00000000-0000-4000-8000-00000000000A': 'a',
      'key__null=false': 'a',
    }
    for (const [query, found] of Object.entries(expected)) expect(await titles(query), query).to.equal(found)
    const bad = ['priority=many', 'is_public=1', 'due_on=2030-02-30', 'due_at=soon', 'labels=x', 'views=x', 'key=7']
    for (const query of db.dialect === 'sqlite' ? bad : [...bad, 'status=shut']) {
      const refused = await ask('GET', `/tasks/?${query}`, tokens.ada)
      expect(refused.status, query).to.equal(422)
      expect(refused.body.errors[0].field).to.equal(query.split('=')[0])
    }
  })

  it('pages with cursors over every type', async () => {
    for (let i = 0; i < 5; i += 1)
      await make({
        title: `t${i}`,
        priority: i % 2 ? null : i,
        estimate: `${i}.25`,
        views: String(i * 7),
        ratio: i / 4,
        due_at: `2030-01-0${i + 1}T00:00:00.000Z`,
        due_on: `2030-01-0${i + 1}`,
      })
    for (const column of shownColumns.filter((name) => name !== 'labels'))
      for (const sort of [column, `-${column}`]) {
        const seen: string[] = []
        let cursor = ''
        do {
          const { body, status } = await ask('GET', `/tasks/?sort=${sort}&pageSize=2${cursor && `&cursor=${cursor}`}`, tokens.ada)
          expect(status, `${sort}: ${JSON.stringify(body)}`).to.equal(200)
          seen.push(...body.data.map(({ title }: Task) => title))
          cursor = body.pagination.nextCursor ?? ''
        } while (cursor !== '')
        expect([...seen].sort(), sort).to.deep.equal(['t0', 't1', 't2', 't3', 't4'])
      }
  })

  it('refuses a value that the column cannot hold with 422, and names the field', async () => {
    const { id } = (await make()).body
    const bad: Record<string, unknown[]> = {
      title: [7, null, 'x'.repeat(21), 'a\u0000b'],
      priority: ['3', 1.5, ...(db.dialect === 'sqlite' ? [] : [2147483648])],
      small: ['x', ...(db.dialect === 'sqlite' ? [] : [32768, -32769])],
      estimate: ['x', '1.234', '123456789.00', true],
      ratio: ['0.5', [0.5]],
      views: ['x', '9223372036854775808', 1.5],
      is_public: [0, 1, 'true', null],
      due_on: ['2030-02-30', '2030-01-01T00:00:00Z', 7],
      due_at: ['2030-01-01', '2030-01-01 10:00', 7],
      key: ['x', 7],
      body: [{}, ['x']],
      labels: [{ a: 'a\u0000b' }],
    }
    if (db.dialect !== 'sqlite') bad['status'] = ['shut', 7, null]
    for (const [field, values] of Object.entries(bad))
      for (const value of values)
        for (const [method, path] of [
          ['POST', '/tasks/'],
          ['PATCH', `/tasks/${id}`],
        ] as const) {
          const { status, body } = await ask(method, path, tokens.ada, { body: { title: 'x', [field]: value } })
          expect(status, `${method} ${field}: ${JSON.stringify(value)}`).to.equal(422)
          expect(
            body.errors.map((one: { field: string }) => one.field),
            JSON.stringify(body),
          ).to.deep.equal([field])
        }
    const missing = await ask('POST', '/tasks/', tokens.ada, { body: { priority: 1 } })
    expect(missing.status).to.equal(422)
    expect(missing.body.errors).to.deep.equal([{ field: 'title', message: 'is required' }])
    expect(errors).to.deep.equal([])
  })

  it('does not name an undeclared column in an error [promise 78]', async () => {
    await make({ title: 'twice' })
    const taken = await make({ title: 'twice' })
    expect(taken.status).to.equal(409)
    expect(JSON.stringify(taken.body)).not.to.match(/internal_note/)
    expect(taken.body.errors).to.deep.equal([])
    const key = '00000000-0000-4000-8000-000000000001'
    await make({ title: 'a', key })
    expect((await make({ title: 'b', key })).body.errors).to.deep.equal([{ field: 'key', message: 'is already taken' }])
  })

  it('has an ETag over the declared columns only', async () => {
    const { id } = (await make()).body
    const etag = async () => (await ask('GET', `/tasks/${id}`, tokens.ada)).headers['etag']
    const before = await etag()
    await db.knex('tasks').update({ internal_note: 'another' })
    expect(await etag()).to.equal(before)
    await db.knex('tasks').update({ is_public: true })
    expect(await etag()).not.to.equal(before)
    const stale = await ask('PATCH', `/tasks/${id}`, tokens.ada, { body: { title: 'x' }, headers: { 'if-match': before as string } })
    expect(stale.status).to.equal(412)
  })

  it('has an OpenAPI document with the declared columns and their types', async () => {
    const { body, status } = await ask('GET', '/openapi.json')
    expect(status).to.equal(200)
    const { schemas } = body.components
    const text = JSON.stringify(body)
    expect(text).not.to.match(/internal_note|secret_note|written_by|user_id/)
    const { properties } = schemas.Task
    expect(Object.keys(properties)).to.have.members([...shownColumns, 'allowed'])
    expect(properties.priority.type).to.deep.equal(['integer', 'null'])
    expect(properties.is_public.type).to.equal('boolean')
    expect(properties.due_at).to.include({ format: 'date-time' })
    expect(properties.id).to.include({ type: 'integer', readOnly: true })
    if (db.dialect !== 'sqlite') expect(properties.status.enum).to.deep.equal(['open', 'done'])
    expect(Object.keys(schemas.CreateTaskInput.properties)).to.have.members(writtenColumns)
    const names = body.paths['/tasks'].get.parameters.map((one: { name: string }) => one.name)
    expect(names).to.include.members(['due_at__from', 'is_public', 'title__like'])
  })

  it('returns the values of Objection to code, as before', async () => {
    await make({ is_public: true, labels: ['x'] })
    const [row] = await runAs(users.ada, () => Task.query())
    expect(row).to.include({ internal_note: 'by a hook Paint the fence' })
    expect((row as unknown as { is_public: unknown }).is_public).to.equal(db.dialect === 'pg' ? true : 1)
    if (db.dialect === 'sqlite') expect(row?.labels).to.equal('["x"]')
  })
})
