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
  matrix,
  member,
  nobody,
  not,
  owner,
  type Perms,
  type Policy,
  before as previously,
  recent,
  related,
  role,
  type User,
  where,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { eachDatabase } from '../helpers/databases.js'
import { thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

const statuses = ['open', 'closed'] as const

class Ticket extends HasUserMixin(BasePermsModel).withColumns({ status: column.enum(statuses), assigneeId: column.uuid().nullable() }) {
  static override policy: Policy<Ticket> = {
    read: anyOf(owner(), role('agent')),
    create: { own: authenticated(), others: role('agent') },
    update: { from: anyOf(role('agent'), owner()), to: anyOf(where({ status: 'open' }), previously(owner('assigneeId'))) },
    delete: role('admin'),
    close: allOf(role('agent'), where({ status: 'open' })),
    audit: allOf(role('agent'), recent(300)),
    weigh: allOf(
      role('agent'),
      check(() => true),
    ),
  }
}
class Remark extends HasUserMixin(BasePermsModel).withColumns({ ticketId: column.uuid() }) {
  static override adminBypass = 'read' as const
  static override policy: Policy = {
    read: related('ticket', allowed('read')),
    create: authenticated(),
    update: allOf(owner(), not(related('ticket', where({ status: 'closed' })))),
  }
  static override relationMappings = { ticket: belongsTo(() => Ticket, 'ticketId') }
}
class Article extends HasDomainMixin(BasePermsModel).withColumns({ isPublic: column.boolean() }) {
  static override policy: Policy = {
    read: anyOf(where({ isPublic: true }), role('author')),
    create: role('author'),
    update: anyOf(role('chief'), member('domainId', ['author'])),
  }
}
class Page extends BasePermsModel.withColumns({ text: column.text() }) {
  static override policy: Policy = { read: everyone(), update: role('author', { domain: 'any' }) }
}

const models = [Ticket, Remark, Article, Page]

eachDatabase('matrix()', (db) => {
  let perms: Perms
  let people: Record<string, User | null>
  let press: Domain
  before(async () => {
    perms = initPerms({ knex: db.knex, models })
    await migrateAtOnce(perms)
    await createTables(db.knex, models)
    await asSystem(async () => {
      press = await Domain.create({ name: 'press' })
      const inPress = { domain: press }
      people = {
        anonymous: null,
        'signed in': await createUser(),
        owner: await createUser(),
        ...Object.fromEntries(
          await Promise.all(
            ['agent', 'author', 'chief', 'admin', 'superadmin'].map(async (name) => [name, await createUser({}, { role: name })]),
          ),
        ),
        'member of the domain': await createUser({}, { role: 'guest', ...inPress }),
      }
      for (const name of ['author', 'chief', 'agent', 'admin'])
        people[`${name} of the domain`] = await createUser({}, { role: name, ...inPress })
    })
  })
  after(() => perms.close())

  const cellOf = (model: string, action: string, caller: string) => {
    const found = matrix(models)
    const cells = found.models.find(({ name }) => name === model)?.actions.find((one) => one.action === action)?.cells
    return cells?.find((cell) => cell.caller === caller) ?? expect.fail(`${model} ${action} ${caller}`)
  }

  it('has a column for each kind of caller: roles that rules name, in their domain and globally, owners and admins [promise 223]', () => {
    expect(matrix(models).callers).to.deep.equal([
      ...['anonymous', 'signed in', 'owner', 'agent', 'author', 'chief'],
      ...['member of the domain', 'agent of the domain', 'author of the domain', 'chief of the domain', 'admin of the domain'],
      ...['admin', 'superadmin'],
    ])
    expect(matrix([Ticket]).callers).to.deep.equal(['anonymous', 'signed in', 'owner', 'agent', 'admin', 'superadmin'])
    expect(matrix([Ticket], { roles: ['agent', 'auditor'] }).callers).to.include('auditor')
  })

  it('names what remains of a rule for a caller as its condition', () => {
    expect(cellOf('Ticket', 'read', 'signed in')).to.deep.equal({
      caller: 'signed in',
      access: 'some',
      condition: 'the owner (userId)',
    })
    expect(cellOf('Ticket', 'read', 'owner')).to.deep.equal({ caller: 'owner', access: 'all' })
    expect(cellOf('Ticket', 'delete', 'admin').condition).to.equal('rows of no other admin')
    expect(cellOf('Ticket', 'delete', 'owner')).to.deep.equal({ caller: 'owner', access: 'none' })
    expect(cellOf('Ticket', 'close', 'agent').condition).to.equal('rows where {"status":"open"}')
    expect(cellOf('Ticket', 'close', 'signed in').access).to.equal('none')
    expect(cellOf('Ticket', 'audit', 'agent').condition).to.equal('callers who confirmed their session within 300 seconds')
    expect(cellOf('Ticket', 'weigh', 'agent').condition).to.equal('check(), decided by code')
    expect(cellOf('Ticket', 'update', 'agent').condition).to.equal(
      'afterwards (rows where {"status":"open"} or before the change (the owner (assigneeId)))',
    )
    expect(cellOf('Remark', 'read', 'signed in').condition).to.equal('rows with a ticket for which: the owner (userId)')
    expect(cellOf('Remark', 'read', 'agent').condition).to.equal('rows with a ticket')
    expect(cellOf('Remark', 'create', 'signed in').condition).to.equal('rows of which they are the owner')
    expect(cellOf('Remark', 'update', 'admin').condition).to.equal(
      'the owner (userId) and not rows with a ticket for which: rows where {"status":"closed"}',
    )
    expect(cellOf('Article', 'read', 'author').access).to.equal('none')
    expect(cellOf('Article', 'read', 'author of the domain').access).to.equal('all')
    expect(cellOf('Article', 'read', 'member of the domain').condition).to.equal('rows where {"isPublic":true}')
    expect(cellOf('Article', 'read', 'owner').condition).to.contain('members of the domain')
    expect(cellOf('Page', 'update', 'author of the domain').access).to.equal('all')
  })

  it('agrees with the engine: all rows of a caller, or none [promise 223]', async () => {
    await asSystem(async () => {
      const ids = (people['owner'] as User).id
      const [first, second] = [people['owner'], people['signed in']] as [User, User]
      for (const userId of [ids, second.id, (await createUser({}, { role: 'admin' })).id])
        for (const status of statuses)
          for (const assigneeId of [null, first.id]) {
            const ticket = await Ticket.create({ userId, status, assigneeId })
            for (const author of [ids, second.id]) await Remark.create({ userId: author, ticketId: ticket.id })
          }
      for (const isPublic of [true, false]) await Article.create({ isPublic, domainId: press.id })
      await Page.create({ text: 'a' })
    })
    let compared = 0
    for (const { name, actions } of matrix(models).models) {
      const cls = models.find((one) => one.name === name) as typeof Ticket
      const rows = await asSystem(() => cls.query())
      for (const { action, cells } of actions.filter((one) => one.action !== 'create' && one.action !== 'update'))
        for (const { caller, access } of cells) {
          if (access === 'some') continue
          const user = people[caller] ?? null
          const own = caller === 'owner' ? rows.filter((row) => !('userId' in row) || row.userId === user?.id) : rows
          const answers = await Promise.all(own.map((row) => row.can(action, user)))
          expect(answers, `${name} ${action} ${caller}`).to.deep.equal(answers.map(() => access === 'all'))
          compared += answers.length
        }
    }
    expect(compared).to.be.greaterThan(300)
  })

  it('writes the same Markdown, JSON and HTML each time, and values of rules change neither table nor page [promise 223]', () => {
    class Odd extends BasePermsModel.withColumns({ name: column.string() }) {
      static override policy = { read: where<Odd>({ name: '<img src=x onerror="a|b">' }), publish: nobody() }
    }
    const found = matrix([Odd, Article], { title: 'A & B' })
    expect(matrix([Odd, Article], { title: 'A & B' }).toMarkdown()).to.equal(found.toMarkdown())
    expect(JSON.parse(JSON.stringify(found)).models[0].actions[4].action).to.equal('publish')
    const html = found.toHtml()
    expect(html).to.contain('<svg').and.to.contain('A &amp; B').and.not.to.contain('<img')
    expect(html).not.to.match(/<script|href=|src="?http|@import/)
    const line = found
      .toMarkdown()
      .split('\n')
      .find((one) => one.includes('onerror'))
    expect(line).to.equal('- (1) rows where {"name":"\\<img src=x onerror=\\\\"a\\|b\\\\"\\>"}')
  })

  it('refuses models without a policy', () => {
    expect(thrown(() => matrix([])).message).to.equal('matrix() needs classes with a policy, for example matrix([Post, Article]).')
  })
})
