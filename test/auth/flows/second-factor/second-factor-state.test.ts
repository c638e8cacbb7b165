import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { nodeAdapter } from '../../../../src/adapters/node.js'
import { Api, initPerms, type Perms, SecondFactor, ServiceUnavailableError, type User, UserResource } from '../../../../src/index.js'
import { createTables } from '../../../../src/migrations.js'
import { eachDatabase } from '../../../helpers/databases.js'
import { rejection } from '../../../helpers/errors.js'
import { request } from '../../../helpers/http.js'
import { Member, member, password, secret, setUp, TestHasher } from '../../set-up.js'
import { addFactor } from './factor.js'

eachDatabase('Whether a user has a second factor', (db) => {
  let perms: Perms
  let user: Member

  /** A new process of the same application, as far as the library's memory goes. */
  async function restart(knex: Knex = db.knex, options: object = {}): Promise<void> {
    await perms.close()
    perms = initPerms({ knex, jwt: { secret }, user: Member as never, passwordHasher: new TestHasher(), ...options })
  }
  const signIn = () => perms.auth.signIn({ email: user.email, password })

  /** Breaks the statements about the table of factors, and only those, until told to stop. */
  function breakFactors(knex: Knex, error: () => Error): () => void {
    const { client } = knex as unknown as { client: { query(connection: unknown, given: unknown): Promise<unknown> } }
    const { query } = client
    client.query = function (connection, given) {
      const text = typeof given === 'string' ? given : JSON.stringify(given)
      return text.includes('second_factor') ? Promise.reject(error()) : query.call(this, connection, given)
    }
    return () => {
      client.query = query
    }
  }

  beforeEach(async function () {
    this.timeout(20_000)
    for (const table of ['second_factor', 'token', 'user_role', 'member', 'domain']) await db.knex.schema.dropTableIfExists(table)
    perms = (await setUp(db.knex)).perms
    user = await member()
  })
  afterEach(() => perms.close())

  const withFactor = async (): Promise<void> => {
    await createTables(db.knex, [SecondFactor])
    await addFactor(perms, user as unknown as User, password)
  }

  it('is unknown while its look-up fails, and sign-in answers 503 [promise 61]', async () => {
    await withFactor()
    for (const error of [
      () => Object.assign(new Error('Connection terminated unexpectedly')),
      () => Object.assign(new Error('permission denied for table second_factor'), { code: '42501', errno: 1142 }),
      () => new Error('an error that no driver documents'),
    ]) {
      await restart()
      const mend = breakFactors(db.knex, error)
      try {
        for (let tries = 0; tries < 3; tries += 1) {
          const refused = (await rejection(signIn())) as ServiceUnavailableError
          expect(refused).to.be.instanceOf(ServiceUnavailableError)
          expect(refused.message).to.match(/second factor/)
        }
      } finally {
        mend()
      }
      expect((await signIn()).status).to.equal('secondFactor')
    }
  })

  it('counts no failed sign-in for a look-up that failed [promise 61]', async () => {
    await withFactor()
    await restart(db.knex, { throttle: { signIn: { pair: 2, account: 2 } } })
    const mend = breakFactors(db.knex, () => new Error('gone'))
    for (let tries = 0; tries < 4; tries += 1) expect(await rejection(signIn())).to.be.instanceOf(ServiceUnavailableError)
    mend()
    expect((await signIn()).status).to.equal('secondFactor')
  })

  it('is queried by each of many concurrent sign-ins right after a start [promise 61]', async function () {
    this.timeout(60_000)
    await withFactor()
    await restart()
    const results = await Promise.all(
      Array.from({ length: db.dialect === 'sqlite' ? 60 : 300 }, () => signIn().catch((error: Error) => error)),
    )
    const outcomes = new Set(results.map((one) => (one instanceof Error ? one.constructor.name : one.status)))
    outcomes.delete('TooManyAttemptsError')
    outcomes.delete('ServiceUnavailableError')
    expect([...outcomes]).to.deep.equal(['secondFactor'])
  })

  it('is known as soon as the table exists, without a delay [promise 61]', async () => {
    expect((await signIn()).status).to.equal('signedIn')
    await withFactor()
    expect((await signIn()).status).to.equal('secondFactor')
    await restart()
    // Another process made the table and the factor after this one had found no table.
    await db.knex.schema.renameTable('second_factor', 'elsewhere')
    expect((await signIn()).status).to.equal('signedIn')
    await db.knex.schema.renameTable('elsewhere', 'second_factor')
    expect((await signIn()).status).to.equal('secondFactor')
  })

  it('is never assumed to be "none" once the table existed [promise 61]', async () => {
    await withFactor()
    expect((await signIn()).status).to.equal('secondFactor')
    await db.knex.schema.renameTable('second_factor', 'elsewhere')
    expect(await rejection(signIn())).to.be.instanceOf(Error)
    await db.knex.schema.renameTable('elsewhere', 'second_factor')
  })

  if (db.name === 'pg' || db.name === 'mysql2')
    it('is not skipped over HTTP when a sign-in fails for want of a connection [promise 61]', async function () {
      this.timeout(20_000)
      await withFactor()
      const small = db.connect({ pool: { min: 0, max: 2 }, acquireConnectionTimeout: 1000 })
      small.client.logger.warn = () => {}
      const hasher = new TestHasher()
      await restart(small, { passwordHasher: hasher })
      const { router } = nodeAdapter(perms, { onError: () => undefined })
      const server: Server = createServer(router(new Api({ resources: [new UserResource({ features: { totp: true } })] })))
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const login = () => request(url, 'POST', '/users/login', { json: { email: user.email, password } })
      try {
        // Two slow lists take the whole pool while the password is verified.
        const lists: Knex.Transaction[] = []
        hasher.beforeVerify = async () => {
          lists.push(await small.transaction(), await small.transaction())
        }
        const first = await login()
        expect([first.status, first.body.code]).to.deep.equal([503, 'unavailable'])
        hasher.beforeVerify = undefined
        for (const list of lists) await list.rollback()
        const next = await login()
        expect(next.body).to.include({ status: 'second_factor' })
        expect(next.body).not.to.have.property('access_token')
      } finally {
        server.closeAllConnections()
        server.close()
        await restart()
        await small.destroy()
      }
    })
})
