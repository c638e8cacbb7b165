/** A small application with reserved words as names, for tests of names of tables and columns. */
import { expect } from 'chai'
import type { Knex } from 'knex'
import type { ColumnNameMappers } from 'objection'
import {
  Api,
  asAnonymous,
  asSystem,
  BasePermsModel,
  belongsTo,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  type PermsOptions,
  Role,
  related,
  runAs,
  Token,
  User,
  UserOwnershipMixin,
  UserResource,
  UserRole,
} from '../../../src/index.js'
import { libraryTable } from '../../../src/policy/registered-models.js'
import { testHasher } from '../../../src/testing/hasher.js'
import { rejection } from '../../helpers/errors.js'
import { type Client, clientOf } from '../../http/client.js'

const password = 'correct horse battery'

/** Classes of their own for each application. */
function makeModels(mappers: ColumnNameMappers | undefined) {
  class Plan extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
    order: column.integer(),
    select: column.string().nullable(),
    dueAt: column.integer().default(1).named('desc'),
    pinCODE: column.string().nullable().named('PinCode').hidden(),
  }) {
    static override tableName = 'table'
    static override relationMappings = { steps: hasMany(() => Step, 'planId') }
  }
  class Step extends BasePermsModel.withColumns({
    planId: column.uuid().references('table.id', { onDelete: 'cascade' }).named('references'),
    group: column.string(),
  }) {
    static override tableName = 'column'
    static override relationMappings = { plan: belongsTo(() => Plan, 'planId') }
    static override policy = {
      read: related('plan', owner()),
      create: related('plan', owner()),
      update: related('plan', owner()),
      delete: related('plan', owner()),
    }
  }
  class Person extends User {
    static override tableName = 'people'
    static override columnNames = { passwordHash: 'Password' }
  }
  if (mappers) for (const cls of [Plan, Step, Person]) Object.assign(cls, { columnNameMappers: mappers })
  return { Plan, Step, Person }
}

export interface SmallApplication {
  readonly perms: Perms
  /** Signs in, or answers from the last time. */
  tokenOf(name: 'ada' | 'bob'): Promise<string>
  readonly ask: Client
  readonly models: ReturnType<typeof makeModels>
}

/** Migrates, creates the tables of the application, and users ada and bob. */
export async function startSmallApplication(
  knex: Knex,
  options: Partial<PermsOptions>,
  mappers?: ColumnNameMappers | undefined,
): Promise<SmallApplication> {
  const models = makeModels(mappers)
  const { Plan, Step } = models
  const perms = initPerms({
    ...{ knex, passwordHasher: testHasher(), jwt: { secret: 'k'.repeat(48) }, models: [Plan, Step], throttle: { store: 'database' } },
    ...(mappers ? { user: models.Person } : {}),
    ...options,
  })
  await perms.migrate()
  expect(await perms.migrate()).to.deep.equal([])
  await createTables(knex, [Plan, Step])
  for (const name of ['ada', 'bob']) await asSystem(() => User.create({ email: `${name}@example.com`, password } as never))
  const resources = [
    new UserResource(),
    new CrudResource({ model: Plan, path: 'plans', include: ['steps', 'user'] }),
    new CrudResource({ model: Step, path: 'steps', include: ['plan'] }),
  ]
  const errors: unknown[] = []
  const ask = clientOf(new Api({ resources }), perms as never, errors)
  const tokens = new Map<string, string>()
  return {
    perms,
    ask,
    models,
    async tokenOf(name) {
      const known = tokens.get(name)
      if (known !== undefined) return known
      const reply = await ask('POST', '/users/login', null, { body: { email: `${name}@example.com`, password } })
      expect(reply.status, String(errors.at(-1))).to.equal(200)
      tokens.set(name, reply.body.access_token)
      return reply.body.access_token
    },
  }
}

/** Tests of everything that depends on names, in the order in which they are written. */
export function itServes(application: () => SmallApplication): void {
  const ask = async (name: 'ada' | 'bob', method: string, target: string, body?: object) => {
    const { ask, tokenOf } = application()
    return await ask(method, target, await tokenOf(name), body && { body })
  }
  const dataOf = async (name: 'ada' | 'bob', target: string) => {
    const reply = await ask(name, 'GET', target)
    expect(reply.status, JSON.stringify(reply.body)).to.equal(200)
    return reply.body.data as Record<string, any>[]
  }
  const find = (name: string) => asSystem(() => User.getByOr404({ email: `${name}@example.com` } as never))

  it('signs in, and counts failures in the database', async () => {
    const me = await ask('ada', 'GET', '/users/me')
    expect(me.body).to.deep.include({ email: 'ada@example.com', roles: [] })
    const wrong = await application().ask('POST', '/users/login', null, { body: { email: 'bob@example.com', password: 'wrong' } })
    expect(wrong.status).to.equal(401)
    const { knex } = application().perms
    expect(await knex(libraryTable('throttle')).where('points', '>', 0)).to.not.deep.equal([])
  })

  it('creates, updates, shows and deletes rows over HTTP', async () => {
    for (const [order, select] of [
      [1, 'b'],
      [2, 'a'],
      [3, null],
    ]) {
      const made = await ask('ada', 'POST', '/plans', { order, select })
      expect(made.status, JSON.stringify(made.body)).to.equal(201)
      expect(made.body).to.include({ order, select, dueAt: 1 }).and.to.not.have.any.keys('pinCODE', 'desc', 'PinCode')
      const step = await ask('ada', 'POST', '/steps', { planId: made.body.id, group: `g${String(order)}` })
      expect(step.status, JSON.stringify(step.body)).to.equal(201)
      expect(step.body.planId).to.equal(made.body.id)
    }
    const [last] = await dataOf('ada', '/plans?order=3')
    const changed = await ask('ada', 'PATCH', `/plans/${last?.['id']}`, { dueAt: 7 })
    expect(changed.body).to.include({ dueAt: 7, order: 3 })
    expect((await ask('ada', 'DELETE', `/plans/${last?.['id']}`)).status).to.equal(204)
    expect((await ask('ada', 'GET', `/plans/${last?.['id']}`)).status).to.equal(404)
    // The database deletes the step of the deleted plan.
    expect(await dataOf('ada', '/steps')).to.have.length(2)
  })

  it('filters, sorts and includes by property name', async () => {
    const orders = async (target: string) => (await dataOf('ada', target)).map(({ order }) => order)
    expect(await orders('/plans?sort=select')).to.deep.equal([2, 1])
    expect(await orders('/plans?sort=-order&select=b')).to.deep.equal([1])
    expect(await orders('/plans?dueAt=1&sort=order')).to.deep.equal([1, 2])
    expect(await orders('/plans?dueAt=2')).to.deep.equal([])
    const [plan] = await dataOf('ada', '/plans?order=1&include=steps,user')
    expect(plan?.['steps']).to.have.length(1)
    expect(plan?.['steps'][0]).to.include({ group: 'g1', planId: plan?.['id'] })
    expect(plan?.['user'].email).to.equal('ada@example.com')
    const steps = await dataOf('ada', '/steps?include=plan&sort=-group')
    expect(steps.map((step) => step['plan'].order)).to.deep.equal([2, 1])
    for (const query of ['desc=1', 'sort=desc', 'PinCode=1', 'pinCODE=1', 'references=1'])
      expect((await ask('ada', 'GET', `/plans?${query}`)).status, query).to.equal(422)
  })

  it('applies policies on relations to reads and writes', async () => {
    const [step] = await dataOf('ada', '/steps')
    expect(await dataOf('bob', '/steps')).to.deep.equal([])
    expect(await dataOf('bob', '/plans')).to.deep.equal([])
    expect((await ask('bob', 'PATCH', `/steps/${step?.['id']}`, { group: 'x' })).status).to.equal(404)
    expect((await ask('bob', 'POST', '/steps', { planId: step?.['planId'], group: 'x' })).status).to.be.oneOf([403, 404, 422])
    const { Plan, Step } = application().models
    const bob = await find('bob')
    expect(await runAs(bob, () => Step.query().joinRelated('plan').where('plan.order', 1))).to.deep.equal([])
    expect(await runAs(await find('ada'), () => Step.query().withGraphJoined('plan').where('plan.order', 1))).to.have.length(1)
    expect(await runAs(bob, () => Plan.query().patch({ order: 9 } as never))).to.equal(0)
  })

  it('keeps roles, API keys and the code that joins users', async () => {
    const [ada, bob] = [await find('ada'), await find('bob')]
    await asSystem(() => bob.grantRole(Role.ADMIN))
    const { Plan } = application().models
    expect(await runAs(bob, () => Plan.query().joinRelated('user').where('user.email', 'ada@example.com'))).to.have.length(2)
    expect(await runAs(ada, () => UserRole.query())).to.deep.equal([])
    expect((await dataOf('bob', '/users?sort=email')).map(({ email }) => email)).to.deep.equal(['ada@example.com', 'bob@example.com'])
    const { plain } = await asSystem(() => Token.issue(ada, { kind: 'api', abilities: ['plans:read'] }))
    const reply = await application().ask('GET', '/plans', plain)
    expect(reply.body.data).to.have.length(2)
    await asSystem(() => bob.revokeRole(Role.ADMIN))
  })

  it('refuses statements that name a protected table beside its model [promise 71]', async () => {
    const { Step } = application().models
    const ada = await find('ada')
    for (const table of [User.tableName, Token.tableName, 'table']) {
      const error = await rejection(runAs(ada, () => Step.query().from(table as never)) as never)
      expect(error.message, table).to.include(`'${table}'`)
      await rejection(asAnonymous(() => Step.query().whereRaw('exists (select 1 from ??)', [table])) as never)
    }
  })
}
