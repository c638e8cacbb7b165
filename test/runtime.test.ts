import { expect } from 'chai'
import express from 'express'
import type { Knex } from 'knex'
import { raw } from 'objection'
import { expressAdapter } from '../src/adapters/express.js'
import {
  Api,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  currentUserId,
  HasUserMixin,
  initPerms,
  type Perms,
  runAs,
  Token,
  transaction,
  User,
  UserOwnershipMixin,
  UserResource,
  UserRole,
} from '../src/index.js'
import { testHasher } from '../src/testing/index.js'
import { createDatabase, eachDatabase, type OwnDatabase } from './helpers/databases.js'
import { rejection } from './helpers/errors.js'
import { migrateAtOnce } from './helpers/library-tables-at-once.js'

const jwt = { secret: 'a secret of at least thirty-two bytes' }

class RuntimeNote extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string({ maxLength: 100 }) }) {}

const ids = { ada: '00000000-0000-7000-8000-00000000000a', note: '00000000-0000-7000-8000-0000000000ff' }

/** The error of code that may throw before it returns a promise. */
const errorOf = (fn: () => unknown) => rejection((async () => await fn())())

eachDatabase('Several runtimes in one process', (db) => {
  let other: OwnDatabase
  let a: Perms
  let b: Perms

  const start = (knex: Knex, options: Partial<Parameters<typeof initPerms>[0]> = {}) =>
    initPerms({ knex, jwt, passwordHasher: testHasher(), models: [RuntimeNote], ...options })

  before(async () => {
    other = await createDatabase(db.name)
    for (const [knex, place] of [
      [db.knex, 'a'],
      [other.knex, 'b'],
    ] as const) {
      const perms = start(knex)
      await migrateAtOnce(perms)
      await createTables(knex, [RuntimeNote])
      const ada = await User.create({ id: ids.ada, email: `ada@${place}.example.com`, password: 'correct horse battery' })
      await RuntimeNote.create({ id: ids.note, title: `of ${place}`, userId: ada.id })
      await perms.close()
    }
  })

  beforeEach(() => {
    a = start(db.knex)
    b = start(other.knex)
  })

  afterEach(async () => {
    await a.close()
    await b.close()
  })

  after(async () => {
    await other.destroy()
  })

  it('perms.run(fn) runs queries on its own database [promise 74]', async () => {
    const titles = await Promise.all([a, b].map((perms) => perms.run(() => asSystem(() => RuntimeNote.query()))))
    expect(titles.map(([note]) => note?.title)).to.deep.equal(['of a', 'of b'])
  })

  it('code that names no runtime is refused while several are alive [promise 74]', async () => {
    for (const attempt of [
      () => RuntimeNote.query(),
      () => User.create({ email: 'eve@example.com', password: 'correct horse battery' }),
      () => asSystem(() => RuntimeNote.query()),
      () => runAs(ids.ada, () => RuntimeNote.query()),
      () => transaction(async () => undefined),
      () => RuntimeNote.query().delete(),
    ]) {
      expect(await errorOf(attempt)).to.include({ name: 'NoRuntimeError', code: 'no_runtime' })
    }
  })

  it('an explicit Knex names its runtime [promise 74]', async () => {
    const [note] = await RuntimeNote.query(other.knex)
    expect(note?.title).to.equal('of b')
    const inTransaction = await db.knex.transaction(async (trx) => await RuntimeNote.query(trx))
    expect(inTransaction[0]?.title).to.equal('of a')
  })

  it('a transaction or Knex of another runtime is refused inside perms.run() [promise 74]', async () => {
    for (const attempt of [
      () => RuntimeNote.query(other.knex),
      () => RuntimeNote.query(other.knex).patch({ title: 'taken' }),
      () => other.knex.transaction(async (trx) => await RuntimeNote.query(trx).delete()),
      () => asSystem(() => RuntimeNote.query(other.knex)),
      () => runAs(ids.ada, () => RuntimeNote.query(other.knex)),
    ]) {
      expect(await errorOf(() => a.run<unknown>(attempt))).to.have.property('name', 'RuntimeMismatchError')
    }
  })

  it('a row is not saved, deleted or followed in another runtime than its own [promise 74]', async () => {
    const note = await a.run(() => asSystem(() => RuntimeNote.getOr404(ids.note)))
    for (const attempt of [
      () => note.update({ title: 'moved' }),
      () => note.delete(),
      () => note.$query().patch({ title: 'moved' }),
      () => note.$relatedQuery('user'),
      () => note.getClone().update({ title: 'moved' }),
    ]) {
      expect(await errorOf(() => b.run(() => asSystem<unknown>(attempt)))).to.have.property('name', 'RuntimeMismatchError')
    }
    note.title = 'moved'
    expect(await errorOf(() => b.run(() => asSystem(() => note.save())))).to.have.property('name', 'RuntimeMismatchError')
    expect(
      await errorOf(() =>
        note
          .$query()
          .transacting(other.knex as never)
          .patch({ title: 'moved' }),
      ),
    ).to.have.property('name')
    const [kept] = await b.run(() => asSystem(() => RuntimeNote.query()))
    expect(kept?.title).to.equal('of b')
  })

  it('a query does not begin at, relate or write a row of another runtime [promise 74]', async () => {
    const note = await a.run(() => asSystem(() => RuntimeNote.getOr404(ids.note)))
    for (const attempt of [
      () => note.$fetchGraph('user'),
      () => RuntimeNote.fetchGraph([note], 'user'),
      () => RuntimeNote.relatedQuery('user').for(note as never),
      () =>
        RuntimeNote.query().whereIn(
          'userId',
          RuntimeNote.relatedQuery('user')
            .for([note] as never)
            .select('id'),
        ),
      () => note.$clone().$query().patch({ title: 'moved' }),
      () => RuntimeNote.query().findById(ids.note).patch(note),
      () => RuntimeNote.query().upsertGraph(note),
      () => note.canRead(),
    ]) {
      expect(await errorOf(() => b.run(() => asSystem<unknown>(attempt)))).to.have.property('name', 'RuntimeMismatchError')
    }
    const [kept] = await b.run(() => asSystem(() => RuntimeNote.query()))
    expect(kept?.title).to.equal('of b')
  })

  it('a user of one runtime cannot act, receive grants or sign in in another runtime [promise 74]', async () => {
    const ada = await a.run(() => asSystem(() => User.getOr404(ids.ada)))
    const note = await b.run(() => asSystem(() => RuntimeNote.getOr404(ids.note)))
    const accessToken = await a.auth.createAccessToken(ada)
    const caller = await a.authenticate(accessToken)
    for (const attempt of [
      () => runAs(ada, () => RuntimeNote.query()),
      () => runAs(caller, () => RuntimeNote.query()),
      () => note.canWrite(ada),
      () => RuntimeNote.create({ title: 'new', user: ada } as never),
      () => UserRole.create({ user: ada, role: 'editor' }),
      () => ada.grantRole('editor'),
      () => ada.revokeRole('editor'),
      () => ada.loadRoles(),
      () => Token.issue(ada),
      () => b.auth.createAccessToken(ada),
      () => b.auth.createRefreshToken(ada),
      () => b.auth.sessions(ada),
      () => b.auth.signOutEverywhere(ada),
    ]) {
      expect(await errorOf(() => b.run(() => asSystem<unknown>(attempt))), String(attempt)).to.have.property('name', 'RuntimeMismatchError')
    }
  })

  it('a hook of a query does not pass it a Knex of another runtime [promise 74]', async () => {
    const pass = (builder: { transacting(knex: never): unknown }) => {
      builder.transacting(other.knex as never)
    }
    for (const attempt of [
      () => RuntimeNote.query().onBuild(pass),
      () => RuntimeNote.query().runBefore((_result, builder) => pass(builder)),
      () => RuntimeNote.query().patch({ title: 'moved' }).onBuild(pass),
    ]) {
      expect(await errorOf(() => a.run(() => asSystem<unknown>(attempt)))).to.have.property('name', 'RuntimeMismatchError')
    }
  })

  it('an access token of one runtime is refused by another, also where both know its session [promise 74]', async () => {
    const { accessToken } = (await a.auth.signIn({ email: 'ada@a.example.com', password: 'correct horse battery' })) as {
      accessToken: string
    }
    const sessions = await db.knex('token').select()
    // pg would send the list of a JSON column as an array of PostgreSQL.
    await other.knex('token').insert(sessions.map((row: object) => ({ ...row })))
    try {
      expect((await a.authenticate(accessToken)).id).to.equal(ids.ada)
      expect(await errorOf(() => b.authenticate(accessToken))).to.have.property('name', 'InvalidTokenError')
      expect(Buffer.from(a.deriveKey('x')).equals(Buffer.from(b.deriveKey('x')))).to.equal(false)
    } finally {
      await db.knex('token').delete()
      await other.knex('token').delete()
    }
  })

  it('perms.auth works on its own database, whatever the context', async () => {
    expect(await b.run(() => a.auth.checkPassword('ada@a.example.com', 'correct horse battery'))).to.have.property('id', ids.ada)
    expect(await b.auth.checkPassword('ada@a.example.com', 'correct horse battery')).to.equal(null)
  })

  it('the caller and the bypass of one runtime do not reach into another [promise 74]', async () => {
    await a.run(() =>
      runAs(ids.ada, async () => {
        expect(currentUserId()).to.equal(ids.ada)
        expect(await b.run(() => currentUserId())).to.equal(null)
      }),
    )
  })

  it('an ended runtime refuses the code that still runs inside it [promise 73]', async () => {
    let go: () => void = () => undefined
    const closed = new Promise<void>((resolve) => {
      go = resolve
    })
    const late = a.run(() =>
      asSystem(async () => {
        await closed
        return await RuntimeNote.query()
      }),
    )
    await a.close()
    go()
    expect(await errorOf(() => late)).to.include({ name: 'RuntimeClosedError', code: 'runtime_closed' })
    expect(await errorOf(() => a.run(() => RuntimeNote.query()))).to.have.property('name', 'RuntimeClosedError')
  })

  it('the database of an ended runtime is refused to callers of another one [promises 73, 74]', async () => {
    await b.close()
    for (const attempt of [
      () => RuntimeNote.query(other.knex),
      () => asSystem(() => RuntimeNote.query(other.knex)),
      () => runAs(ids.ada, () => RuntimeNote.query(other.knex).delete()),
    ]) {
      expect(await errorOf(() => a.run<unknown>(attempt))).to.have.property('name', 'RuntimeMismatchError')
    }
  })

  it('two runtimes cannot have the same name, or other model classes', async () => {
    await a.close()
    await b.close()
    a = start(db.knex, { name: 'one' })
    expect(await errorOf(() => start(other.knex, { name: 'one' }))).to.have.property('name', 'ConfigurationError')
    class RuntimeUser extends User {}
    const error = (await errorOf(() => start(other.knex, { user: RuntimeUser }))) as Error
    expect(error.message).to.contain('RuntimeUser').and.to.contain('User')
    b = start(other.knex, { name: 'two' })
  })

  it('another runtime may have other models once the first one is closed', async () => {
    await a.close()
    await b.close()
    class RuntimeUser extends User {}
    a = start(db.knex, { user: RuntimeUser })
    expect(await asSystem(() => RuntimeUser.query().resultSize())).to.equal(1)
    await a.close()
    a = start(db.knex)
    b = start(other.knex)
  })

  it('500 interleaved requests of two tenants with the same ids see their own rows only [promise 74]', async function () {
    this.timeout(60_000)
    const app = express()
    const tokens: Record<string, string> = {}
    for (const [name, perms] of [
      ['a', a],
      ['b', b],
    ] as const) {
      const api = new Api({
        title: 'Tenants',
        version: '1.0.0',
        prefix: `/${name}`,
        openapi: false,
        resources: [new UserResource(), new CrudResource({ model: RuntimeNote, path: 'notes' })],
      })
      const { authenticate, router, errorHandler, requireUser } = expressAdapter(perms)
      const own = express.Router()
      own.use(authenticate())
      own.get('/work/:what', requireUser(), (req, res, next) => {
        const answer = async () => ({ title: (await RuntimeNote.query())[0]?.title, me: currentUserId() })
        const run = async (): Promise<object> => {
          if (req.params.what === 'rollback') {
            await transaction(async () => {
              await RuntimeNote.query().patch({ title: `changed in ${name}` })
              throw new Error('undo')
            }).catch(() => undefined)
            return await answer()
          }
          if (req.params.what === 'job') return await perms.run(() => asSystem(answer))
          return await answer()
        }
        if (req.params.what !== 'lost') return void run().then((body) => res.json(body), next)
        // A callback of a library that loses the context.
        lost.push(
          () =>
            void answer().then(
              (body) => res.json(body),
              (error: Error) => res.json({ error: error.name }),
            ),
        )
      })
      app.use(`/${name}`, own)
      app.use(router(api))
      app.use(errorHandler())
      const signedIn = (await perms.auth.signIn({ email: `ada@${name}.example.com`, password: 'correct horse battery' })) as {
        accessToken: string
      }
      tokens[name] = signedIn.accessToken
    }
    const lost: (() => void)[] = []
    const timer = setInterval(() => {
      for (const call of lost.splice(0)) call()
    }, 1)
    const server = app.listen(0, '127.0.0.1')
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as { port: number }
    try {
      const kinds = ['list', 'lost', 'rollback', 'job'] as const
      const one = async (i: number): Promise<void> => {
        const name = i % 2 === 0 ? 'a' : 'b'
        const kind = kinds[Math.floor(i / 2) % kinds.length]
        const path = kind === 'list' ? 'notes/' : `work/${kind}`
        const response = await fetch(`http://127.0.0.1:${port}/${name}/${path}`, { headers: { authorization: `Bearer ${tokens[name]}` } })
        const body = (await response.json()) as { data?: { title: string }[]; title?: string; error?: string; me?: string | null }
        if (kind === 'lost') expect(body).to.deep.equal({ error: 'NoRuntimeError' })
        else expect(kind === 'list' ? body.data?.map(({ title }) => title) : [body.title]).to.deep.equal([`of ${name}`])
        if (kind === 'rollback') expect(body.me).to.equal(ids.ada)
      }
      for (let i = 0; i < 500; i += 25) await Promise.all(Array.from({ length: 25 }, (_, k) => one(i + k)))
    } finally {
      clearInterval(timer)
      server.close()
      server.closeAllConnections()
    }
    expect((await a.run(() => asSystem(() => RuntimeNote.query().select(raw('count(*) as n')))))[0]).to.have.property('n')
  })
})
