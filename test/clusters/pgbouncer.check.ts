import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import { withAdvisoryLock } from '../../src/database/advisory-lock.js'
import {
  Api,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  owner,
  type Perms,
  transaction,
  type User,
  UserResource,
} from '../../src/index.js'
import { conformance, nodeReference, type Responses } from '../../src/testing/conformance/index.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { type App, apps, type Start } from '../conformance/apps.js'
import { elsewhere } from '../helpers/cluster-nodes.js'
import { clientOf, countQueries, createDatabase, embeddedDriver, type OwnDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'
import { type RequestOptions, request } from '../helpers/http.js'

/** `.ci/clusters` starts a PgBouncer in transaction mode before POSTGRES_URL, with four connections to the server for each database. */
const pooler = process.env['PGBOUNCER_URL']
if (!pooler) throw new Error('Set PGBOUNCER_URL, or run .ci/clusters.')
const throughPooler = (own: OwnDatabase, max = 8) => Knex({ client: 'pg', connection: elsewhere(own.url, pooler), pool: { min: 0, max } })

const startNode = apps['node'] as Start
const sqlite = () => Knex({ client: clientOf(embeddedDriver), connection: ':memory:', useNullAsDefault: true })
let responses: Promise<Responses> | undefined
const reference = () => {
  responses ??= nodeReference(sqlite)
  return responses
}
describe('The adapter of node:http on SQLite', () => {
  it('gives the responses to compare with', async function () {
    this.timeout(120_000)
    expect((await reference()).size).to.be.greaterThan(0)
  })
})

const opened: OwnDatabase[] = []
after(async () => {
  for (const database of opened) await database.destroy()
})
conformance(
  'node:http behind PgBouncer, with named statements',
  {
    async knex() {
      const database = await createDatabase('pg')
      opened.push(database)
      return throughPooler(database)
    },
    start: startNode,
  },
  { describe, it, before, after },
  reference,
)

class Note extends HasUserMixin(BasePermsModel).withColumns({
  text: column.string({ maxLength: 100 }),
  count: column.integer().default(0),
}) {
  static override tableName = 'note'
  static override policy = { read: owner(), create: owner(), update: owner(), delete: owner() }
}

const secret = 'a secret of this test, 32 bytes or more'
const password = 'correct horse battery'

for (const [title, namedStatements] of [
  ['without named statements', false],
  ['with named statements, which PgBouncer 1.18 loses', true],
] as const)
  describe(`An application behind PgBouncer, ${title}`, function () {
    this.timeout(60_000)
    let own: OwnDatabase
    let knex: KnexInstance
    let perms: Perms
    let app: App
    before(async () => {
      own = await createDatabase('pg')
      knex = throughPooler(own)
      perms = initPerms({
        ...{ knex, namedStatements, jwt: { secret }, passwordHasher: testHasher(), models: [Note], auditLog: true, auditRetention: 1 },
        throttle: { store: 'database', signIn: { address: 1000 } },
      })
      await perms.migrate()
      await createTables(knex, [Note])
      const api = new Api({ resources: [new UserResource(), new CrudResource({ model: Note, path: 'notes' })] })
      app = await startNode(perms, api, [])
    })
    after(async () => {
      await app?.close()
      await perms?.close()
      await knex?.destroy()
      await own?.destroy()
    })
    const ask = (method: string, path: string, options?: RequestOptions) => request(app.url, method, path, options)
    const many = <T>(count: number, fn: (i: number) => Promise<T>) => Promise.all(Array.from({ length: count }, (_, i) => fn(i)))
    const newSession = async () => {
      const user = await asSystem(() => createUser({ password }))
      const signedIn = await ask('POST', '/users/login', { json: { email: user.email, password } })
      expect(signedIn.status, JSON.stringify(signedIn.body)).to.equal(200)
      return { user, token: signedIn.body.access_token as string, refreshToken: signedIn.body.refresh_token as string }
    }

    it('signs in, refreshes, creates, lists, gets, patches and deletes', async () => {
      const { token, refreshToken } = await newSession()
      const created = await ask('POST', '/notes', { token, json: { text: 'one' } })
      expect(created.status, JSON.stringify(created.body)).to.equal(201)
      const path = `/notes/${created.body.id}`
      expect((await ask('GET', path, { token })).body.text).to.equal('one')
      expect((await ask('PATCH', path, { token, json: { text: 'two' } })).body.text).to.equal('two')
      expect((await ask('GET', '/notes', { token })).body.data.map(({ text }: Note) => text)).to.deep.equal(['two'])
      expect((await ask('POST', '/users/refresh', { json: { refresh_token: refreshToken } })).status).to.equal(200)
      expect((await ask('DELETE', path, { token })).status).to.equal(204)
      expect((await ask('GET', path, { token })).status).to.equal(404)
    })

    it('shows each of 200 users in parallel only the own rows', async () => {
      const users = await asSystem(() => many(200, async (i) => await createUser({ email: `lister${i}@example.com` })))
      await asSystem(() => many(200, (i) => Note.create({ text: `note ${i}`, userId: (users[i] as User).id })))
      const tokens = await many(200, async (i) => (await signInAs(users[i] as User, { perms })).accessToken)
      // The second round reads with remembered callers.
      for (let round = 0; round < 2; round += 1) {
        const answers = await many(200, (i) => ask('GET', '/notes', { token: tokens[i] }))
        answers.forEach(({ status, body }, i) => {
          expect(status, JSON.stringify(body)).to.equal(200)
          expect(body.data.map(({ text }: Note) => text)).to.deep.equal([`note ${i}`])
        })
      }
    })

    it('proves a remembered caller in the statement of the list, and answers 401 after a revocation by raw SQL', async () => {
      const { user, token } = await newSession()
      await ask('POST', '/notes', { token, json: { text: 'mine' } })
      expect((await ask('GET', '/notes', { token })).status).to.equal(200)
      const { result, statements } = await countQueries(knex, () => ask('GET', '/notes', { token }))
      expect(result.body.data).to.have.length(1)
      expect(statements).to.have.length(1)
      expect(statements[0]).to.include('sha256')
      await own.knex('token').where({ user_id: user.id }).update({ revoked: true })
      expect((await ask('GET', '/notes', { token })).status).to.equal(401)
    })

    it('locks rows: 40 increments in parallel all count', async () => {
      const { user } = await newSession()
      const note = await asSystem(() => Note.create({ text: 'counter', userId: user.id }))
      const increment = () =>
        transaction(async () => {
          const row = (await Note.query().findById(note.id).forUpdate()) as Note
          await row.update({ count: row.count + 1 })
        })
      await asSystem(() => many(40, increment))
      expect((await own.knex('note').where('id', note.id).first()).count).to.equal(40)
    })

    it('rolls back a transaction as a whole', async () => {
      const { user } = await newSession()
      const failed = transaction(async () => {
        await asSystem(() => Note.create({ text: 'lost', userId: user.id }))
        throw new Error('a failure of this test')
      })
      expect((await rejection(failed)).message).to.equal('a failure of this test')
      expect(await own.knex('note').where('text', 'lost')).to.deep.equal([])
    })

    it('limits sign-ins: of 30 wrong passwords at once ten are checked', async () => {
      const { user } = await newSession()
      const answers = await many(30, () => ask('POST', '/users/login', { json: { email: user.email, password: 'wrong' } }))
      expect(answers.filter(({ status }) => status === 401)).to.have.length(10)
      expect(answers.filter(({ status }) => status === 429)).to.have.length(20)
    })

    it('deletes what has expired, also when two jobs run at once', async () => {
      const past = new Date(Date.now() - 3 * 86_400_000)
      await own.knex('token').update({ expires_at: past })
      await own.knex('perms_throttle').update({ expires_at: past })
      await own.knex('audit_log').update({ created_at: past })
      await many(2, () => perms.maintain({ batch: 20 }))
      for (const table of ['token', 'perms_throttle', 'audit_log']) expect(await own.knex(table), table).to.deep.equal([])
    })
  })

describe('Migrations behind PgBouncer', () => {
  it('of more processes than the pooler has connections wait for each other', async function () {
    this.timeout(50_000)
    const own = await createDatabase('pg')
    const processes = Array.from({ length: 8 }, () => throughPooler(own, 1))
    try {
      let running = 0
      await Promise.all(
        processes.map((knex) =>
          withAdvisoryLock(knex, async () => {
            running += 1
            expect(running).to.equal(1)
            await knex.raw('select 1')
            running -= 1
          }),
        ),
      )
    } finally {
      for (const knex of processes) await knex.destroy()
      await own.destroy()
    }
  })
})
