import { expect } from 'chai'
import {
  AuditLog,
  anyOf,
  asSystem,
  BasePermsModel,
  belongsTo,
  column,
  createTables,
  Domain,
  explain,
  HasUserMixin,
  initPerms,
  not,
  owner,
  type Perms,
  type Policy,
  Role,
  RowShare,
  related,
  role,
  runAs,
  ShareableMixin,
  SoftDeleteMixin,
  shared,
  transaction,
  type User,
  UserOwnershipMixin,
  whoCan,
} from '../../src/index.js'
import { createUser } from '../../src/testing/index.js'
import { countQueries, eachDatabase } from '../helpers/databases.js'
import { fieldsOf, rejection } from '../helpers/errors.js'

class Paper extends ShareableMixin(UserOwnershipMixin(BasePermsModel)).withColumns({
  title: column.string(),
  notes: column
    .string()
    .nullable()
    .readableBy(anyOf(owner(), shared('editor'))),
}) {
  static override shareRelations = ['viewer', 'editor', 'manager']
  static override policy: Policy<Paper> = {
    read: anyOf(owner(), shared('viewer')),
    update: anyOf(owner(), shared('editor')),
    delete: anyOf(owner(), shared('manager')),
    share: anyOf(owner(), shared('editor')),
    publish: shared('manager'),
  }
}

/** Numbered by the database, soft-deleted, and read through its paper. */
class Remark extends ShareableMixin(SoftDeleteMixin(HasUserMixin(BasePermsModel))).withColumns({
  id: column.integer(),
  text: column.string(),
  paperId: column.uuid().references('paper.id', { onDelete: 'cascade' }).nullable(),
}) {
  declare paper?: Paper
  static override relationMappings = { paper: belongsTo(() => Paper, 'paperId') }
  static override policy: Policy<Remark> = {
    read: anyOf(owner(), shared('viewer'), related('paper', shared('viewer'))),
    update: anyOf(owner(), shared('editor')),
    delete: owner(),
  }
}

/** Shared with all of a team, without owners. */
class Page extends ShareableMixin(BasePermsModel).withColumns({ code: column.string({ maxLength: 20 }).unique() }) {
  static override policy: Policy<Page> = {
    read: anyOf(role('staff'), shared('viewer')),
    update: role('staff'),
    share: anyOf(role('staff'), shared('viewer')),
  }
}

const HOUR = 3_600_000
const models = [Paper, Remark, Page]

eachDatabase('Sharing rows', (db) => {
  let perms: Perms
  let [ada, bob, cid, eve, admin]: User[] = []
  let press: Domain
  let paper: Paper
  before(async () => {
    perms = initPerms({ knex: db.knex, models, outsideContext: 'deny', auditLog: true })
    await perms.migrate()
    await createTables(db.knex, models)
    await asSystem(async () => {
      press = await Domain.create({ name: 'press', displayName: 'Press' })
    })
    ;[ada, bob, cid, eve] = [await createUser(), await createUser(), await createUser(), await createUser()]
    admin = await createUser({}, { role: Role.ADMIN })
  })
  beforeEach(async () => {
    await asSystem(async () => {
      await Page.query().delete()
      await Paper.query().delete()
      paper = await Paper.create({ title: 'Rye', notes: 'secret', userId: user(ada).id })
      await Paper.create({ title: 'Oats', userId: user(ada).id })
    })
  })
  after(() => perms.close())

  const user = (one: User | undefined) => one as User
  const as = <T>(one: User | undefined, fn: () => T) => runAs(user(one).id, fn)
  const titles = (one: User | undefined) => as(one, async () => (await Paper.query().orderBy('title')).map(({ title }) => title))
  const share = (by: User | undefined, to: Parameters<Paper['share']>[0], relation: string, options = {}) =>
    as(by, () => paper.share(to, relation, options))

  it('[promise 240] lets a user with whom a row is shared read it, and nothing else', async () => {
    expect(await titles(bob)).to.deep.equal([])
    await share(ada, user(bob), 'viewer')
    expect(await titles(bob)).to.deep.equal(['Rye'])
    await as(bob, async () => {
      expect(await Paper.query().resultSize()).to.equal(1)
      expect(await paper.can('read')).to.equal(true)
      expect(await paper.can('update')).to.equal(false)
      expect(await Paper.query().patch({ title: 'Mine' })).to.equal(0)
      const seen = await Paper.query().findById(paper.id)
      expect(seen?.toJSON()).not.to.have.property('notes')
    })
    expect(await titles(cid)).to.deep.equal([])
  })

  it('[promise 240] counts a relation that includes the asked one, and not the other way round', async () => {
    await share(ada, user(bob), 'editor')
    await as(bob, async () => {
      expect(await paper.can('read')).to.equal(true)
      expect(await paper.can('update')).to.equal(true)
      expect(await paper.can('delete')).to.equal(false)
      expect(await paper.can('publish')).to.equal(false)
      expect(await Paper.query().patch({ title: 'Barley' })).to.equal(1)
      expect((await Paper.query().findById(paper.id))?.notes).to.equal('secret')
    })
  })

  it('[promise 240] shares with the holders of a role and with the members of a domain', async () => {
    await as(bob, () => undefined)
    const editor = await createUser({}, { role: 'editor' })
    const author = await createUser({}, { role: 'author', domain: 'press' })
    await asSystem(() => paper.share({ role: 'editor' }, 'viewer'))
    expect([await titles(editor), await titles(author)]).to.deep.equal([['Rye'], []])
    await asSystem(() => paper.unshare({ role: 'editor' }))
    await asSystem(() => paper.share({ role: 'author', domain: 'press' }, 'viewer'))
    expect([await titles(editor), await titles(author)]).to.deep.equal([[], ['Rye']])
    await asSystem(() => paper.unshare({ role: 'author', domain: 'press' }))
    await asSystem(() => paper.share(press, 'editor'))
    expect([await titles(editor), await titles(author)]).to.deep.equal([[], ['Rye']])
    expect(await as(author, () => Paper.query().patch({ title: 'Rye' }))).to.equal(1)
    await asSystem(() => press.update({ active: false }))
    expect(await titles(author)).to.deep.equal([])
    expect(await as(author, () => Paper.query().patch({ title: 'Rye' }))).to.equal(0)
    await asSystem(() => press.update({ active: true }))
  })

  it('[promise 240] looks the role of a share up again in a write', async () => {
    const editor = await createUser({}, { role: 'editor' })
    await asSystem(() => paper.share({ role: 'editor' }, 'editor'))
    const changed = await runAs(editor, async () => {
      await asSystem(() => editor.revokeRole('editor'))
      return await Paper.query().patch({ title: 'Late' })
    })
    expect(changed).to.equal(0)
  })

  it('[promise 240] counts superadmins as holders of the role admin', async () => {
    const root = await createUser({}, { role: Role.SUPERADMIN })
    const page = await asSystem(async () => await Page.create({ code: 'root' }))
    await asSystem(() => page.share({ role: Role.ADMIN }, 'viewer'))
    expect((await asSystem(() => whoCan('read', page))).map(({ id }) => id)).to.include.members([root.id, user(admin).id])
    await asSystem(() => page.delete())
  })

  it('[promise 240] ends with its expiry, to the millisecond', async () => {
    const expiresAt = new Date(Date.now() + 400)
    await share(ada, user(bob), 'editor', { expiresAt })
    expect(await titles(bob)).to.deep.equal(['Rye'])
    await new Promise((done) => setTimeout(done, expiresAt.getTime() - Date.now() + 20))
    expect(await titles(bob)).to.deep.equal([])
    expect(await as(bob, () => Paper.query().patch({ title: 'Late' }))).to.equal(0)
    expect(await as(ada, () => paper.shares())).to.deep.equal([])
    expect(await asSystem(async () => (await whoCan('read', paper)).map(({ id }) => id))).not.to.include(user(bob).id)
    const again = await share(ada, user(bob), 'viewer')
    expect(again.expiresAt).to.equal(null)
    expect(await titles(bob)).to.deep.equal(['Rye'])
  })

  it('[promise 241] has one share per subject: sharing again replaces the relation and the expiry', async () => {
    const first = await share(ada, user(bob), 'viewer')
    const same = await share(ada, user(bob), 'viewer')
    expect(same.id).to.equal(first.id)
    const expiresAt = new Date(Date.now() + HOUR)
    const changed = await share(ada, user(bob), 'editor', { expiresAt })
    expect(changed.id).to.equal(first.id)
    const shares = await as(ada, () => paper.shares())
    expect(shares.map(({ userId, relation, sharedById }) => ({ userId, relation, sharedById }))).to.deep.equal([
      { userId: user(bob).id, relation: 'editor', sharedById: user(ada).id },
    ])
    expect(shares[0]?.expiresAt?.getTime()).to.equal(expiresAt.getTime())
  })

  it('[promise 241] makes one share of calls at the same moment', async () => {
    const relations = ['viewer', 'editor', 'manager', 'viewer', 'editor']
    await Promise.all(relations.map((relation) => share(ada, user(bob), relation)))
    expect(await asSystem(() => paper.shares())).to.have.lengthOf(1)
  })

  it('[promise 241] ends a share, and says whether there was one', async () => {
    await share(ada, user(bob), 'viewer')
    expect(await as(ada, () => paper.unshare(user(bob)))).to.equal(true)
    expect(await as(ada, () => paper.unshare(user(bob)))).to.equal(false)
    expect(await titles(bob)).to.deep.equal([])
  })

  it('[promise 241] refuses callers without the action share, and hides rows that they may not read', async () => {
    await share(ada, user(bob), 'viewer')
    const attempts = (one: User | undefined) => [
      () => share(one, user(cid), 'viewer'),
      () => as(one, () => paper.unshare(user(ada))),
      () => as(one, () => paper.shares()),
    ]
    for (const attempt of attempts(bob)) expect((await rejection(attempt())).name).to.equal('ForbiddenError')
    for (const attempt of attempts(eve)) expect((await rejection(attempt())).name).to.equal('NotFoundError')
    expect(await as(admin, () => paper.share(user(cid), 'manager'))).to.include({ relation: 'manager' })
  })

  it('[promise 241] lets nobody give or take more than they have', async () => {
    await share(ada, user(bob), 'editor')
    expect((await rejection(share(bob, user(cid), 'manager'))).message).to.match(
      /relation manager to this Paper, because you do not have it/,
    )
    expect((await rejection(share(bob, user(bob), 'manager'))).name).to.equal('ForbiddenError')
    await share(bob, user(cid), 'editor')
    await share(ada, user(eve), 'manager')
    for (const attempt of [() => share(bob, user(eve), 'viewer'), () => as(bob, () => paper.unshare(user(eve)))])
      expect((await rejection(attempt())).name).to.equal('ForbiddenError')
    expect(await as(eve, () => paper.can('delete'))).to.equal(true)
    await as(ada, () => paper.unshare(user(bob)))
    expect((await rejection(share(bob, user(eve), 'viewer'))).name).to.equal('NotFoundError')
  })

  it('[promise 241] lets nobody share for longer than their own share lasts', async () => {
    const expiresAt = new Date(Date.now() + HOUR)
    await share(ada, user(bob), 'editor', { expiresAt })
    const inherited = await share(bob, user(cid), 'viewer')
    expect(inherited.expiresAt?.getTime()).to.equal(expiresAt.getTime())
    for (const later of [new Date(expiresAt.getTime() + 1), null]) {
      const error = await rejection(share(bob, user(cid), 'viewer', { expiresAt: later }))
      expect(fieldsOf(error)).to.deep.equal(['expiresAt'])
      expect(error.message).to.contain(expiresAt.toISOString())
    }
    const sooner = new Date(Date.now() + 1000)
    expect((await share(bob, user(cid), 'viewer', { expiresAt: sooner })).expiresAt?.getTime()).to.equal(sooner.getTime())
  })

  it('[promise 241] lets those who may update a row without any share give every relation, also without an owner', async () => {
    const staff = await createUser({}, { role: 'staff' })
    const page = await asSystem(async () => await Page.create({ code: 'a' }))
    await as(staff, () => page.share(user(bob), 'viewer'))
    expect((await rejection(as(bob, () => page.share(user(cid), 'editor')))).name).to.equal('ForbiddenError')
    await as(staff, () => page.share(user(bob), 'editor'))
    await as(bob, () => page.share(user(cid), 'editor'))
    expect((await as(staff, () => page.shares())).map(({ relation }) => relation)).to.deep.equal(['editor', 'editor'])
  })

  it('[promise 241] lets users end shares with themselves', async () => {
    await share(ada, user(bob), 'viewer')
    expect(await as(bob, () => paper.unshare(user(bob)))).to.equal(true)
    expect(await titles(bob)).to.deep.equal([])
  })

  it('[promise 241] answers alike for users who do not exist and users whom the caller may not read', async () => {
    const errors = [
      await rejection(share(ada, { userId: user(bob).id }, 'viewer')),
      await rejection(share(ada, { userId: '01890000-0000-7000-8000-000000000000' }, 'viewer')),
      await rejection(share(ada, 'no id', 'viewer')),
    ]
    for (const error of errors) {
      expect(error.name).to.equal('MissingReferenceError')
      expect(error.message).to.equal(errors[0]?.message)
      expect(fieldsOf(error)).to.deep.equal(['userId'])
    }
    const places = [
      await rejection(share(ada, { domain: 'press' }, 'viewer')),
      await rejection(share(ada, { domain: 'nowhere' }, 'viewer')),
      await rejection(share(ada, { role: 'author', domain: press }, 'viewer')),
    ]
    for (const error of places) expect(fieldsOf(error)).to.deep.equal(['domainId'])
    expect(await as(ada, () => paper.unshare('01890000-0000-7000-8000-000000000000'))).to.equal(false)
    expect(await asSystem(() => paper.share({ userId: user(bob).id }, 'viewer'))).to.include({ userId: user(bob).id })
    expect(await as(ada, () => paper.unshare(user(bob).id))).to.equal(true)
  })

  it('[promise 241] refuses relations, subjects and expiries that make no sense', async () => {
    const unknown = await rejection(share(ada, user(bob), 'editr'))
    expect(unknown.message).to.match(/viewer, editor, manager/)
    expect(fieldsOf(unknown)).to.deep.equal(['relation'])
    const bad: readonly [unknown, string][] = [
      [{}, 'userId'],
      [{ userId: user(bob).id, role: 'editor' }, 'userId'],
      [null, 'userId'],
      [{ role: '' }, 'role'],
      [{ role: 'ADMIN' }, 'role'],
      [['x'], 'userId'],
    ]
    for (const [subject, field] of bad) expect(fieldsOf(await rejection(share(ada, subject as never, 'viewer')))).to.deep.equal([field])
    for (const expiresAt of [new Date(Date.now() - 1), new Date(Number.NaN), 'soon'])
      expect(fieldsOf(await rejection(share(ada, user(bob), 'viewer', { expiresAt })))).to.deep.equal(['expiresAt'])
    expect((await rejection(share(ada, user(bob), 'viewer', { until: new Date() }))).message).to.match(/until/)
    expect((await rejection(as(ada, () => Paper.build({ title: 'new' }).share(user(bob), 'viewer')))).name).to.equal('ValidationError')
  })

  it('[promise 242] removes the shares of rows that are deleted for good, in every way', async () => {
    const count = () => asSystem(async () => await RowShare.query().resultSize())
    const remarks = await asSystem(async () => [
      await Remark.create({ text: 'a', userId: user(ada).id }),
      await Remark.create({ text: 'b', userId: user(ada).id }),
    ])
    await asSystem(async () => {
      for (const remark of remarks) await remark.share(user(bob), 'viewer')
      await paper.share(user(bob), 'viewer')
    })
    expect(await count()).to.equal(3)
    await as(eve, () => Paper.query().deleteById(paper.id))
    expect(await count()).to.equal(3)
    await as(ada, () => paper.delete())
    expect(await count()).to.equal(2)
    await as(ada, () => remarks[0]?.delete())
    expect(await count()).to.equal(2)
    await as(ada, () => remarks[0]?.restore())
    expect(await as(bob, () => Remark.query().resultSize())).to.equal(2)
    await as(ada, () => remarks[0]?.hardDelete())
    expect(await count()).to.equal(1)
    await asSystem(() => remarks[1]?.hardDelete())
    expect(await count()).to.equal(0)
    const papers = await asSystem(
      async () => await Paper.query().insertGraphAndFetch([1, 2, 3].map((n) => ({ title: `p${n}`, userId: user(ada).id }))),
    )
    await asSystem(() => Promise.all(papers.map((one) => one.share(user(bob), 'viewer'))))
    await as(ada, () => Paper.query().delete().whereNot('title', 'p3'))
    expect(await count()).to.equal(1)
    await rejection(
      asSystem(() =>
        transaction(async () => {
          await Paper.query().delete()
          throw new Error('undo')
        }),
      ),
    )
    expect(await count()).to.equal(1)
    await asSystem(() => Paper.query().delete())
    expect(await count()).to.equal(0)
  })

  it('[promise 242] gives no new row or user the shares of an earlier one', async () => {
    await asSystem(() => paper.share(user(bob), 'viewer'))
    // A statement outside the library leaves the share.
    await db.knex('paper').where('id', paper.id).delete()
    await asSystem(async () => await Paper.create({ id: paper.id, title: 'New', userId: user(ada).id }))
    expect(await titles(bob)).to.deep.equal([])
    const dan = await createUser()
    await asSystem(async () => {
      await (await Paper.query().findById(paper.id))?.share(dan, 'viewer')
      await dan.delete()
    })
    const next = await createUser({ id: dan.id })
    expect(await titles(next)).to.deep.equal([])
  })

  it('[promise 242] allows nothing to anonymous callers, disabled users and holders of no share', async () => {
    await share(ada, user(bob), 'manager')
    await asSystem(() => user(bob).update({ isEnabled: false }))
    expect(await titles(bob)).to.deep.equal([])
    expect((await asSystem(() => whoCan('read', paper))).map(({ id }) => id)).not.to.include(user(bob).id)
    await asSystem(() => user(bob).update({ isEnabled: true }))
    expect(await titles(bob)).to.deep.equal(['Rye'])
  })

  it('[promise 240] follows shares of related rows, and agrees for every caller with whoCan()', async () => {
    const remark = await asSystem(async () => await Remark.create({ text: 'r', userId: user(ada).id, paperId: paper.id }))
    await asSystem(() => paper.share(user(bob), 'viewer'))
    await asSystem(() => remark.share(user(cid), 'editor'))
    for (const action of ['read', 'update', 'delete', 'share']) {
      const expected: string[] = []
      for (const one of [ada, bob, cid, eve, admin]) if (await remark.can(action, user(one))) expected.push(user(one).id)
      const asked = await asSystem(
        async () =>
          await whoCan(action, remark).whereIn(
            'id',
            [ada, bob, cid, eve, admin].map((one) => user(one).id),
          ),
      )
      expect(asked.map(({ id }) => id).sort(), action).to.deep.equal(expected.sort())
    }
    await asSystem(() => remark.hardDelete())
  })

  it('[promise 240] is explained with the truth of the share', async () => {
    await share(ada, user(bob), 'viewer')
    const why = await explain(Paper, 'update', bob ?? null, paper)
    expect(why.allowed).to.equal(false)
    expect(JSON.stringify(why.tree)).to.match(/users with whom the row is shared as viewer/)
    expect(why.counterfactuals.map(({ words }) => words.replaceAll(user(bob).email, 'bob'))).to.include(
      'if the row were shared with bob as editor',
    )
    const may = await explain(Paper, 'read', bob ?? null, paper)
    expect([may.allowed, may.counterfactuals.map(({ words }) => words.replaceAll(user(bob).email, 'bob'))]).to.deep.equal([
      true,
      ['if the row were not shared with bob'],
    ])
    const twice = await explain(Paper, 'update', cid ?? null, paper)
    expect(twice.counterfactuals.map(({ words }) => words.replaceAll(user(cid).email, 'cid'))).to.include(
      'if the row were shared with cid as editor',
    )
    expect(explain(Paper, 'read', bob ?? null).words).to.contain('users with whom the row is shared as viewer')
  })

  it('[promise 243] stores who shared what with whom in the audit log, in the transaction of the share', async () => {
    await asSystem(async () => await db.knex('audit_log').delete())
    const expiresAt = new Date(Date.now() + HOUR)
    await share(ada, user(bob), 'viewer')
    await share(ada, user(bob), 'viewer')
    await share(ada, user(bob), 'editor', { expiresAt })
    await as(ada, () => paper.unshare(user(bob)))
    await rejection(
      as(ada, () =>
        transaction(async () => {
          await paper.share(user(cid), 'viewer')
          throw new Error('undo')
        }),
      ),
    )
    const entries = await asSystem(
      async () => await AuditLog.query().whereIn('event', ['rowShared', 'rowUnshared']).orderBy('createdAt').orderBy('id'),
    )
    const about = { actorId: user(ada).id, subjectId: user(bob).id, rowTable: 'paper', rowId: paper.id }
    for (const entry of entries) expect(entry).to.include(about)
    const later = expiresAt.toISOString()
    expect(entries.map(({ event, details }) => [event, details])).to.deep.equal([
      ['rowShared', { relation: 'viewer', expiresAt: null }],
      ['rowShared', { relation: 'editor', expiresAt: later, before: { relation: 'viewer', expiresAt: null } }],
      ['rowUnshared', { relation: 'editor', expiresAt: later }],
    ])
  })

  it('[promise 240] takes one statement for a list', async () => {
    await share(ada, user(bob), 'viewer')
    await as(bob, async () => {
      const { statements } = await countQueries(db.knex, async () => await Paper.query())
      expect(statements).to.have.lengthOf(1)
    })
  })

  it('[promise 241] joins a transaction that the application began, and is undone with it', async () => {
    await as(ada, async () => {
      await rejection(
        db.knex.transaction(async (trx) => {
          await paper.share(user(bob), 'viewer', {}, trx)
          expect(await paper.shares(trx)).to.have.lengthOf(1)
          throw new Error('undo')
        }),
      )
      expect(await paper.shares()).to.deep.equal([])
      await paper.share(user(bob), 'viewer')
      await db.knex.transaction(async (trx) => {
        expect(await paper.unshare(user(bob), trx)).to.equal(true)
      })
      expect(await paper.shares()).to.deep.equal([])
    })
  })

  it('[promise 240] is the opposite under not(), for rows without shares too', async () => {
    class Hidden extends Paper {
      static override policy: Policy<Hidden> = { read: not(shared('viewer')) }
    }
    await share(ada, user(bob), 'viewer')
    expect(await as(bob, async () => (await Hidden.query()).map(({ title }) => title))).to.deep.equal(['Oats'])
  })
})
