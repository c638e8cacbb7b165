import { expect } from 'chai'
import { Model, raw } from 'objection'
import {
  allOf,
  anyOf,
  asAnonymous,
  asSystem,
  authenticated,
  BasePermsModel,
  check,
  column,
  createTables,
  everyone,
  HasUserMixin,
  owner,
  type Perms,
  Role,
  runAs,
  SoftDeleteMixin,
  Token,
  transaction,
  type User,
  UserOwnershipMixin,
  where,
} from '../../src/index.js'
import { runAsActor } from '../../src/policy/context.js'
import { toActor } from '../../src/users/caller/actor.js'
import { eachDatabase } from '../helpers/databases.js'
import { Closed, Comment, Doc, makeUser, Notice, openWorld, Project } from './world.js'

const docColumns = { title: column.string(), state: column.string().default('draft'), size: column.integer().default(0) }

/** Owners change drafts, and may publish them. */
class Draft extends HasUserMixin(BasePermsModel).withColumns(docColumns) {
  static override policy = {
    read: everyone(),
    create: owner(),
    update: { from: allOf(owner(), where({ state: 'draft' })), to: where({ state: ['draft', 'published'] }) },
    delete: ownerInState('draft'),
  }
}
function ownerInState(state: string) {
  return allOf(owner(), where({ state }))
}

/** Its update rule must hold before and after an update. */
class Note extends HasUserMixin(BasePermsModel).withColumns(docColumns) {
  static override policy = { read: everyone(), create: authenticated(), update: where({ state: 'draft' }), delete: owner() }
}

/** Has a hook and a default value that change what the rules see. */
class Hooked extends HasUserMixin(BasePermsModel).withColumns({ ...docColumns, kind: column.string().default('secret') }) {
  static override policy = { read: everyone(), create: where({ kind: 'plain' }), update: where({ state: 'draft' }) }
  override async $beforeUpdate(options: any, context: any): Promise<void> {
    await super.$beforeUpdate(options as never, context as never)
    if (this.title === 'publish') this.state = 'published'
  }
}

/** A ticket refers to a seat by two columns. */
class Seat extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ hall: column.string(), place: column.integer() }) {}
class Ticket extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  hall: column.string().nullable(),
  place: column.integer().nullable(),
}) {
  static override relationMappings = () => ({
    seat: {
      relation: Model.BelongsToOneRelation,
      modelClass: Seat,
      join: { from: ['ticket.hall', 'ticket.place'], to: ['seat.hall', 'seat.place'] },
    },
  })
}

/** Its rules are functions: check(). */
const asked: string[] = []
class Judged extends HasUserMixin(BasePermsModel).withColumns(docColumns) {
  static override policy = {
    read: everyone(),
    create: check((row: any) => row.title !== 'bad'),
    update: {
      from: check((row: any) => {
        asked.push(row.title)
        if (row.title === 'throws') throw new Error('broken')
        return row.size < 10
      }),
      to: check((row: any) => row.size < 100),
    },
    delete: anyOf(
      everyone(),
      check(() => {
        throw new Error('broken')
      }),
    ),
  }
}

/** An update may change a row so that its author can no longer read it. */
class Archived extends HasUserMixin(BasePermsModel).withColumns(docColumns) {
  static override policy = {
    read: where({ state: 'draft' }),
    create: authenticated(),
    update: { from: everyone(), to: check((row: any) => row.size < 100) },
  }
}

/** Every caller may update a row, only its owner may delete it. */
class Kept extends SoftDeleteMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {
  static override policy = { read: everyone(), create: authenticated(), update: everyone(), delete: owner() }
}

/** A row may have no owner. */
class Loose extends HasUserMixin(BasePermsModel).withColumns({ title: column.string() }) {
  static override userIdNullable = true
  static override policy = { read: owner(), create: owner(), update: owner() }
}

const models = [Draft, Note, Hooked, Judged, Archived, Kept, Loose]

async function nameOf(run: () => unknown): Promise<string> {
  try {
    await run()
    return 'done'
  } catch (error) {
    return (error as Error).name
  }
}

eachDatabase('writes under permissions', (db) => {
  let perms: Perms
  let ada: User
  let bob: User
  let admin: User
  let superadmin: User
  const rowsOf = (cls: any) => asSystem(() => cls.query().orderBy('id'))

  before(async function () {
    this.timeout(60_000)
    perms = await openWorld(db.knex)
    await createTables(db.knex, [...models, Seat, Ticket])
    ada = await makeUser('ada')
    bob = await makeUser('bob')
    admin = await makeUser('admin', [[Role.ADMIN]])
    superadmin = await makeUser('root', [[Role.SUPERADMIN]])
  })
  after(() => perms?.close())
  afterEach(async () => {
    for (const cls of [...models, Doc, Comment, Notice, Project]) await asSystem(() => (cls as typeof Doc).query().delete())
    await asSystem(() => (Kept.query() as unknown as { withDeleted(): ReturnType<typeof Kept.query> }).withDeleted().delete())
  })

  const make = (cls: any, values: object) => asSystem(() => cls.create({ title: 'a', userId: ada.id, ...values }))

  describe('the result of an update', () => {
    it('[promise 34] is refused and rolled back when the rule does not hold for it', async () => {
      const row = await make(Note, {})
      expect(await nameOf(() => runAs(ada, () => Note.query().findById(row.id).patch({ state: 'published' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Note.query().patch({ state: 'published' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Note.query().patch({ state: raw("'published'") })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => row.update({ state: 'published' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => row.$query().patch({ state: 'published' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Note.query().patchAndFetchById(row.id, { state: 'published' })))).to.equal(
        'ForbiddenError',
      )
      expect((await rowsOf(Note))[0].state).to.equal('draft')
    })

    it('[promise 34] is not stored when a transaction of the application catches the error and commits', async () => {
      const row = await make(Note, {})
      await runAs(ada, () =>
        transaction(async () => {
          await Note.query().findById(row.id).patch({ title: 'kept' })
          expect(await nameOf(() => Note.query().findById(row.id).patch({ state: 'published' }))).to.equal('ForbiddenError')
          expect(await nameOf(() => Note.create({ title: 'x', userId: bob.id }))).to.equal('ForbiddenError')
          expect(await nameOf(() => Doc.create({ title: 'x', userId: bob.id }))).to.equal('ForbiddenError')
        }),
      )
      const rows = await rowsOf(Note)
      expect(rows.map(({ title, state }: any) => [title, state])).to.deep.equal([['kept', 'draft']])
      expect(await rowsOf(Doc)).to.have.length(0)
    })

    it('[promise 34] is not stored in a transaction that is passed as an argument', async () => {
      const row = await make(Note, {})
      await runAs(ada, () =>
        db.knex.transaction(async (trx) => {
          expect(await nameOf(() => Note.query(trx).findById(row.id).patch({ state: 'published' }))).to.equal('ForbiddenError')
          expect(await nameOf(() => Note.create({ title: 'x', userId: bob.id }, trx))).to.equal('ForbiddenError')
        }),
      )
      expect((await rowsOf(Note)).map(({ state }: any) => state)).to.deep.equal(['draft'])
    })

    it('[promise 34] is checked with the columns that a hook sets', async () => {
      const row = await make(Hooked, {})
      expect(await nameOf(() => runAs(ada, () => Hooked.query().findById(row.id).patch({ title: 'publish' })))).to.equal('ForbiddenError')
      expect((await rowsOf(Hooked))[0].state).to.equal('draft')
    })

    it('[promise 34] is refused when it has another id', async () => {
      const row = await make(Note, {})
      const id = '01900000-0000-7000-8000-000000000001'
      expect(await nameOf(() => runAs(ada, () => Note.query().findById(row.id).patch({ id, state: 'published' })))).to.equal(
        'ForbiddenError',
      )
      expect(await nameOf(() => runAs(ada, () => Note.query().patch({ id, title: 'x' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Note.query().patch({ id: raw('id') })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => row.$query().patch({ id: row.id, title: 'same' })))).to.equal('done')
      expect((await rowsOf(Note)).map((one: any) => [one.id, one.state])).to.deep.equal([[row.id, 'draft']])
    })

    it('follows { from, to } when an update may change the state', async () => {
      const row = await make(Draft, {})
      await runAs(ada, () => row.update({ state: 'published' }))
      expect((await rowsOf(Draft))[0].state).to.equal('published')
      expect(await nameOf(() => runAs(ada, () => row.update({ title: 'too late' })))).to.equal('ForbiddenError')
      const other = await make(Draft, {})
      expect(await nameOf(() => runAs(ada, () => other.update({ state: 'gone' })))).to.equal('ForbiddenError')
    })

    it('[promise 34] check() in update.to also decides about rows that the caller can no longer read', async () => {
      const mine = await runAs(ada, () => Archived.create({ title: 'x' }))
      expect(await nameOf(() => runAs(ada, () => mine.$query().patch({ state: 'archived', size: 100 } as never)))).to.equal(
        'ForbiddenError',
      )
      expect(await nameOf(() => runAs(ada, () => Archived.query().patch({ state: 'archived', size: 100 } as never)))).to.equal(
        'ForbiddenError',
      )
      expect(
        await runAs(ada, () =>
          Archived.query()
            .findById(mine.id)
            .patch({ state: 'archived', size: 99 } as never),
        ),
      ).to.equal(1)
    })

    it('[promise 34] is also checked by code in update.to', async () => {
      const row = await make(Judged, {})
      expect(await nameOf(() => runAs(ada, () => row.update({ size: 100 })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Judged.query().patch({ size: 100 })))).to.equal('ForbiddenError')
      expect((await rowsOf(Judged))[0].size).to.equal(0)
      await runAs(ada, () => row.update({ size: 50 }))
      expect((await rowsOf(Judged))[0].size).to.equal(50)
    })
  })

  describe('a created row', () => {
    it('[promise 34] cannot belong to another user, whatever the create rule allows', async () => {
      for (const values of [{ userId: bob.id }, { userId: superadmin.id }]) {
        expect(await nameOf(() => runAs(ada, () => Note.create({ title: 'x', ...values })))).to.equal('ForbiddenError')
      }
      expect(await nameOf(() => runAs(ada, () => Note.query().insert({ title: 'x', userId: raw('?', bob.id) })))).to.equal('ForbiddenError')
      expect(await rowsOf(Note)).to.have.length(0)
      const own = await runAs(ada, () => Note.create({ title: 'x' }))
      expect(own.userId).to.equal(ada.id)
    })

    it('[promise 39] may belong to another user if an admin creates it, but not to a superadmin', async () => {
      expect(await nameOf(() => runAs(admin, () => Note.create({ title: 'x', userId: superadmin.id })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(admin, () => Note.create({ title: 'x', userId: ada.id })))).to.equal('done')
      const row = await make(Note, {})
      expect(await nameOf(() => runAs(admin, () => row.update({ userId: superadmin.id })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(admin, () => row.update({ userId: bob.id })))).to.equal('done')
      expect(await nameOf(() => runAs(superadmin, () => row.update({ userId: admin.id })))).to.equal('done')
    })

    it('[promise 34] is checked with its default values', async () => {
      expect(await nameOf(() => runAs(ada, () => Hooked.create({ title: 'x' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Hooked.create({ title: 'x', kind: 'plain' })))).to.equal('done')
      expect(await nameOf(() => runAs(ada, () => Hooked.query().insert({ title: 'x', kind: raw("'plain'") })))).to.equal('ForbiddenError')
    })

    it('[promise 37] belongs to no caller if it has no owner', async () => {
      const row = await make(Loose, { userId: null })
      expect(await asAnonymous(() => Loose.query())).to.have.length(0)
      expect(await runAs(ada, () => Loose.query())).to.have.length(0)
      expect(await runAs(ada, () => Loose.query().patch({ title: 'x' }))).to.equal(0)
      expect(await nameOf(() => asAnonymous(() => Loose.create({ title: 'x', userId: null as never })))).to.equal('ForbiddenError')
      expect(await nameOf(() => asAnonymous(() => Loose.create({ title: 'x' })))).to.equal('ForbiddenError')
      expect(await asAnonymous(() => row.canRead())).to.equal(false)
    })

    it('is allowed exactly when canCreate() returns true', async () => {
      const cases: [any, object][] = [
        [Note, {}],
        [Note, { userId: bob.id }],
        [Hooked, {}],
        [Hooked, { kind: 'plain' }],
        [Draft, {}],
        [Judged, { title: 'bad' }],
        [Doc, { projectId: '01900000-0000-7000-8000-000000000001' }],
      ]
      for (const [cls, values] of cases) {
        const row = { title: 'x', ...values }
        const isAllowed = await runAs(ada, () => cls.canCreate(row))
        expect(await cls.canCreate(row, ada), `${cls.name} for a user given`).to.equal(isAllowed)
        const outcome = await nameOf(() => runAs(ada, () => cls.create(row)))
        expect(isAllowed, `${cls.name} ${JSON.stringify(values)}`).to.equal(outcome === 'done')
      }
      expect(await Note.canCreate({ title: 'x' }, null)).to.equal(false)
    })
  })

  describe('references', () => {
    it('[promise 34] to an unreadable row give the same error as to a missing row', async () => {
      const hidden = await asSystem(() => Project.create({ name: 'p', userId: bob.id }))
      const answer = async (projectId: string) => {
        try {
          await runAs(ada, () => Doc.create({ title: 'x', projectId }))
          return 'done'
        } catch (error) {
          const { name, message, errors } = error as { name: string; message: string; errors: unknown }
          return JSON.stringify({ name, message, errors })
        }
      }
      const missing = await answer('01900000-0000-7000-8000-000000000001')
      expect(missing).to.include('MissingReferenceError')
      expect(await answer(hidden.id)).to.equal(missing)
      const mine = await runAs(ada, () => Project.create({ name: 'p' }))
      expect(await answer(mine.id)).to.equal('done')
    })

    it('[promise 36] do not reveal the row in which they are set to a caller who may not read it', async () => {
      const theirs = await make(Doc, { userId: bob.id })
      const patch = { projectId: '01900000-0000-7000-8000-000000000001' }
      expect(await nameOf(() => runAs(ada, () => theirs.update(patch)))).to.equal('NotFoundError')
      expect(await runAs(ada, () => Doc.query().findById(theirs.id).patch(patch))).to.equal(0)
    })

    it('[promise 34] of several columns are checked together', async () => {
      await asSystem(async () => {
        await Seat.create({ hall: 'A', place: 1, userId: bob.id } as never)
        await Seat.create({ hall: 'B', place: 2, userId: ada.id } as never)
      })
      const refused = (values: object) => nameOf(() => runAs(ada, () => Ticket.query().insert(values as never)))
      expect(await refused({ hall: 'A', place: 1 })).to.equal('MissingReferenceError')
      expect(await refused({ hall: 'Z', place: 1 })).to.equal('MissingReferenceError')
      await runAs(ada, async () => {
        const ticket = await Ticket.query().insert({ hall: 'B', place: 2 } as never)
        await Ticket.query().insert({ hall: 'A' } as never)
        expect(await nameOf(() => ticket.$query().patch({ hall: 'A', place: 1 } as never))).to.equal('MissingReferenceError')
        expect(await nameOf(() => ticket.$query().patch({ hall: 'A' } as never))).to.equal('MissingReferenceError')
        expect(await nameOf(() => ticket.$relatedQuery('seat').relate({ hall: 'A', place: 1 } as never))).to.equal('MissingReferenceError')
        await ticket.$query().patch({ hall: null } as never)
        await ticket.$query().patch({ hall: 'B', place: 2 } as never)
      })
    })

    it('[promise 34] that only a relation declares may not be raw expressions either', async () => {
      const theirs = await make(Doc, { userId: bob.id })
      const values = { docId: raw('?', theirs.id) } as never
      await runAs(ada, async () => {
        const mine = await Notice.query().insert({ title: 'x' } as never)
        expect(await nameOf(() => mine.$query().patch(values))).to.equal('ForbiddenError')
        expect(await nameOf(() => Notice.query().insert({ title: 'x', docId: raw('?', theirs.id) } as never))).to.equal('ForbiddenError')
      })
    })

    it('[promise 34] by raw expressions are refused', async () => {
      const mine = await make(Doc, {})
      for (const name of ['projectId', 'parentId', 'userId']) {
        expect(await nameOf(() => runAs(ada, () => mine.$query().patch({ [name]: raw('?', bob.id) })))).to.equal('ForbiddenError')
        expect(await nameOf(() => runAs(ada, () => Doc.query().insert({ title: 'x', [name]: raw('?', bob.id) })))).to.equal(
          'ForbiddenError',
        )
      }
    })
  })

  describe('code in rules', () => {
    it('decides row by row in a bulk write, up to a limit of rows', async () => {
      await asSystem(async () => {
        for (const size of [1, 5, 10, 20]) await Judged.create({ title: 'x', size, userId: ada.id })
      })
      expect(await runAs(ada, () => Judged.query().patch({ title: 'y' }))).to.equal(2)
      expect((await rowsOf(Judged)).filter(({ title }: any) => title === 'y').map(({ size }: any) => size)).to.have.members([1, 5])
      await db.knex.batchInsert(
        'judged',
        Array.from({ length: 1001 }, (_, i) => ({
          id: `01900000-0000-7000-8000-${String(i).padStart(12, '0')}`,
          created_at: (db.dialect === 'sqlite' ? Date.now() : new Date()) as never,
          updated_at: (db.dialect === 'sqlite' ? Date.now() : new Date()) as never,
          user_id: ada.id,
          title: 'x',
          state: 'draft',
          size: 1,
        })),
        100,
      )
      expect(await nameOf(() => runAs(ada, () => Judged.query().patch({ title: 'z' })))).to.equal('ValidationError')
      expect(await runAs(ada, () => Judged.query().patch({ title: 'z' }).where('size', 5))).to.equal(1)
    })

    it('[promise 29] that throws denies, whatever rule contains it', async () => {
      const row = await make(Judged, { title: 'throws' })
      expect(await nameOf(() => runAs(ada, () => row.update({ size: 1 })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => row.delete()))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Judged.query().delete()))).to.equal('ForbiddenError')
      expect(await runAs(ada, () => row.canWrite())).to.equal(false)
      expect(await runAs(ada, () => row.canDelete())).to.equal(false)
      expect(await rowsOf(Judged)).to.have.length(1)
    })
  })

  describe('refusals', () => {
    it('[promise 36] are NotFoundError for an unreadable row and ForbiddenError for a readable one', async () => {
      const hidden = await make(Doc, { userId: bob.id })
      const shown = await make(Notice, { userId: bob.id })
      for (const write of [
        (row: any) => row.update({ title: 'x' }),
        (row: any) => row.delete(),
        (row: any) => row.$query().patch({ title: 'x' }),
        (row: any) => row.$query().delete(),
      ]) {
        expect(await nameOf(() => runAs(ada, () => write(hidden)))).to.equal('NotFoundError')
        expect(await nameOf(() => runAs(ada, () => write(shown)))).to.equal('ForbiddenError')
      }
      expect(await nameOf(() => runAs(ada, () => Notice.query().findById(shown.id).patch({ title: 'x' })))).to.equal('ForbiddenError')
      expect(await nameOf(() => runAs(ada, () => Notice.query().deleteById(shown.id)))).to.equal('ForbiddenError')
      expect(await runAs(ada, () => Doc.query().deleteById(hidden.id))).to.equal(0)
    })

    it('do not apply to conditions of the caller: if no row matches, the write returns 0', async () => {
      const mine = await make(Doc, {})
      for (const run of [(fn: () => unknown) => runAs(ada, fn), (fn: () => unknown) => asSystem(fn)]) {
        expect(await run(() => mine.$query().patch({ title: 'x' }).where('rating', 7))).to.equal(0)
        expect(await run(() => Doc.query().findById(mine.id).patch({ title: 'x' }).where('rating', 7))).to.equal(0)
      }
    })

    it('[promise 28] close a model without a policy to all but admins', async () => {
      const row = await asSystem(() => Closed.create({ title: 'x' }))
      for (const run of [(fn: () => unknown) => runAs(ada, fn), (fn: () => unknown) => asAnonymous(fn)]) {
        expect(await run(() => Closed.query())).to.have.length(0)
        expect(await run(() => Closed.query().resultSize())).to.equal(0)
        expect(await run(() => Closed.query().patch({ title: 'y' }))).to.equal(0)
        expect(await run(() => Closed.query().delete())).to.equal(0)
        expect(await nameOf(() => run(() => Closed.create({ title: 'y' })))).to.equal('ForbiddenError')
        expect(await nameOf(() => run(() => row.update({ title: 'y' })))).to.equal('NotFoundError')
        expect(await run(() => row.canRead())).to.equal(false)
      }
      expect(await runAs(admin, () => Closed.query())).to.have.length(1)
      await asSystem(() => Closed.query().delete())
    })

    it('[promise 33] include an undefined or null id, which never matches other rows', async () => {
      await make(Doc, {})
      await make(Doc, {})
      for (const id of [undefined, null] as unknown as string[]) {
        const writes: (() => PromiseLike<unknown>)[] = [
          () => Doc.query().findById(id).patch({ title: 'x' }),
          () => Doc.query().deleteById(id),
          () => Doc.query().patchAndFetchById(id, { title: 'x' }),
          () => Doc.query().where('id', id).delete(),
          () => Doc.query().findByIds([id]).delete(),
          () => Doc.query().where({ id }).patch({ title: 'x' }),
          () => Doc.query().findOne({ id }).patch({ title: 'x' }),
          () => Doc.fromJson({ title: 'x' }, { skipValidation: true }).$query().delete(),
          () => Doc.fromJson({ title: 'x' }, { skipValidation: true }).$query().patch({ title: 'x' }),
        ]
        for (const write of writes) await nameOf(() => runAs(ada, write))
      }
      expect((await rowsOf(Doc)).map(({ title }: any) => title)).to.deep.equal(['a', 'a'])
    })

    it('apply to a delete that is written as an update', async () => {
      const row = await make(Kept, {})
      expect(await nameOf(() => runAs(bob, () => Kept.query().findById(row.id).patch({ title: 'b' })))).to.equal('done')
      expect(await nameOf(() => runAs(bob, () => Kept.query().findById(row.id).patch({ deletedAt: new Date() })))).to.equal(
        'ForbiddenError',
      )
      expect(await nameOf(() => runAs(bob, () => row.delete()))).to.equal('ForbiddenError')
      await runAs(ada, () => row.delete())
      expect(await runAs(bob, () => Kept.withDeleted().patch({ deletedAt: null }))).to.equal(0)
      expect(await runAs(ada, () => Kept.query())).to.have.length(0)
      await runAs(ada, () => row.restore())
      expect(await runAs(bob, () => Kept.query())).to.have.length(1)
    })
  })

  describe('a caller whose rights end during a request', () => {
    async function withSession<T>(user: User, fn: (session: Token) => Promise<T>): Promise<T> {
      const session = await asSystem(() =>
        Token.create({ userId: user.id, token: Math.random().toString(16).padEnd(64, '0'), kind: 'session' }),
      )
      return await runAsActor(toActor(user, { sessionId: session.id }), () => fn(session))
    }

    it('[promise 35] [promise 56] writes nothing more once disabled, by any statement', async () => {
      const user = await makeUser('leaver')
      const row = await asSystem(() => Doc.create({ title: 'a', userId: user.id }))
      await runAs(user, async () => {
        expect(await nameOf(() => row.update({ title: 'b' }))).to.equal('done')
        await asSystem(() => (user.constructor as typeof User).query().findById(user.id).patch({ isEnabled: false }))
        expect(await nameOf(() => row.update({ title: 'c' }))).to.equal('UnauthorizedError')
        expect(await Doc.query().patch({ title: 'c' })).to.equal(0)
        expect(await Doc.query().delete()).to.equal(0)
        expect(await nameOf(() => Doc.create({ title: 'c' }))).to.equal('UnauthorizedError')
        expect(await nameOf(() => Doc.query().insert({ title: 'c' }))).to.equal('UnauthorizedError')
        expect(await nameOf(() => Doc.query().insertGraph([{ title: 'c' }]))).to.equal('UnauthorizedError')
      })
      expect((await rowsOf(Doc)).map(({ title }: any) => title)).to.deep.equal(['b'])
      expect(await runAs(user, () => Doc.query())).to.have.length(0)
      const known = await asSystem(() => (user.constructor as typeof User).get(user.id))
      expect(await row.canRead(known)).to.equal(false)
      expect(await row.canWrite(known)).to.equal(false)
      expect(await Doc.canCreate({ title: 'x' }, known)).to.equal(false)
    })

    it('[promise 35] writes nothing more once the session is revoked', async () => {
      const user = await makeUser('leaver')
      const row = await asSystem(() => Doc.create({ title: 'a', userId: user.id }))
      await withSession(user, async (session) => {
        expect(await nameOf(() => row.update({ title: 'b' }))).to.equal('done')
        await asSystem(() => Token.query().findById(session.id).patch({ revoked: true }))
        expect(await nameOf(() => row.update({ title: 'c' }))).to.equal('UnauthorizedError')
        expect(await nameOf(() => Doc.create({ title: 'c' }))).to.equal('UnauthorizedError')
        expect(await nameOf(() => Doc.query().insert({ title: 'c' }).onConflict('id').ignore())).to.not.equal('done')
      })
      expect((await rowsOf(Doc)).map(({ title }: any) => title)).to.deep.equal(['b'])
    })

    it('[promise 35] writes nothing more in a transaction that was opened before', async () => {
      const user = await makeUser('leaver')
      const row = await asSystem(() => Doc.create({ title: 'a', userId: user.id }))
      await withSession(user, async (session) => {
        await transaction(async () => {
          await row.update({ title: 'b' })
          await asSystem(() => Token.query().findById(session.id).patch({ revoked: true }))
          expect(await nameOf(() => Doc.create({ title: 'c' }))).to.match(/^(Unauthorized|Forbidden)Error$/)
        }).catch(() => undefined)
      })
      expect((await rowsOf(Doc)).map(({ title }: any) => title)).to.not.include('c')
    })

    it('[promise 35] cannot write with a role that was revoked', async () => {
      const user = await makeUser('editor', [[Role.ADMIN]])
      const row = await make(Doc, {})
      await runAs(user, async () => {
        expect(await nameOf(() => row.update({ title: 'b' }))).to.equal('done')
        await asSystem(() => user.revokeRole(Role.ADMIN))
        expect(await nameOf(() => row.update({ title: 'c' }))).to.equal('ForbiddenError')
        expect(await Doc.query().patch({ title: 'c' })).to.equal(0)
        expect(await nameOf(() => Doc.create({ title: 'c', userId: ada.id }))).to.equal('ForbiddenError')
        expect(await nameOf(() => Closed.create({ title: 'c' }))).to.equal('ForbiddenError')
      })
      expect((await rowsOf(Doc)).map(({ title }: any) => title)).to.deep.equal(['b'])
      expect(await runAs(user, () => Doc.query())).to.have.length(0)
    })
  })

  it('a QueryBuilder that does not enforce policies is rejected', async () => {
    class Bare extends Doc {
      static override QueryBuilder = class extends Model.QueryBuilder<Model> {} as typeof Doc.QueryBuilder
    }
    expect(await nameOf(() => runAs(ada, () => Bare.query()))).to.equal('ConfigurationError')
    class Fine extends Doc {
      static override QueryBuilder = class extends Doc.QueryBuilder<Model> {} as typeof Doc.QueryBuilder
    }
    await make(Doc, { userId: bob.id })
    expect(await runAs(ada, () => Fine.query())).to.have.length(0)
  })
})
