import { expect } from 'chai'
import type { QueryBuilder } from 'objection'
import {
  Api,
  AuditLog,
  allOf,
  anyOf,
  asSystem,
  authenticated,
  BasePermsModel,
  belongsTo,
  CrudResource,
  check,
  column,
  createTables,
  Domain,
  HasDomainMixin,
  HasUserMixin,
  hasMany,
  initPerms,
  owner,
  type Perms,
  Role,
  role,
  runAs,
  SoftDeleteMixin,
  transaction,
  where,
} from '../../../src/index.js'
import { createUser, signInAs, testHasher } from '../../../src/testing/index.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'
import { clientOf } from '../../http/client.js'

class Ticket extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 100 }),
  status: column.enum(['open', 'closed']).default('open'),
  body: column.text().nullable(),
  tags: column.json<string[]>().nullable(),
  dueAt: column.datetime().nullable(),
  count: column.integer().default(0),
  pin: column.string().nullable().hidden(),
  salary: column.decimal(10, 2).nullable().readableBy(role('payroll')),
}) {
  static audited = true
  static override relationMappings = { notes: hasMany(() => Note, 'ticketId') }
  static override policy = {
    read: authenticated(),
    create: authenticated(),
    update: anyOf(owner(), role('agent')),
    delete: owner(),
  }
}

class Note extends BasePermsModel.withColumns({
  text: column.text(),
  rank: column.integer().default(0),
  ticketId: column.uuid().references('ticket.id', { onDelete: 'cascade' }).nullable(),
}) {
  static audited: readonly string[] = ['rank']
  static override relationMappings = { ticket: belongsTo(() => Ticket, 'ticketId') }
  static override policy = { read: authenticated(), create: authenticated(), update: authenticated(), delete: authenticated() }
}

class Diary extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
  static audited = true
  static override adminBypass = false
  static override policy = { read: owner(), create: authenticated(), update: owner(), delete: owner() }
}

class Notice extends HasDomainMixin(BasePermsModel).withColumns({ text: column.text() }) {
  static audited = true
  static override policy = { read: authenticated(), create: authenticated(), update: authenticated(), delete: authenticated() }
}

class Judged extends BasePermsModel.withColumns({ text: column.text() }) {
  static audited = true
  static override policy = {
    read: authenticated(),
    update: allOf(
      check((row) => (row as Judged).text !== 'kept'),
      where({ text: { ne: 'x' } }),
    ),
  }
}

eachDatabase('static audited', (db) => {
  let perms: Perms
  let ada: Awaited<ReturnType<typeof createUser>>
  let agent: Awaited<ReturnType<typeof createUser>>
  before(async function () {
    this.timeout(60_000)
    const jwt = { secret: 'a secret of the tests, 32 bytes long' }
    perms = initPerms({ knex: db.knex, jwt, passwordHasher: testHasher(), auditLog: true, throttle: false })
    await migrateAtOnce(perms)
    await createTables(db.knex, [Ticket, Note, Diary, Notice, Judged])
    ada = await createUser()
    agent = await createUser({}, { role: 'agent' })
    await perms.auth.settled()
  })
  after(() => perms.close())
  beforeEach(async () => {
    await perms.auth.settled()
    await db.knex('audit_log').delete()
  })

  const entries = async (where: object = {}) =>
    (await asSystem(() => AuditLog.query().whereNotNull('rowId').where(where).orderBy('id'))) as AuditLog[]
  const open = (values: Partial<Ticket> = {}) => runAs(ada, () => Ticket.create({ title: 'broken', ...values }))

  it('stores who created, changed, deleted, restored and removed a row, and its columns before and after [promise 205]', async () => {
    const due = new Date('2030-01-01T00:00:00.000Z')
    const ticket = await open({ tags: ['a'], pin: '1234' })
    await runAs(agent, async () => {
      const row = (await Ticket.get(ticket.id)) as Ticket
      await row.update({ status: 'closed', dueAt: due, pin: '9999' })
      await row.update({ status: 'closed' })
    })
    await runAs(ada, async () => {
      const row = (await Ticket.get(ticket.id)) as Ticket
      await row.delete()
      await row.restore()
      await row.hardDelete()
    })
    const found = await entries()
    expect(found.map(({ event }) => event)).to.deep.equal(['rowCreated', 'rowUpdated', 'rowDeleted', 'rowRestored', 'rowDeleted'])
    for (const entry of found) expect(entry).to.include({ rowTable: 'ticket', rowId: ticket.id, subjectId: null })
    expect(found.map(({ actorId }) => actorId)).to.deep.equal([ada.id, agent.id, ada.id, ada.id, ada.id])
    expect(found[0]?.details?.['after']).to.deep.include({ title: 'broken', status: 'open', tags: ['a'], userId: ada.id })
    expect(found[1]?.details).to.deep.equal({
      before: { status: 'open', dueAt: null },
      after: { status: 'closed', dueAt: due.toISOString() },
    })
    expect(found[4]?.details?.['before']).to.deep.include({ title: 'broken', status: 'closed' })
    expect(found[4]?.details).to.not.have.property('after')
  })

  it('stores no hidden value, and of columns that only some may read the names [promise 206]', async () => {
    const ticket = await open({ pin: '1234', salary: '99.50' })
    await asSystem(async () => {
      await ticket.update({ pin: '5678', salary: '77.25' })
      await ticket.update({ pin: '4321' })
      await ticket.delete()
    })
    const found = await entries()
    expect(JSON.stringify(found.map(({ details }) => details))).to.not.match(/1234|5678|4321|99\.5|77\.25|pin/)
    expect(found.map(({ event, details }) => [event, details?.['restricted']])).to.deep.equal([
      ['rowCreated', ['salary']],
      ['rowUpdated', ['salary']],
      ['rowUpdated', undefined],
      ['rowDeleted', undefined],
    ])
  })

  it('stores only names for a model whose rows admins may not read [promise 206]', async () => {
    const diary = await runAs(ada, () => Diary.create({ text: 'private thoughts' }))
    await runAs(ada, () => diary.update({ text: 'other thoughts' }))
    const found = await entries({ rowTable: 'diary' })
    expect(found).to.have.length(2)
    expect(JSON.stringify(found)).to.not.include('thoughts')
    expect(found[1]?.details).to.deep.equal({ before: {}, after: {}, restricted: ['text'] })
  })

  it('writes in the transaction of the change: a rollback leaves no entry [promise 205]', async () => {
    const ticket = await open()
    await db.knex('audit_log').delete()
    const failing = transaction(async () => {
      await asSystem(() => ticket.update({ title: 'changed' }))
      await asSystem(() => Ticket.query().delete())
      await open()
      throw new Error('rolled back')
    })
    expect((await rejection(failing)).message).to.equal('rolled back')
    expect(await entries()).to.have.length(0)
    // A change that cannot be recorded does not happen.
    await db.knex.schema.renameTable('audit_log', 'audit_log_away')
    try {
      expect(await rejection(asSystem(() => Ticket.query().findById(ticket.id).patch({ title: 'unrecorded' })))).to.be.instanceOf(Error)
    } finally {
      await db.knex.schema.renameTable('audit_log_away', 'audit_log')
    }
    expect((await asSystem(() => Ticket.query().findById(ticket.id)))?.title).to.equal('broken')
  })

  it('records only rows that a refused or partial write changed', async () => {
    const [mine, theirs] = [await open(), await asSystem(() => Ticket.create({ title: 'other', userId: agent.id }))]
    await db.knex('audit_log').delete()
    await runAs(ada, async () => {
      await Ticket.query().patch({ status: 'closed' })
      expect(await rejection(theirs.update({ status: 'closed' }))).to.include({ status: 403 })
    })
    const ids = (await entries()).map(({ rowId }) => rowId)
    expect(ids).to.include(mine.id).and.not.include(theirs.id)
  })

  it('follows check() in bulk updates', async () => {
    const [kept, changed] = await asSystem(async () => [await Judged.create({ text: 'kept' }), await Judged.create({ text: 'a' })])
    await db.knex('audit_log').delete()
    await runAs(ada, () => Judged.query().patch({ text: 'b' }))
    expect((await entries()).map(({ rowId }) => rowId)).to.deep.equal([changed?.id])
    expect((await asSystem(() => Judged.query().findById(kept?.id as string)))?.text).to.equal('kept')
  })

  it('records bulk writes in few statements, whatever the number of rows [promise 205]', async function () {
    this.timeout(30_000)
    const now = new Date()
    const rows = Array.from({ length: 200 }, (_, i) => ({ text: 't', rank: i, ticketId: null }))
    const statements = async (fn: () => PromiseLike<unknown>) => (await countQueries(db.knex, () => asSystem(fn))).statements.length
    if (db.dialect === 'pg') {
      // Objection inserts several rows at once on PostgreSQL only.
      expect(await statements(() => Note.query().insert(rows as never))).to.be.at.most(8)
      expect(await entries({ event: 'rowCreated' })).to.have.length(200)
    } else {
      const raw = rows.map(({ text, rank }, i) => {
        const made = db.dialect === 'sqlite' ? now.toISOString() : now
        return { id: `019aca54-0000-7000-8000-${String(i).padStart(12, '0')}`, text, rank, created_at: made, updated_at: made }
      })
      await db.knex('note').insert(raw)
    }
    const patched = await statements(() => Note.query().patch({ rank: Note.raw('?? + 1', ['rank']) as never }))
    expect(patched).to.be.at.most(9)
    expect(await entries({ event: 'rowUpdated' })).to.have.length(200)
    expect(
      (await entries({ event: 'rowUpdated' })).every(({ details }) => {
        const { before, after } = details as { before: { rank: number }; after: { rank: number } }
        return after.rank === before.rank + 1
      }),
    ).to.equal(true)
    const deleted = await statements(() => Note.query().delete())
    expect(deleted).to.be.at.most(9)
    expect(await entries({ event: 'rowDeleted' })).to.have.length(200)
  })

  it('stores only the columns of a list, and nothing if none of them changed', async () => {
    const note = await asSystem(() => Note.create({ text: 'a', rank: 1 }))
    await asSystem(() => note.update({ text: 'b' }))
    await asSystem(() => note.update({ text: 'c', rank: 2 }))
    const found = await entries()
    expect(found.map(({ details }) => details)).to.deep.equal([{ after: { rank: 1 } }, { before: { rank: 1 }, after: { rank: 2 } }])
  })

  it('records graph writes and writes through relations', async () => {
    const ticket = await open()
    await db.knex('audit_log').delete()
    await runAs(ada, async () => {
      await Ticket.query().upsertGraph({ id: ticket.id, title: 'by graph', notes: [{ text: 'n', rank: 1 }] } as never)
      const notes = () => ticket.$relatedQuery('notes' as never) as unknown as QueryBuilder<Note, Note[]>
      const [note] = await notes()
      await notes()
        .findById(note?.id ?? expect.fail('no note'))
        .patch({ rank: 5 })
    })
    const found = await entries()
    expect(found.map(({ event, rowTable }) => `${event} ${rowTable}`).sort()).to.deep.equal([
      'rowCreated note',
      'rowUpdated note',
      'rowUpdated ticket',
    ])
  })

  it('cuts long values', async () => {
    await open({ body: `${'x'.repeat(999)}😀 and more`, tags: ['y'.repeat(5000)] })
    const [entry] = await entries()
    const after = entry?.details?.['after'] as { body: string; tags: string }
    expect(after.body).to.equal(`${'x'.repeat(999)}…`)
    expect(after.tags).to.have.length(1001)
  })

  it('lets admins of a domain read the entries of its rows, but not of rows that changed domains [promise 206]', async () => {
    const [press, other] = await asSystem(async () => [await Domain.create({ name: 'press' }), await Domain.create({ name: 'other' })])
    const chief = await createUser({}, { role: Role.ADMIN, domain: press.id })
    await asSystem(async () => {
      const notice = await Notice.create({ text: 'ours', domainId: press.id })
      await notice.update({ text: 'still ours' })
      await Notice.query().findById(notice.id).patch({ domainId: other.id, text: 'theirs' })
      await Notice.create({ text: 'secret', domainId: other.id })
    })
    const seen = await runAs(chief, () => AuditLog.query().where({ rowTable: 'notice' }).orderBy('id'))
    expect(seen.map(({ event }) => event)).to.deep.equal(['rowCreated', 'rowUpdated'])
    expect(JSON.stringify(seen)).to.not.match(/theirs|secret/)
    expect(await runAs(ada, () => AuditLog.query().whereNotNull('rowId'))).to.deep.equal([])
  })

  it('records changes over HTTP with the address, and shows them to global admins', async () => {
    const { accessToken } = await signInAs({})
    const admin = await signInAs({}, { role: Role.ADMIN })
    const resources = [new CrudResource({ model: Ticket }), new CrudResource({ model: AuditLog, path: 'audit', methods: ['list'] })]
    const ask = clientOf(new Api({ resources }), perms)
    const made = await ask('POST', '/tickets', accessToken, { body: { title: 'by HTTP' } })
    expect(made.status).to.equal(201)
    const listed = await ask('GET', `/audit?rowId=${made.body.id}`, admin.accessToken)
    expect(listed.body.data).to.have.length(1)
    expect(listed.body.data[0]).to.include({ event: 'rowCreated', address: '127.0.0.1' })
    expect((await ask('GET', `/audit?rowId=${made.body.id}`, accessToken)).body.data).to.deep.equal([])
  })
})

describe('static audited, its options', () => {
  it('refuses columns that do not exist or are hidden', async () => {
    class Misspelled extends BasePermsModel.withColumns({ title: column.string(), pin: column.string().hidden() }) {
      static audited: unknown = ['titel']
    }
    class Hidden extends Misspelled {
      static override audited = ['pin']
    }
    expect((await rejection(Misspelled.canCreate({}, null))).message).to.include('title')
    expect((await rejection(Hidden.canCreate({}, null))).message).to.include('not hidden')
  })
})
