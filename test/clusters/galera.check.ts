import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'chai'
import Knex from 'knex'
import { asSystem, Domain, initPerms, type Perms, type PermsError, Role, runAs, transaction, User, UserRole } from '../../src/index.js'
import { capturedMailer, createUser, testHasher } from '../../src/testing/index.js'
import { elsewhere } from '../helpers/cluster-nodes.js'
import { createDatabase, type OwnDatabase } from '../helpers/databases.js'
import { repetitions } from '../helpers/repetitions.js'
import { until } from '../helpers/until.js'

/** `.ci/clusters` starts three nodes. MARIADB_URL is the first of them. */
const { GALERA_URLS, GALERA_FOLDER: folder } = process.env
if (!GALERA_URLS || !folder) throw new Error('Set GALERA_URLS and GALERA_FOLDER, or run .ci/clusters.')
const urls = GALERA_URLS.split(',')
/** How often each race is repeated. */
const RACES = repetitions(50)
const password = 'correct horse battery'
/** Knex prints each failed connection to the killed node. */
const silent = { warn: () => undefined, error: () => undefined }

describe('A Galera cluster of three nodes', function () {
  this.timeout(120_000)
  let own: OwnDatabase
  let nodes: readonly Perms[] = []
  const mailer = capturedMailer()
  let count = 0
  let granted = 0
  const address = () => `racer${++count}@example.com`

  before(async () => {
    own = await createDatabase('mysql2')
    const options = {
      ...{ jwt: { secret: 'a secret of this test, 32 bytes or more' }, passwordHasher: testHasher(), throttle: false as const },
      mail: { mailer, baseUrl: 'https://app.example.com' },
    }
    nodes = urls.map((url, i) => {
      const knex = Knex({ client: 'mysql2', connection: elsewhere(own.url, url), pool: { min: 0, max: 8 }, log: silent })
      return initPerms({ knex, name: `node${i + 1}`, ...options })
    })
    for (const perms of nodes)
      perms.on('roleGranted', () => {
        granted += 1
      })
    await on(0, (perms) => perms.migrate())
  })
  after(async () => {
    for (const perms of nodes) {
      await perms.close()
      await perms.knex.destroy()
    }
    await own?.destroy()
  })

  const node = (i: number) => nodes[i % nodes.length] as Perms
  /** Runs fn as the system, with the database of a node. */
  const on = <T>(i: number, fn: (perms: Perms) => Promise<T>): Promise<T> => node(i).run(() => asSystem(() => fn(node(i))))

  /** Runs fn on all nodes at once. @returns the errors, after asserting that exactly one succeeded */
  async function oneWinner(fn: (perms: Perms, i: number) => Promise<unknown>): Promise<string[]> {
    const results = await Promise.allSettled(nodes.map((_, i) => on(i, (perms) => fn(perms, i))))
    const errors = results.flatMap((one) => (one.status === 'rejected' ? [one.reason as Error] : []))
    expect(errors.length, errors.map(String).join(', ')).to.equal(nodes.length - 1)
    return errors.map(({ name }) => name)
  }
  const race = (title: string, body: () => Promise<void>) =>
    it(title, async () => {
      for (let i = 0; i < RACES; i += 1) await body()
    })

  race('three registrations with one address: one creates the user', async () => {
    const email = address()
    const errors = await oneWinner(() => User.create({ email, password } as never))
    expect(errors).to.deep.equal(['UniqueViolationError', 'UniqueViolationError'])
    expect(await own.knex('user').where({ email })).to.have.length(1)
  })

  race('three grants of one role: one creates the row and emits the event', async () => {
    const { id } = await on(0, () => createUser())
    granted = 0
    await Promise.all(nodes.map((_, i) => on(i, () => UserRole.create({ userId: id, role: 'editor' } as never))))
    expect(await own.knex('user_role').where({ user_id: id })).to.have.length(1)
    expect(granted).to.equal(1)
  })

  race('three redemptions of one invitation: one grants the role', async () => {
    const email = address()
    const name = `press${count}`
    await on(0, async (perms) => {
      const boss = await createUser({}, { role: Role.ADMIN })
      await Domain.create({ name })
      await runAs(boss, () => perms.auth.invitations.invite({ email, role: 'editor', domain: name }))
      await perms.auth.settled()
    })
    const token = mailer.tokenFrom(mailer.last(email))
    const errors = await oneWinner(async (perms) => await perms.auth.invitations.acceptNew({ token, password }))
    for (const error of errors) expect(error).to.be.oneOf(['InvalidTokenError', 'UniqueViolationError'])
    expect(await own.knex('user').where({ email })).to.have.length(1)
    expect(await own.knex('invitation').where({ email }).whereNotNull('accepted_at')).to.have.length(1)
  })

  for (const [what, leave] of Object.entries({
    deletions: (user: User) => user.delete(),
    'revoked roles': (user: User) => user.revokeRole(Role.SUPERADMIN),
    'disabled accounts': (user: User) => user.update({ isEnabled: false }),
  }))
    race(`${what} of all superadmins at once: one superadmin stays`, async () => {
      const ids = await on(0, async () => {
        await own.knex('user_role').where('role', Role.SUPERADMIN).delete()
        const users = []
        for (let i = 0; i < nodes.length; i += 1) users.push(await createUser({}, { role: Role.SUPERADMIN }))
        return users.map(({ id }) => id)
      })
      const results = await Promise.allSettled(nodes.map((_, i) => on(i, async () => await leave(await User.getOr404(ids[i] as string)))))
      const errors = results.flatMap((one) => (one.status === 'rejected' ? [(one.reason as Error).name] : []))
      expect(errors).to.deep.equal(['ConflictError'])
      const left = own.knex('user_role').join('user', 'user.id', 'user_role.user_id').where({ role: Role.SUPERADMIN, is_enabled: true })
      expect(await left.select('user.id')).to.have.length(1)
    })

  it('repeats a transaction that another node has overtaken: 30 increments on three nodes all count', async () => {
    const { id } = await on(0, () => createUser())
    await own.knex('user_setting').insert({ id, user_id: id, key: 'n', value: '0', created_at: new Date(), updated_at: new Date() })
    const increment = () =>
      transaction(async (trx) => {
        const row = await trx('user_setting').where({ id }).forUpdate().first()
        await trx('user_setting')
          .where({ id })
          .update({ value: String(Number(row.value) + 1) })
      })
    await Promise.all(Array.from({ length: 30 }, (_, i) => on(i, increment)))
    expect((await own.knex('user_setting').where({ id }).first()).value).to.equal('30')
  })

  it('keeps every acknowledged write when a node is killed under load and rejoins', async function () {
    this.timeout(300_000)
    const acknowledged: string[] = []
    const errors: unknown[] = []
    let isLoaded = true
    /** Creates users on a node until the load ends. */
    const writer = async (i: number) => {
      while (isLoaded) {
        const email = address()
        await on(i, () => User.create({ email })).then(
          () => acknowledged.push(email),
          (error: unknown) => errors.push(error),
        )
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    }
    const writers = Array.from({ length: 6 }, (_, i) => writer(i))
    const more = async (rows: number) => {
      const enough = acknowledged.length + rows
      await until(`${rows} further writes`, () => acknowledged.length >= enough, 60)
    }
    const isSynced = async () => {
      const state = node(2).knex('information_schema.global_status').where('variable_name', 'wsrep_local_state_comment')
      const rows = await state.pluck('variable_value').catch(() => [])
      return rows[0] === 'Synced'
    }
    try {
      await more(200)
      process.kill(Number(readFileSync(join(folder, 'pids', 'node3'), 'utf8')), 'SIGKILL')
      await until('an error of the killed node', () => errors.length > 0, 60)
      await more(200)
      execFileSync(join(folder, 'node3', 'start'), { stdio: 'ignore' })
      await until('the node that rejoins', isSynced, 120)
      await more(200)
    } finally {
      isLoaded = false
      await Promise.all(writers)
    }
    for (const error of errors) expect((error as PermsError).status, String(error)).to.equal(503)
    for (let i = 0; i < nodes.length; i += 1) {
      const stored = new Set(await node(i).knex('user').pluck('email'))
      expect(
        acknowledged.filter((email) => !stored.has(email)),
        `node ${i + 1}`,
      ).to.deep.equal([])
    }
  })
})
