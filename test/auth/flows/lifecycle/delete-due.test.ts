import { expect } from 'chai'
import type { Knex } from 'knex'
import { AccountDeletion, asSystem, createTables, initPerms, type Perms, Role, runAs } from '../../../../src/index.js'
import { capturedMailer, createUser, type FakeClock, fakeClock, signInAs, testHasher } from '../../../../src/testing/index.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { migrateAtOnce } from '../../../helpers/library-tables-at-once.js'
import { clear, createVisits, fill, leftOver, Member, models, Note, Post, photoHooks, Visit } from './models.js'

const DAY = 86_400

eachDatabase('perms.deleteDueAccounts()', (db) => {
  let perms: Perms
  let clock: FakeClock
  const mailer = capturedMailer()
  before(async function () {
    this.timeout(30_000)
    perms = initPerms({
      knex: db.knex,
      user: Member,
      models: [...models, Visit],
      jwt: { secret: 'a secret of the tests, 32 bytes long' },
      passwordHasher: testHasher(),
      throttle: false,
      mail: { mailer, baseUrl: 'https://app.example.com' },
    })
    await migrateAtOnce(perms)
    await createTables(db.knex, models)
    await createVisits(db.knex)
  })
  after(() => perms.close())
  beforeEach(async () => {
    await clear(db.knex)
    clock = fakeClock()
  })
  afterEach(() => clock.restore())

  const due = async (count = 0) => {
    const user = await createUser<Member>()
    await fill(user, count)
    await perms.auth.accountDeletion.schedule(user)
    return user
  }

  const expected = {
    users: 0,
    notes: 0,
    posts: ['post 0', 'post 1', 'post 2'].map((title) => [title, null, true]),
    drafts: 0,
    comments: ['comment 0', 'comment 1', 'comment 2'].map((text) => [text, null, 'deleted user', null]),
    invoices: 3,
    photos: Array.from({ length: 3 }, () => [null, 'erased.png']),
  }
  const report = {
    Note: { deleted: 3 },
    Post: { softDeleted: 3 },
    Draft: { deleted: 3 },
    Comment: { anonymised: 3 },
    Invoice: { kept: 3 },
    Photo: { handled: 3 },
    Member: { deleted: 1 },
  }

  it('deletes an account only after the delay, with what each model says, and reports it [promise 164] [promise 166]', async () => {
    const user = await due(3)
    expect(await perms.deleteDueAccounts()).to.deep.equal({ deleted: [], failed: [] })
    clock.advance(14 * DAY + 1)
    expect(await perms.deleteDueAccounts({ batch: 2 })).to.deep.equal({ deleted: [{ userId: user.id, report }], failed: [] })
    expect(await leftOver(user.id)).to.deep.equal(expected)
    const [row] = await asSystem(() => AccountDeletion.query())
    expect(row).to.include({ userId: user.id, state: 'done', lockedBy: null, problem: null }).and.deep.include({ report })
    await perms.auth.settled()
    expect(mailer.last('accountDeleted').to).to.equal(user.email)
  })

  it('reports rows that a foreign key of the table deletes, although the model declares none [promise 166]', async () => {
    const user = await due()
    await asSystem(() => Visit.create({ visitorId: user.id }))
    clock.advance(14 * DAY + 1)
    const { deleted } = await perms.deleteDueAccounts()
    expect(deleted).to.deep.equal([{ userId: user.id, report: { Visit: { byForeignKey: 1 }, Member: { deleted: 1 } } }])
    expect(await asSystem(() => Visit.query().resultSize())).to.equal(0)
  })

  it('deletes the rows of its user only', async () => {
    const [ada, bob] = [await createUser(), await createUser()]
    await fill(bob, 1)
    await perms.auth.accountDeletion.schedule(ada)
    clock.advance(14 * DAY + 1)
    await perms.deleteDueAccounts()
    const left = await leftOver(bob.id)
    expect(left).to.deep.include({ users: 1, notes: 1, drafts: 1, comments: [['comment 0', bob.id, 'Ada', 'private']] })
  })

  it('is part of perms.maintain()', async () => {
    await due()
    clock.advance(14 * DAY + 1)
    expect(await perms.maintain()).to.deep.include({ accounts: { deleted: 1, failed: 0 } })
    expect(await perms.maintain()).to.not.have.property('accounts')
  })

  it('comes to the same end and the same report after a crash at any statement [promise 165]', async function () {
    this.timeout(120_000)
    // With FULL=1: each statement on SQLite.
    const stride = process.env['FULL'] === '1' && db.dialect === 'sqlite' ? 1 : 11
    for (let crashAt = 1; ; crashAt += stride) {
      await clear(db.knex)
      const user = await due(3)
      clock.advance(14 * DAY + 1)
      const crash = crashing(db.knex, crashAt)
      await perms.deleteDueAccounts({ batch: 2 }).catch(() => undefined)
      const hasCrashed = crash.end()
      // Until the lease has expired, the process could still be at work.
      clock.advance(DAY)
      await perms.deleteDueAccounts({ batch: 2 })
      expect(await leftOver(user.id), `after a crash at statement ${crashAt}`).to.deep.equal(expected)
      const [row] = await asSystem(() => AccountDeletion.query())
      expect(row?.report, `after a crash at statement ${crashAt}`).to.deep.equal(report)
      if (!hasCrashed) return
    }
  })

  it('deletes each account once when several processes run it at the same time [promise 165]', async function () {
    this.timeout(60_000)
    const users = []
    for (let i = 0; i < 4; i += 1) users.push(await due(1))
    clock.advance(14 * DAY + 1)
    const reports = await Promise.all([1, 2, 3].map(() => perms.deleteDueAccounts({ batch: 1 })))
    expect(reports.flatMap(({ failed }) => failed)).to.deep.equal([])
    const deleted = reports.flatMap((one) => one.deleted.map(({ userId }) => userId))
    expect(deleted).to.have.members(users.map(({ id }) => id))
    for (const one of reports.flatMap((each) => each.deleted))
      expect(one.report).to.deep.include({ Note: { deleted: 1 }, Comment: { anonymised: 1 } })
  })

  it('undoes a batch when another process has taken the account over [promise 165]', async () => {
    const user = await due(1)
    clock.advance(14 * DAY + 1)
    photoHooks.before = async (trx) => void (await trx('account_deletion').update({ locked_by: 'another process' }))
    const slow = await perms.deleteDueAccounts()
    photoHooks.before = undefined
    expect(slow).to.deep.equal({ deleted: [], failed: [] })
    expect(await leftOver(user.id)).to.deep.include({ users: 1, photos: [[user.id, '0.png']] })
    clock.advance(301)
    expect((await perms.deleteDueAccounts()).deleted).to.have.length(1)
  })

  it('stops before the next batch when its signal is aborted, and continues at once', async () => {
    const user = await due(3)
    clock.advance(14 * DAY + 1)
    const stop = new AbortController()
    stop.abort()
    expect((await perms.deleteDueAccounts({ signal: stop.signal })).deleted).to.deep.equal([])
    expect((await perms.deleteDueAccounts()).deleted).to.have.length(1)
    expect(await leftOver(user.id)).to.deep.equal(expected)
  })

  it('keeps the last superadmin, before anything is deleted, and tries again later [promise 167]', async () => {
    const root = await createUser<Member>({}, { role: Role.SUPERADMIN })
    expect((await rejection(perms.auth.accountDeletion.schedule(root))).name).to.equal('ConflictError')
    const other = await createUser<Member>({}, { role: Role.SUPERADMIN })
    await fill(root, 1)
    await perms.auth.accountDeletion.schedule(root)
    await asSystem(() => other.delete())
    clock.advance(14 * DAY + 1)
    const { deleted, failed } = await perms.deleteDueAccounts()
    expect(deleted).to.deep.equal([])
    expect(failed).to.deep.equal([{ userId: root.id, problem: 'This is the last superadmin who can sign in: appoint another one first.' }])
    expect(await leftOver(root.id)).to.deep.include({ users: 1, notes: 1 })
    expect(await perms.auth.accountDeletion.status(root)).to.include({ hasBegun: false })
    await createUser({}, { role: Role.SUPERADMIN })
    clock.advance(61)
    expect((await perms.deleteDueAccounts()).deleted).to.have.length(1)
  })

  it('ends sign-in, sessions and undoing when it begins [promise 163]', async () => {
    const { user, accessToken } = await signInAs<Member>()
    await fill(user, 1)
    await perms.auth.accountDeletion.schedule(user)
    clock.advance(14 * DAY + 1)
    await db.knex('account_deletion').update({ state: 'running' })
    expect((await rejection(perms.auth.accountDeletion.undo(user))).name).to.equal('ConflictError')
    await perms.deleteDueAccounts()
    expect((await rejection(perms.auth.authenticate(accessToken))).name).to.equal('InvalidTokenError')
  })

  it('neither runs as its caller nor appears in the events of the caller', async () => {
    const user = await due(1)
    const caller = await createUser()
    clock.advance(14 * DAY + 1)
    const events: unknown[] = []
    const off = perms.on('accountDeleted', (event) => events.push(event))
    await runAs(caller, () => perms.deleteDueAccounts())
    off()
    expect(events).to.have.length(1).and.to.have.nested.property('[0].by', null)
    expect(await asSystem(() => Note.query().resultSize())).to.equal(0)
    expect(await asSystem(() => Post.withDeleted().whereNotNull('userId').resultSize())).to.equal(0)
    expect(await asSystem(() => Member.query().findById(user.id))).to.equal(undefined)
  })
})

/** Lets the nth statement and all later ones fail, as if the process had ended. Rollbacks pass: the server would make them. */
function crashing(knex: Knex, at: number): { end(): boolean } {
  const prototype = Object.getPrototypeOf(knex.client) as { _query(connection: unknown, query: { sql: string }): Promise<unknown> }
  const own = Object.hasOwn(prototype, '_query')
  const before = prototype._query
  let count = 0
  prototype._query = function (connection, query) {
    if (/^rollback/i.test(query.sql)) return before.call(this, connection, query)
    count += 1
    if (count < at) return before.call(this, connection, query)
    const crash = new Error('The process has crashed.')
    // The connection of a process that has ended is rolled back.
    return /^commit/i.test(query.sql)
      ? before.call(this, connection, { ...query, sql: 'ROLLBACK' }).then(() => Promise.reject(crash))
      : Promise.reject(crash)
  }
  return {
    end() {
      if (own) prototype._query = before
      else Reflect.deleteProperty(prototype, '_query')
      return count >= at
    },
  }
}
