import { expect } from 'chai'
import {
  allOf,
  allowed,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  check,
  column,
  createTables,
  Domain,
  everyone,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  nobody,
  type Perms,
  type Policy,
  before as previously,
  related,
  role,
  type User,
  whatCan,
  where,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Ticket extends HasUserMixin(BasePermsModel).withColumns({ status: column.enum(['open', 'closed']) }) {
  static override policy: Policy<Ticket> = {
    read: anyOf(role('agent'), authenticated()),
    create: authenticated(),
    update: { from: role('agent'), to: anyOf(where({ status: 'open' }), previously(where({ status: 'closed' }))) },
    delete: nobody(),
    close: allOf(role('agent'), where({ status: 'open' })),
    weigh: allOf(
      role('agent'),
      check(() => false),
    ),
  }
}
class Remark extends HasUserMixin(BasePermsModel).withColumns({ ticketId: column.uuid() }) {
  static override policy: Policy = { read: related('ticket', allowed('close')), create: { own: authenticated(), others: role('agent') } }
  static override relationMappings = { ticket: belongsTo(() => Ticket, 'ticketId') }
}
class Article extends HasDomainMixin(BasePermsModel).withColumns({ isPublic: column.boolean() }) {
  static override policy: Policy = { read: anyOf(where({ isPublic: true }), role('author')), create: nobody(), update: role('author') }
}
class Page extends BasePermsModel.withColumns({ text: column.text() }) {
  static override policy: Policy = { read: everyone(), create: role('agent'), update: role('agent') }
}

const models = [Ticket, Remark, Article, Page]

eachDatabase('whatCan()', (db) => {
  let perms: Perms
  let callers: (User | null)[]
  let agent: User
  before(async () => {
    perms = initPerms({ knex: db.knex, models })
    await migrateAtOnce(perms)
    await createTables(db.knex, models)
    await asSystem(async () => {
      const press = await Domain.create({ name: 'press' })
      const elsewhere = await Domain.create({ name: 'elsewhere' })
      agent = await createUser({}, { role: 'agent' })
      const admin = await createUser({}, { role: 'admin' })
      callers = [null, await createUser(), agent, admin, await createUser({}, { role: 'superadmin' })]
      callers.push(await createUser({}, { role: 'author', domain: press }), await createUser({}, { role: 'admin', domain: press }))
      callers.push(await createUser({ isEnabled: false }, { role: 'admin' }))
      for (const userId of [agent.id, admin.id])
        for (const status of ['open', 'closed'] as const) {
          const ticket = await Ticket.create({ userId, status })
          await Remark.create({ ticketId: ticket.id, userId: agent.id })
        }
      for (const { id } of [press, elsewhere]) for (const isPublic of [true, false]) await Article.create({ isPublic, domainId: id })
      await Page.create({ text: 'a' })
    })
  })
  after(() => perms.close())

  it('agrees with can() about each row: all, none, or those of its condition [promise 220]', async () => {
    const seen = new Set<string>()
    for (const caller of callers)
      for (const { model, action, rows, sql } of whatCan(caller, models)) {
        // The condition covers neither creation, which has no row yet, nor the row after an update, nor check().
        if (action === 'create' || action === 'weigh' || (model === 'Ticket' && action === 'update')) continue
        const cls = models.find(({ name }) => name === model) as typeof Ticket
        const found = await asSystem(() => cls.query())
        const answers = await Promise.all(found.map((row) => row.can(action, caller)))
        const held =
          sql === undefined ? [] : ((await db.knex(cls.tableName).whereRaw(sql.replaceAll('?', '\\?')).select('id')) as { id: string }[])
        const expected = found.map(({ id }) => rows === 'all' || (rows === 'some' && held.some((row) => row.id === id)))
        expect(answers, `${caller?.email} ${model} ${action} ${rows} ${sql}`).to.deep.equal(expected)
        seen.add(rows)
      }
    expect([...seen].sort()).to.deep.equal(['all', 'none', 'some'])
  })

  const rowsOf = (caller: User | null, model: string, action: string) =>
    whatCan(caller, models).find((one) => one.model === model && one.action === action)?.rows

  it('agrees with canCreate(): rows of the caller only, unless a rule or the role says more [promise 220]', async () => {
    const [, plain = null, , , superadmin = null] = callers
    expect(rowsOf(null, 'Ticket', 'create')).to.equal('none')
    expect(rowsOf(plain, 'Ticket', 'create')).to.equal('some')
    expect(rowsOf(superadmin, 'Ticket', 'create')).to.equal('all')
    expect(rowsOf(plain, 'Remark', 'create')).to.equal('some')
    expect(rowsOf(agent, 'Remark', 'create')).to.equal('some')
    expect(rowsOf(agent, 'Page', 'create')).to.equal('all')
    expect(await Ticket.canCreate({ userId: agent.id, status: 'open' }, plain)).to.equal(false)
    expect(await Ticket.canCreate({ userId: agent.id, status: 'open' }, superadmin)).to.equal(true)
  })

  it('never calls an action that code or the changed row decides "all" [promise 220]', () => {
    expect(rowsOf(agent, 'Ticket', 'weigh')).to.equal('some')
    expect(rowsOf(agent, 'Ticket', 'update')).to.equal('some')
    expect(rowsOf(callers[1] as User, 'Ticket', 'weigh')).to.equal('none')
  })

  it('refuses a user whose roles are not loaded', async () => {
    const bare = await asSystem(() => perms.models.user.query().findById(agent.id))
    expect(thrown(() => whatCan(bare as never, models))).to.include({ name: 'RolesNotLoadedError' })
  })
})
