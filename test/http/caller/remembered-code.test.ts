import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import express from 'express'
import { Model } from 'objection'
import { expressAdapter } from '../../../src/adapters/express.js'
import { fetchAdapter } from '../../../src/adapters/fetch.js'
import { nodeAdapter } from '../../../src/adapters/node.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import type { Actor } from '../../../src/policy/context.js'
import { asSystem, currentUserId, enterAsActor } from '../../../src/policy/context.js'
import { related, self } from '../../../src/policy/rules.js'
import type { CallerProof } from '../../../src/query/caller-proof.js'
import { type SignedInAs, signInAs } from '../../../src/testing/index.js'
import { User } from '../../../src/users/user.js'
import { countQueries, eachDatabase } from '../../helpers/databases.js'
import { type Ask, clients, Note, openRememberedWorld, type RememberedWorld } from './remembered-world.js'

class HookedNote extends Note {
  static override tableName = 'note'
  static override beforeFind(): void {
    seen.push(currentUserId())
  }
}
class OwnQueryNote extends Note {
  static override tableName = 'note'
  static override query(...args: []) {
    seen.push(currentUserId())
    return super.query(...args)
  }
}
class OwnBuilderNote extends Note {
  static override tableName = 'note'
  static override QueryBuilder = class extends Note.QueryBuilder<never> {} as never
}
class FilteredNote extends Note {
  static override tableName = 'note'
  static override relationMappings = {
    author: {
      relation: Model.BelongsToOneRelation,
      modelClass: User,
      join: { from: 'note.userId', to: 'user.id' },
      modify: () => void seen.push(currentUserId()),
    },
  }
  static override policy = { ...Note.policy, read: related('author', self()) } as never
}
class OwnNotes extends CrudResource<typeof Note> {
  protected override shape(row: never, method: never): Record<string, unknown> {
    return { ...super.shape(row, method), seenBy: currentUserId() }
  }
}
class OwnEndpoint extends CrudResource<typeof Note> {
  override listEndpoint() {
    const endpoint = super.listEndpoint()
    return endpoint.with({ handler: async (context) => await endpoint.options.handler(context) })
  }
}
const seen: unknown[] = []

const resources = [
  new CrudResource({ model: HookedNote, path: 'hooked' }),
  new CrudResource({ model: OwnQueryNote, path: 'own-query' }),
  new CrudResource({ model: OwnBuilderNote, path: 'own-builder' }),
  new CrudResource({ model: FilteredNote, path: 'filtered' }),
  new OwnNotes({ model: Note, path: 'own-shape' }),
  new OwnEndpoint({ model: Note, path: 'own-endpoint' }),
]

eachDatabase('code of the application', (db) => {
  let world: RememberedWorld
  let ask: Ask
  let me: SignedInAs
  before(async function () {
    this.timeout(30_000)
    world = await openRememberedWorld(db.knex)
    ask = clients(world.perms, { resources }).ask
    me = await signInAs()
    await asSystem(() => Note.create({ text: 'mine', userId: me.user.id }))
  })
  after(() => world.perms.close())

  const warm = async () => {
    await world.ask('GET', '/notes/', me.accessToken)
    expect((await world.ask('GET', '/notes/', me.accessToken)).statements).to.equal(1)
  }

  for (const path of ['hooked', 'filtered', 'own-query', 'own-builder', 'own-shape', 'own-endpoint', 'users'])
    it(`that runs before the statement gets a loaded caller: ${path} [promise 228]`, async () => {
      await warm()
      seen.length = 0
      for (let i = 0; i < 3; i += 1) expect(await ask('GET', `/${path}/`, me.accessToken)).to.include({ status: 200, statements: 2 })
      expect(new Set(seen).size).to.be.at.most(1)
      await db.knex('token').where('user_id', me.user.id).update({ revoked: true })
      seen.length = 0
      expect((await ask('GET', `/${path}/`, me.accessToken)).status).to.equal(401)
      expect(seen).to.deep.equal([])
      await db.knex('token').where('user_id', me.user.id).update({ revoked: false })
    })

  it('cannot query for a caller who is not proven: only the statement of list and get may run [promise 228]', async () => {
    const proof: CallerProof = {
      condition: { sql: '1 = ?', bindings: [1] },
      isGiven: false,
      isInserting: false,
      allowsInsert: false,
      give: () => {},
    }
    const actor: Actor = { id: me.user.id, user: me.user, grants: [], sessionId: null, abilities: null, impersonatorId: null }
    const run = (fn: () => PromiseLike<unknown>) =>
      enterAsActor(actor, async () => await fn(), { proof }).then(
        () => 'ran',
        (error: unknown) => (error as Error).constructor.name,
      )
    const { statements } = await countQueries(db.knex, async () => {
      for (const query of [
        () => Note.query(),
        () => Note.query().resultSize(),
        () => Note.query().patch({ text: 'x' }),
        () => Note.create({ text: 'x', userId: me.user.id }),
        () => Note.query().delete(),
        () => User.query(),
      ])
        expect(await run(query)).to.equal('UnprovenCallerError')
    })
    expect(statements.filter((sql) => !/^(begin|rollback)/i.test(sql))).to.deep.equal([])
  })

  describe('around the router', () => {
    let server: Server
    let count: () => Promise<number>
    const finished: unknown[] = []
    async function listen(handler: Parameters<typeof createServer>[1]): Promise<void> {
      server = createServer(handler).listen(0, '127.0.0.1')
      await new Promise((resolve) => server.once('listening', resolve))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/notes/`
      const fetchNotes = async () => {
        const answer = await fetch(url, { headers: me.headers })
        expect(answer.status).to.equal(200)
        await answer.text()
      }
      count = async () => (await countQueries(db.knex, fetchNotes)).statements.length
    }
    const api = () => new Api({ openapi: false, docs: false, resources: [new CrudResource({ model: Note, path: 'notes' })] })
    afterEach(async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    })

    it('does not prevent one statement, if authenticate() and router() of Express follow each other [promise 82]', async () => {
      const { authenticate, router, errorHandler } = expressAdapter(world.perms)
      const app = express()
      app.use((_req, res, next) => {
        res.on('finish', () => finished.push(currentUserId()))
        next()
      })
      app.use(authenticate())
      app.use(router(api()))
      app.get('/own', (_req, res) => void res.json({ id: currentUserId() }))
      app.use(errorHandler())
      await listen(app)
      await count()
      expect(await count()).to.equal(1)
      expect(finished, 'a log at the end of the response').to.deep.equal([me.user.id, me.user.id])
      const own = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/own`, { headers: me.headers })
      expect(await own.json()).to.deep.equal({ id: me.user.id })
    })

    it('gets a loaded caller, if it runs between authenticate() and router() of Express [promise 228]', async () => {
      const { authenticate, router } = expressAdapter(world.perms)
      const between: unknown[] = []
      const app = express()
      app.use(authenticate())
      app.use((_req, _res, next) => {
        between.push(currentUserId())
        next()
      })
      app.use(router(api()))
      await listen(app)
      for (let i = 0; i < 3; i += 1) expect(await count()).to.equal(2)
      expect(between).to.deep.equal([me.user.id, me.user.id, me.user.id])
    })

    it('never runs without a caller, if one middleware is registered in two routers of Express [promise 228]', async () => {
      const { authenticate, router, errorHandler } = expressAdapter(world.perms, { onError: () => {} })
      const app = express()
      const auth = authenticate()
      const nested = express.Router()
      const callers: unknown[] = []
      nested.use(auth)
      nested.get('/notes/', (req, res, next) => {
        if (req.headers['x-nested'] === undefined) return next('router')
        callers.push(currentUserId())
        res.json({})
      })
      app.use(nested)
      app.use(auth)
      app.use(router(api()))
      app.use(errorHandler())
      await listen(app)
      await warm()
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/notes/`
      const answer = await fetch(url, { headers: { ...me.headers, 'x-nested': '1' } })
      expect([answer.status, callers]).to.deep.equal([500, []])
    })

    it('does not prevent one statement with node:http, if authenticate() wraps router() [promise 82]', async () => {
      const { authenticate, router, errorHandler } = nodeAdapter(world.perms)
      await listen(errorHandler(authenticate(router(api()))) as never)
      await count()
      expect(await count()).to.equal(1)
    })

    it('does not prevent one statement with Fetch handlers, if authenticate() wraps router() [promise 82]', async () => {
      const { authenticate, router } = fetchAdapter(world.perms)
      const own = async () => new Response(JSON.stringify({ id: currentUserId() }))
      const handler = authenticate(router(api(), own))
      const send = async (path: string) =>
        await countQueries(db.knex, async () => (await handler(new Request(`http://localhost${path}`, { headers: me.headers }))).json())
      await send('/notes/')
      expect((await send('/notes/')).statements).to.have.length(1)
      expect((await send('/own')).result).to.deep.equal({ id: me.user.id })
    })
  })
})

eachDatabase('callers are not remembered', (db) => {
  const settings = {
    'rememberCallers: false': { rememberCallers: false },
    loadUser: { loadUser: async ({ sub }: Record<string, unknown>) => await asSystem(() => User.get(sub as string)) },
  }
  let world: RememberedWorld
  afterEach(() => world.perms.close())
  for (const [name, options] of Object.entries(settings))
    it(`with ${name}: each request loads its caller [promise 228]`, async () => {
      world = await openRememberedWorld(db.knex, options)
      const { accessToken, user } = await signInAs()
      await asSystem(() => Note.create({ text: 'mine', userId: user.id }))
      for (let i = 0; i < 3; i += 1) expect((await world.ask('GET', '/notes/', accessToken)).statements).to.be.at.least(2)
    })

  if (db.dialect === 'pg')
    it('if the database cannot compute a fingerprint: after three failures, no request tries again [promise 227]', async () => {
      await db.knex.raw('create schema broken')
      await db.knex.raw("create function broken.sha256(bytea) returns bytea language plpgsql as $$ begin raise 'no hash'; end $$")
      world = await openRememberedWorld(db.connect({ searchPath: ['broken', 'public', 'pg_catalog'] }))
      const { accessToken, user } = await signInAs()
      await asSystem(() => Note.create({ text: 'mine', userId: user.id }))
      const seen = []
      for (let i = 0; i < 5; i += 1) seen.push(await world.ask('GET', '/notes/', accessToken))
      expect(seen.map(({ status }) => status)).to.deep.equal([200, 200, 200, 200, 200])
      expect(seen.map(({ statements }) => statements)).to.deep.equal([3, 3, 3, 2, 2])
    })

  it('of another runtime: a token of one is not found in the other [promises 230, 74]', async () => {
    world = await openRememberedWorld(db.knex, { name: 'one' })
    const { accessToken, user } = await world.perms.run(() => signInAs({}, { perms: world.perms }))
    await world.perms.run(() => asSystem(() => Note.create({ text: 'mine', userId: user.id })))
    await world.ask('GET', '/notes/', accessToken)
    expect((await world.ask('GET', '/notes/', accessToken)).statements).to.equal(1)
    const { createDatabase } = await import('../../helpers/databases.js')
    const second = await createDatabase(db.name)
    const other = await openRememberedWorld(second.knex, { name: 'two' })
    try {
      expect((await other.ask('GET', '/notes/', accessToken)).status).to.equal(401)
      expect(await world.ask('GET', '/notes/', accessToken)).to.include({ status: 200, statements: 1 })
    } finally {
      await other.perms.close()
      await second.destroy()
    }
  })
})
