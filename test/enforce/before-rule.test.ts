import { expect } from 'chai'
import {
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  check,
  column,
  createTables,
  before as earlier,
  everyone,
  ForbiddenError,
  initPerms,
  nobody,
  not,
  owner,
  type Perms,
  type Policy,
  related,
  runAs,
  User,
  where,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { countQueries, createDatabase, eachDatabase, type OwnDatabase } from '../helpers/databases.js'
import { rejection, thrown } from '../helpers/errors.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'

class Person extends User {
  static override tableName = 'user'
  static override policy: Policy = { ...User.policy, read: everyone() }
}
class Team extends BasePermsModel.withColumns({ leadId: column.uuid().references('user.id') }) {
  static override policy: Policy = { read: everyone() }
}
const columns = {
  title: column.string().default('t'),
  status: column.enum(['open', 'closed']).default('open'),
  assigneeId: column.uuid().references('user.id').nullable().writableBy(authenticated()),
  teamId: column.uuid().references('team.id').nullable(),
}
class Ticket extends BasePermsModel.withColumns(columns) {
  static override policy: Policy = {
    read: everyone(),
    create: nobody(),
    update: {
      from: authenticated(),
      to: anyOf(where({ status: 'open' }), earlier(owner('assigneeId')), earlier(related('team', owner('leadId')))),
    },
  }
  static override relationMappings = { team: belongsTo(() => Team, 'teamId') }
}

eachDatabase('before() in update.to', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  before(async () => {
    perms = initPerms({ knex: db.knex, user: Person, models: [Ticket, Team], outsideContext: 'deny' })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Team, Ticket])
    await asSystem(async () => {
      ada = await createUser()
      bob = await createUser()
    })
  })
  after(() => perms.close())
  const ticketOf = (user: User | null, more: object = {}) =>
    asSystem(() => Ticket.create({ assigneeId: user?.id ?? null, ...more } as never))
  const stored = async ({ id }: Ticket) => await asSystem(() => Ticket.getOr404(id))

  it('decides by the row as it was, also if the update changes the column that it reads [promise 193]', async () => {
    const ticket = await ticketOf(ada)
    const seize = () => runAs(bob, async () => await (await Ticket.getOr404(ticket.id)).update({ assigneeId: bob.id, status: 'closed' }))
    expect(await rejection(seize())).to.be.instanceOf(ForbiddenError)
    expect(await stored(ticket)).to.include({ assigneeId: ada.id, status: 'open' })
    const close = () => runAs(ada, async () => await (await Ticket.getOr404(ticket.id)).update({ assigneeId: bob.id, status: 'closed' }))
    const { statements } = await countQueries(db.knex, close)
    expect(await stored(ticket)).to.include({ assigneeId: bob.id, status: 'closed' })
    const kinds = statements.map((sql) => /^\w+/.exec(sql)?.[0].toLowerCase())
    expect(kinds.filter((kind) => kind === 'update').length).to.equal(1)
    if (db.dialect !== 'sqlite') expect(statements.some((sql) => /for update/.test(sql) && /ticket/.test(sql))).to.equal(true)
  })

  it('decides about every update, whatever columns it sets [promise 193]', async () => {
    const ticket = await ticketOf(ada, { status: 'closed' })
    const rename = (user: User) => runAs(user, async () => await (await Ticket.getOr404(ticket.id)).update({ title: 'new' }))
    expect(await rejection(rename(bob))).to.be.instanceOf(ForbiddenError)
    await rename(ada)
    expect((await stored(ticket)).title).to.equal('new')
  })

  it('decides about each row of a bulk update, and undoes all if one is refused [promise 193]', async () => {
    const title = `bulk ${Date.now()}`
    const [mine, other] = [await ticketOf(ada, { title }), await ticketOf(bob, { title })]
    const closeAll = () => runAs(ada, async () => await Ticket.query().where({ title }).patch({ status: 'closed', assigneeId: null }))
    expect(await rejection(closeAll())).to.be.instanceOf(ForbiddenError)
    expect((await stored(mine)).status).to.equal('open')
    await asSystem(() => other.update({ title: 'not in it' }))
    const also = await ticketOf(null, { title, teamId: (await asSystem(() => Team.create({ leadId: ada.id }))).id })
    expect(await closeAll()).to.equal(2)
    expect([await stored(mine), await stored(also), await stored(other)].map(({ status }) => status)).to.deep.equal([
      'closed',
      'closed',
      'open',
    ])
  })

  it('agrees with a naive evaluation, also under not() and together with the row after it [promises 30, 193]', async () => {
    const rules = [
      [earlier(owner('assigneeId')), (was: boolean, _to: boolean) => was],
      [not(earlier(owner('assigneeId'))), (was: boolean) => !was],
      [allOf(earlier(owner('assigneeId')), owner('assigneeId')), (was: boolean, is: boolean) => was && is],
      [anyOf(not(earlier(owner('assigneeId'))), not(owner('assigneeId'))), (was: boolean, is: boolean) => !was || !is],
      [
        allOf(
          earlier(where({ title: 'x' })),
          check<{ title: string }>(({ title }) => title === 'y'),
        ),
        () => false,
      ],
    ] as const
    for (const [to, expected] of rules) {
      class Ruled extends BasePermsModel.withColumns(columns) {
        static override tableName = 'ticket'
        static override policy: Policy = { read: everyone(), update: { from: authenticated(), to } }
      }
      for (const was of [ada, bob]) {
        for (const is of [ada, bob]) {
          const { id } = await ticketOf(was)
          const changed = await runAs(ada, async () => await Ruled.query().findById(id).patch({ assigneeId: is.id })).catch(
            (error) => error,
          )
          expect(changed === 1, JSON.stringify(to)).to.equal(expected(was === ada, is === ada))
        }
      }
    }
  })
})

describe('before() elsewhere', () => {
  let own: OwnDatabase
  let perms: Perms
  before(async () => {
    own = await createDatabase('better-sqlite3')
    perms = initPerms({ knex: own.knex })
  })
  after(async () => {
    await perms.close()
    await own.destroy()
  })
  const rule = earlier(where({ title: 'x' }))
  const cases: [string, object][] = [
    ['in read', { read: rule }],
    ['in create', { create: rule }],
    ['in an update without to', { update: rule }],
    ['in update.from', { update: { from: anyOf(rule), to: everyone() } }],
    ['in delete', { delete: not(rule) }],
    ['in an action', { publish: rule }],
    ['inside related()', { update: { from: everyone(), to: related('team', rule) } }],
    ['inside before()', { update: { from: everyone(), to: earlier(rule as never) } }],
    ['with check()', { update: { from: everyone(), to: earlier(check(() => true) as never) } }],
  ]
  for (const [place, policy] of cases) {
    it(`${place} is refused [promise 193]`, () => {
      class Paper extends Ticket {
        static override tableName = 'ticket'
        static override policy = policy as Policy
      }
      expect(thrown(() => Paper.columnSpecs)).to.include({ code: 'configuration' })
    })
  }

  it('in writableBy() is refused [promise 193]', () => {
    class Paper extends BasePermsModel.withColumns({ title: column.string().writableBy(earlier(owner())) }) {}
    expect(thrown(() => Paper.columnSpecs)).to.include({ code: 'configuration' })
  })
})
