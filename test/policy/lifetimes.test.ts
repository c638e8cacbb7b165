import { EventEmitter } from 'node:events'
import { setTimeout as pause } from 'node:timers/promises'
import { expect } from 'chai'
import {
  asAnonymous,
  asSystem,
  authenticated,
  BasePermsModel,
  bypassPerms,
  column,
  createTables,
  currentUser,
  currentUserId,
  Domain,
  everyone,
  ForbiddenError,
  HasUserMixin,
  initPerms,
  NoContextError,
  type Perms,
  role,
  runAs,
  SoftDeleteMixin,
  Token,
  transaction,
  UnauthorizedError,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
  where,
} from '../../src/index.js'
import { runAsActor } from '../../src/policy/context.js'
import { testHasher } from '../../src/testing/hasher.js'
import { loadActor } from '../../src/users/caller/actor.js'
import { eachDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

class LifeMember extends SoftDeleteMixin(User) {}

/** Editors write it. */
class LifePage extends BasePermsModel.withColumns({ title: column.string(), isPublic: column.boolean().default(false) }) {
  static override policy = { read: authenticated(), create: role('editor'), update: role('editor') }
}

/** A page whose read rule rests on the role too. */
class LifeDraft extends BasePermsModel.withColumns({ title: column.string() }) {
  static override policy = { update: role('editor'), create: role('editor') }
}

class LifeNote extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.string() }) {}
class LifeDiary extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.string() }) {}
class LifeSign extends BasePermsModel.withColumns({ text: column.string(), isPublic: column.boolean().default(false) }) {
  static override policy = { read: where({ isPublic: true }), create: everyone(), update: where({ isPublic: true }) }
}

const models = [LifePage, LifeDraft, LifeNote, LifeDiary, LifeSign]
const tables = ['life_page', 'life_draft', 'life_note', 'life_diary', 'life_sign', 'token', 'user_role', 'life_member', 'domain']

eachDatabase('Lifetimes of rights', (db) => {
  let perms: Perms
  let ada: LifeMember
  let bob: LifeMember

  const start = (more: { outsideContext?: 'allow' | 'deny' } = {}) => {
    const secret = 'a secret for these tests, which is long enough'
    perms = initPerms({ knex: db.knex, user: LifeMember, models, passwordHasher: testHasher(), jwt: { secret }, ...more })
  }
  before(async function () {
    this.timeout(30_000)
    start()
    await createTables(db.knex, [LifeMember, UserRole, Domain, Token, UserSetting, ...models])
  })
  after(() => perms.close())
  beforeEach(async () => {
    for (const table of tables) await db.knex(table).delete()
    ada = await LifeMember.create({ email: 'ada@example.com' })
    bob = await LifeMember.create({ email: 'bob@example.com' })
    await ada.grantRole('editor')
  })

  const size = async (table: string): Promise<number> => ((await db.knex(table)) as unknown[]).length
  const revoke = () => db.knex('user_role').where({ user_id: ada.id }).delete()
  const disable = () =>
    db
      .knex('life_member')
      .where({ id: ada.id })
      .update({ is_enabled: db.dialect === 'sqlite' ? 0 : false })
  const softDelete = () => asSystem(() => LifeMember.query().deleteById(ada.id))
  const texts = (rows: readonly { text: string }[]) => rows.map(({ text }) => text).sort()

  describe('a right that is withdrawn during a request', () => {
    const writes: Record<string, (page: LifePage) => PromiseLike<unknown>> = {
      'update()': (page) => page.update({ title: 'new' }),
      '$query().patch()': (page) => page.$query().patch({ title: 'new' }),
      'query().patch()': () => LifePage.query().patch({ title: 'new' }),
      'query().findById().patch()': (page) => LifePage.query().findById(page.id).patch({ title: 'new' }),
      'upsertGraph()': (page) => LifePage.query().upsertGraph({ id: page.id, title: 'new' } as never),
      'delete()': (page) => page.delete(),
      'query().delete()': () => LifePage.query().delete(),
      'deleteById()': (page) => LifePage.query().deleteById(page.id),
      'create()': () => LifePage.create({ title: 'new' }),
      'query().insert()': () => LifePage.query().insert({ title: 'new' }),
      'insertGraph()': () => LifePage.query().insertGraph([{ title: 'new' }, { title: 'newer' }] as never),
    }
    const untouched = async (name: string) =>
      expect(
        (await db.knex('life_page')).map(({ title }: { title: string }) => title),
        name,
      ).to.deep.equal(['old'])
    /** Asserts that a write is refused and changes no row. */
    const refused = async (name: string, write: PromiseLike<unknown>, error: typeof ForbiddenError | typeof UnauthorizedError) => {
      const answer = await Promise.resolve(write).catch((reason: unknown) => reason)
      // After PostgreSQL has refused a statement, no query of the transaction can find out which of the two errors it was.
      const isRefused = answer instanceof error || (name === 'insertGraph()' && answer instanceof ForbiddenError)
      expect(isRefused || (answer === 0 && /query\(\)\.(patch|delete)/.test(name)), `${name}: ${String(answer)}`).to.equal(true)
      await untouched(name)
    }

    it('[promise 35] is a role: the next write is refused', async () => {
      const page = await LifePage.create({ title: 'old' })
      await runAs(ada, async () => {
        await page.update({ title: 'hers' })
        await page.update({ title: 'old' })
        await revoke()
        for (const [name, write] of Object.entries(writes)) await refused(name, write(page.getClone()), ForbiddenError)
        expect(await LifePage.query().resultSize()).to.equal(1)
      })
    })

    it('[promise 35] is a role in a domain, or its domain', async () => {
      const press = await Domain.create({ name: 'press' })
      await db.knex('user_role').delete()
      await ada.grantRole('admin', { domain: 'press' })
      const bobs = await bob.grantRole('writer', { domain: 'press' })
      for (const withdraw of [
        () => db.knex('domain').update({ active: db.dialect === 'sqlite' ? 0 : false }),
        () => db.knex('user_role').where({ user_id: ada.id }).delete(),
      ]) {
        await db.knex('domain').update({ active: db.dialect === 'sqlite' ? 1 : true })
        await runAs(ada, async () => {
          await withdraw()
          expect(await rejection(UserRole.create({ userId: bob.id, role: 'reader', domain: press }))).to.be.instanceOf(ForbiddenError)
          expect(await rejection(bobs.getClone().delete())).to.be.instanceOf(ForbiddenError)
        })
        expect(await db.knex('user_role').where({ user_id: bob.id })).to.have.length(1)
      }
    })

    for (const [what, withdraw] of Object.entries({ disabled: disable, 'soft-deleted': softDelete })) {
      it(`[promise 35] [promise 56] includes all rights of a user who was ${what}: the next write is refused`, async () => {
        const page = await LifePage.create({ title: 'old' })
        await runAs(ada, async () => {
          await withdraw()
          for (const [name, write] of Object.entries(writes)) await refused(name, write(page.getClone()), UnauthorizedError)
          expect(await rejection(LifeNote.create({ text: 'hers' }))).to.be.instanceOf(UnauthorizedError)
        })
        expect(await size('life_note')).to.equal(0)
      })

      it(`[promise 56] makes a user who was ${what} an anonymous caller in the next runAs()`, async () => {
        await LifePage.create({ title: 'old' })
        await runAs(ada, () => LifeNote.create({ text: 'hers' }))
        const loaded = await LifeMember.getOr404(ada.id)
        await withdraw()
        for (const who of [loaded, ada.id]) {
          await runAs(who, async () => {
            expect([currentUser(), currentUserId()]).to.deep.equal([null, null])
            expect(await LifePage.query()).to.deep.equal([])
            expect(await LifeNote.query()).to.deep.equal([])
            expect(await LifeMember.query()).to.deep.equal([])
            expect(await rejection(LifePage.create({ title: 'new' }))).to.be.instanceOf(ForbiddenError)
            expect(await LifeNote.query().delete()).to.equal(0)
          })
        }
        expect([await size('life_note'), await size('life_page')]).to.deep.equal([1, 1])
      })
    }

    it('[promise 56] includes all rights of a deleted user, who becomes an anonymous caller', async () => {
      await runAs(ada, () => LifeNote.create({ text: 'hers' }))
      await db.knex('user_role').delete()
      await db.knex('life_note').delete()
      await LifePage.create({ title: 'old' })
      await db.knex('life_member').where({ id: ada.id }).delete()
      expect(await runAs(ada, () => LifePage.query())).to.deep.equal([])
      expect(await runAs(ada, () => currentUser())).to.equal(null)
    })

    it('[promise 35] is a session: the next write of that session is refused', async () => {
      const page = await LifePage.create({ title: 'old' })
      const [session, other] = [await Token.issue(ada), await Token.issue(ada)]
      const actor = await loadActor(ada.id, { sessionId: session.token.id })
      const elsewhere = await loadActor(ada.id, { sessionId: other.token.id })
      expect(actor?.sessionId).to.be.a('string')
      await runAsActor(actor, async () => {
        await page.update({ title: 'hers' })
        await page.update({ title: 'old' })
        await db
          .knex('token')
          .where({ id: actor?.sessionId })
          .update({ revoked: db.dialect === 'sqlite' ? 1 : true })
        for (const [name, write] of Object.entries(writes)) await refused(name, write(page.getClone()), UnauthorizedError)
      })
      await runAsActor(elsewhere, () => page.getClone().update({ title: 'hers' }))
      expect((await db.knex('life_page').first()).title).to.equal('hers')
    })

    it('[promise 35] is not read any more by the next runAs', async () => {
      await LifeDraft.create({ title: 'draft' })
      expect(await runAs(ada, () => LifeDraft.query())).to.have.length(1)
      const loaded = await LifeMember.getOr404(ada.id)
      await revoke()
      expect(await runAs(loaded, () => LifeDraft.query())).to.deep.equal([])
      expect(await runAs(loaded, () => currentUser()?.hasRole('editor'))).to.equal(false)
    })

    // SQLite has one writer: no other connection can withdraw a right during a transaction.
    const itOnServers = db.dialect === 'sqlite' ? () => {} : it
    itOnServers('[promise 35] is also withdrawn for a transaction that began before', async () => {
      const page = await LifePage.create({ title: 'old' })
      const other = db.connect()
      for (const withdraw of [
        () => other('user_role').where({ user_id: ada.id }).delete(),
        () => other('life_member').where({ id: ada.id }).update({ is_enabled: false }),
      ]) {
        await db.knex('life_member').update({ is_enabled: true })
        await ada.grantRole('editor')
        let last: unknown
        const all = runAs(ada, () =>
          transaction(async () => {
            expect(await LifePage.query()).to.have.length(1)
            await UserRole.query()
            await withdraw()
            for (const name of ['update()', 'query().patch()', 'delete()', 'create()'] as const) {
              const answer = await Promise.resolve(writes[name]?.(page.getClone())).catch((error: unknown) => error)
              const isRefused = answer === 0 || answer instanceof ForbiddenError || answer instanceof UnauthorizedError
              expect(isRefused, `${name}: ${String(answer)}`).to.equal(true)
              last = answer
            }
          }),
        )
        // PostgreSQL undoes it all for the refused INSERT, though the error was caught.
        if (db.dialect === 'pg') expect(await rejection(all)).to.equal(last)
        else await all
        await untouched('in a transaction')
      }
    })
  })

  describe('two users and a bypass at once', () => {
    it('[promise 40] never see each other’s rows or bypass, across transactions too', async function () {
      this.timeout(60_000)
      for (const user of [ada, bob]) await runAs(user, () => LifeNote.create({ text: user.email }))
      await db.knex('life_diary').delete()
      const signals = new EventEmitter()
      const seen: string[] = []
      signals.on('done', (who: string) => seen.push(`${who} ${currentUserId()}`))
      const asUser = (user: LifeMember, i: number) =>
        runAs(user, async () => {
          if (i % 5 === 0) await pause(i % 3)
          const look = async () => {
            const rows = await LifeNote.query()
            expect(texts(rows)).to.deep.equal([user.email])
            expect(currentUserId()).to.equal(user.id)
          }
          await look()
          if (i % 4 === 0) {
            await transaction(async () => {
              const diary = await LifeDiary.create({ text: `${i}` })
              expect(diary.userId).to.equal(user.id)
              await look()
              if (i % 8 === 0) expect(await bypassPerms(() => LifeNote.query().resultSize())).to.equal(2)
              await look()
            })
          }
          if (i % 7 === 0) expect(await LifeNote.bypassPerms(() => LifeNote.query().resultSize())).to.equal(2)
          await look()
          signals.emit('done', user.id)
        })
      const lifted = async (i: number) =>
        await bypassPerms(async () => {
          expect(texts(await LifeNote.query())).to.deep.equal([ada.email, bob.email])
          if (i % 3 === 0) await transaction(async () => expect(await LifeNote.query().resultSize()).to.equal(2))
          expect(currentUserId()).to.equal(null)
        })
      await Promise.all(Array.from({ length: 500 }, (_, i) => (i % 3 === 0 ? asUser(ada, i) : i % 3 === 1 ? asUser(bob, i) : lifted(i))))
      const diaries = (await db.knex('life_diary')) as { text: string; user_id: string }[]
      expect(diaries.length).to.be.greaterThan(50)
      for (const { text, user_id } of diaries) expect(user_id).to.equal(Number(text) % 3 === 0 ? ada.id : bob.id)
      expect(seen).to.have.length(334)
      for (const line of seen) expect(new Set(line.split(' ')).size).to.equal(1)
    })

    it('[promise 40] a listener runs as the caller who emits the event, not as the one who registered it', async () => {
      for (const user of [ada, bob]) await runAs(user, () => LifeNote.create({ text: user.email }))
      const signals = new EventEmitter()
      await bypassPerms(async () => signals.on('look', (tell: (rows: unknown) => void) => tell(LifeNote.query().then(texts))))
      const found = await runAs(bob, () => new Promise((resolve) => signals.emit('look', resolve)))
      expect(found).to.deep.equal([bob.email])
    })
  })

  describe('the end of a bypass', () => {
    let release: () => void
    let released: Promise<void>
    beforeEach(async () => {
      for (const user of [ada, bob]) {
        await runAs(user, () => LifeNote.create({ text: user.email }))
        await runAs(user, () => LifeDiary.create({ text: user.email }))
      }
      released = new Promise((resolve) => {
        release = resolve
      })
    })

    /** Begins something in a bypass that ends before it goes on. */
    async function leftOver<T>(bypass: (fn: () => Promise<void>) => Promise<void>, fn: () => PromiseLike<T>): Promise<T> {
      let left: Promise<T> | undefined
      await bypass(async () => {
        left = released.then(fn)
      })
      release()
      return await (left as Promise<T>)
    }

    it('[promise 58] runs the query that runAs returns inside', async () => {
      expect(texts(await runAs(ada, () => LifeNote.query()))).to.deep.equal([ada.email])
      expect(texts(await runAs(ada, () => LifeNote.query().orderBy('text')))).to.deep.equal([ada.email])
      expect(await runAs(ada, () => LifeNote.query().resultSize())).to.equal(1)
      expect(await asAnonymous(() => LifeNote.query())).to.deep.equal([])
      expect(await runAs(ada, () => bypassPerms(() => LifeNote.query()))).to.have.length(2)
    })

    it('[promise 58] applies the caller of the code that awaits a builder', async () => {
      const ways: Record<string, (fn: () => unknown) => Promise<any>> = {
        bypassPerms: (fn) => bypassPerms(fn),
        asSystem: (fn) => asSystem(fn),
        'Model.bypassPerms': (fn) => LifeNote.bypassPerms(fn),
        'runAs of another': (fn) => runAs(ada, fn),
      }
      for (const [name, way] of Object.entries(ways)) {
        const made = await way(() => ({ builder: LifeNote.query().orderBy('text'), patch: LifeNote.query().patch({ text: 'bob' }) }))
        expect(texts(await runAs(bob, () => made.builder.clone())), name).to.deep.equal([bob.email])
        expect(await runAs(bob, () => made.builder.resultSize()), name).to.equal(1)
        expect(await runAs(bob, () => made.patch.clone()), name).to.equal(1)
        expect(await asAnonymous(() => made.builder.clone()), name).to.deep.equal([])
        await db.knex('life_note').where({ user_id: bob.id }).update({ text: bob.email })
        expect(texts((await db.knex('life_note')) as never), name).to.deep.equal([ada.email, bob.email])
      }
      const mine = await runAs(ada, () => ({ builder: LifeNote.query() }))
      expect(await bypassPerms(() => mine.builder)).to.have.length(2)
    })

    for (const [name, bypass, left] of [
      ['bypassPerms', bypassPerms, 'hers'],
      ['asSystem', asSystem, 'none'],
      ['Model.bypassPerms', (fn: () => Promise<void>) => LifeNote.bypassPerms(fn), 'hers'],
    ] as const) {
      it(`[promise 58] enforces policies again for reads that ${name} left running`, async () => {
        const rows = await runAs(ada, () => leftOver(bypass as never, () => LifeNote.query()))
        expect(texts(rows)).to.deep.equal(left === 'hers' ? [ada.email] : [])
      })

      it(`[promise 58] enforces policies again for writes that ${name} left running`, async () => {
        const changed = await runAs(ada, () => leftOver(bypass as never, () => LifeNote.query().patch({ text: 'taken' })))
        expect(changed).to.equal(left === 'hers' ? 1 : 0)
        const again = () => LifeNote.create({ text: 'new', userId: bob.id })
        expect(await rejection(runAs(ada, () => leftOver(bypass as never, again)))).to.be.instanceOf(ForbiddenError)
        const removed = await runAs(ada, () => leftOver(bypass as never, () => LifeNote.query().where({ userId: bob.id }).delete()))
        expect(removed).to.equal(0)
      })

      it(`[promise 58] enforces policies again when ${name} ended with an error`, async () => {
        const failing = async (fn: () => Promise<void>) => {
          const run = bypass as (fn: () => Promise<void>) => Promise<void>
          const error = await rejection(run(async () => await fn().then(() => Promise.reject(new Error('failed')))))
          expect(error.message).to.equal('failed')
        }
        const rows = await runAs(ada, () => leftOver(failing, () => LifeNote.query()))
        expect(texts(rows)).to.deep.equal(left === 'hers' ? [ada.email] : [])
      })
    }

    it('[promise 58] leaves an outer bypass in force when an inner one ends', async () => {
      await runAs(ada, () =>
        bypassPerms(async () => {
          expect(await bypassPerms(() => LifeNote.query())).to.have.length(2)
          expect(await LifeNote.query()).to.have.length(2)
        }),
      )
    })

    it('[promise 40] Model.bypassPerms lifts that model alone', async () => {
      await runAs(ada, () =>
        LifeNote.bypassPerms(async () => {
          expect(await LifeNote.query()).to.have.length(2)
          expect(texts(await LifeDiary.query())).to.deep.equal([ada.email])
          expect(await LifeDiary.query().patch({ text: 'taken' })).to.equal(1)
          expect(await rejection(LifeDiary.create({ text: 'new', userId: bob.id }))).to.be.instanceOf(ForbiddenError)
          await LifeNote.create({ text: 'new', userId: bob.id })
          expect(currentUserId()).to.equal(ada.id)
        }),
      )
      expect(await db.knex('life_diary').where({ text: 'taken' })).to.have.length(1)
    })

    it('[promise 40] runAs and asAnonymous end a bypass around them', async () => {
      for (const bypass of [bypassPerms, asSystem, (fn: () => Promise<void>) => LifeNote.bypassPerms(fn)]) {
        await bypass(async () => {
          expect(await LifeNote.query()).to.have.length(2)
          expect(texts(await runAs(ada, () => LifeNote.query()))).to.deep.equal([ada.email])
          expect(await asAnonymous(() => LifeNote.query())).to.deep.equal([])
          expect(await LifeNote.query()).to.have.length(2)
        })
      }
    })

    it('[promise 40] asSystem() has no current user, bypassPerms() keeps the current user', async () => {
      await runAs(ada, async () => {
        expect(await asSystem(() => currentUserId())).to.equal(null)
        expect(await bypassPerms(() => currentUserId())).to.equal(ada.id)
        expect(await runAs(bob, () => currentUserId())).to.equal(bob.id)
        expect(currentUserId()).to.equal(ada.id)
      })
    })
  })

  describe('code without a context', () => {
    beforeEach(async () => {
      await runAs(ada, () => LifeNote.create({ text: ada.email }))
    })
    afterEach(async () => {
      await perms.close()
      start()
    })

    const restart = async (more: { outsideContext?: 'allow' | 'deny' }, hasAdapter: boolean) => {
      await perms.close()
      start(more)
      if (hasAdapter) perms.noteAdapter()
    }
    const attempts: Record<string, () => PromiseLike<unknown>> = {
      'query()': () => LifeNote.query(),
      'get()': () => LifeNote.get(ada.id),
      'resultSize()': () => LifeNote.query().resultSize(),
      'create()': () => LifeNote.create({ text: 'new', userId: ada.id }),
      'insert()': () => LifeNote.query().insert({ text: 'new', userId: ada.id }),
      'patch()': () => LifeNote.query().patch({ text: 'new' }),
      'delete()': () => LifeNote.query().delete(),
      'transaction()': () => transaction(() => LifeNote.query().delete()),
      'User.query()': () => LifeMember.query(),
      'grantRole()': () => bob.grantRole('superadmin'),
      'a model that every caller may read': () => LifeSign.query(),
    }

    for (const [what, more, hasAdapter] of [
      ['once an adapter was made', {}, true],
      ['under outsideContext: "deny"', { outsideContext: 'deny' }, false],
      ['under outsideContext: "deny", with an adapter', { outsideContext: 'deny' }, true],
    ] as const) {
      it(`[promise 41] is refused ${what}`, async () => {
        await restart(more, hasAdapter)
        for (const [name, attempt] of Object.entries(attempts)) {
          const error = await rejection((async () => await attempt())())
          expect(error, `${name}: ${error.message}`).to.be.instanceOf(NoContextError)
          expect(error.message)
            .to.match(/runAs/)
            .and.match(/asSystem/)
        }
        expect([await size('life_note'), await size('user_role')]).to.deep.equal([1, 1])
      })

      it(`[promise 41] is allowed inside asSystem(), runAs() and asAnonymous() ${what}`, async () => {
        await restart(more, hasAdapter)
        expect(await asSystem(() => LifeNote.query())).to.have.length(1)
        expect(await bypassPerms(() => LifeNote.query())).to.have.length(1)
        expect(await runAs(ada, () => LifeNote.query())).to.have.length(1)
        expect(await runAs(bob, () => LifeNote.query())).to.have.length(0)
        expect(await asAnonymous(() => LifeNote.query())).to.have.length(0)
        await asSystem(() => LifeNote.create({ text: 'new', userId: ada.id }))
        await runAs(ada, () => LifeNote.query().delete())
        expect(await size('life_note')).to.equal(0)
      })

      it(`[promise 41] does not keep a bypass that has ended, ${what}`, async () => {
        await restart(more, hasAdapter)
        for (const bypass of [bypassPerms, asSystem, (fn: () => Promise<void>) => LifeNote.bypassPerms(fn)]) {
          let left: Promise<unknown> = Promise.resolve()
          await bypass(async () => {
            left = pause(1)
              .then(() => LifeNote.query())
              .catch((error: unknown) => error)
          })
          const found = await left
          if (found instanceof Error) expect(found).to.be.instanceOf(NoContextError)
          else expect(found).to.deep.equal([])
        }
      })
    }

    for (const hasAdapter of [false, true]) {
      it(`may do everything under outsideContext: "allow"${hasAdapter ? ', with an adapter' : ''}`, async () => {
        await restart({ outsideContext: 'allow' }, hasAdapter)
        expect(await LifeNote.query()).to.have.length(1)
        await LifeNote.create({ text: 'new', userId: bob.id })
        expect(await LifeNote.query().delete()).to.equal(2)
      })
    }

    it('may do everything in a script without an adapter', async () => {
      await restart({}, false)
      expect(await LifeNote.query()).to.have.length(1)
    })
  })
})
