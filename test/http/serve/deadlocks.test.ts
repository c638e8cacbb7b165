import { expect } from 'chai'
import type { Knex } from 'knex'
import type { Resource } from '../../../src/http/core/resource.js'
import { CrudResource } from '../../../src/http/crud/crud-resource.js'
import { Api } from '../../../src/http/serve/api.js'
import { UserResource } from '../../../src/http/users/user-resource.js'
import {
  asSystem,
  authenticated,
  BaseModel,
  BasePermsModel,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  type Perms,
  transaction,
  UserOwnershipMixin,
} from '../../../src/index.js'
import { type Factory, factory, signInAs, testHasher } from '../../../src/testing/index.js'
import { type App, apps, type Start } from '../../conformance/apps.js'
import { availableDatabases, createDatabase, type OwnDatabase } from '../../helpers/databases.js'
import { rejection } from '../../helpers/errors.js'
import { type Answer, request } from '../../helpers/http.js'
import { migrateAtOnce } from '../../helpers/library-tables-at-once.js'

/** Protected: who refers to one may have to read it, which is one statement more. */
class Depot extends BasePermsModel.withColumns({ name: column.string({ maxLength: 20 }) }) {
  static override policy = { read: authenticated() }
}

class Road extends BaseModel.withColumns({ name: column.string({ maxLength: 20 }) }) {}

class Parcel extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  label: column.string({ maxLength: 20 }),
  hooked: column.integer().default(0),
  roadId: column.uuid().nullable().references('road.id'),
  depotId: column.uuid().nullable().references('depot.id'),
}) {}

/** Over the same table, with a hook that counts how often it has run: what it sets may have to be looked at. */
class HookedParcel extends Parcel {
  override async $beforeUpdate(...[options, context]: Parameters<BasePermsModel['$beforeUpdate']>): Promise<void> {
    await super.$beforeUpdate(options, context)
    this.hooked = (this.hooked ?? 0) + 1
  }
}

class Line extends BaseModel.withColumns({ text: column.string({ maxLength: 20 }) }) {}

/** After its row is there, it writes a line: another statement. */
class Logged extends BaseModel.withColumns({ text: column.string({ maxLength: 20 }) }) {
  override async $afterInsert(...args: Parameters<BaseModel['$afterInsert']>): Promise<void> {
    await super.$afterInsert(...args)
    await Line.query().insert({ text: this.text })
  }
}

const start = apps.node as Start
const databases = availableDatabases.filter((name) => name === 'pg' || name === 'mysql2')
const secret = 'a secret of the tests, 32 bytes long'

function resources(): Resource[] {
  const hooks = {
    beforeUpdate(_row: unknown, { input }: { input: Record<string, unknown> }) {
      input.label = `${input.label}!`
    },
  }
  return [
    new UserResource(),
    new CrudResource({ model: Parcel }),
    new CrudResource({ model: HookedParcel, path: 'hooked-parcels' }),
    new CrudResource({ model: HookedParcel, path: 'resource-hooks', name: 'ResourceHooks', hooks: hooks as never }),
  ]
}

for (const client of databases) {
  describe(`Deadlocks during requests (${client})`, function () {
    this.timeout(30_000)
    let own: OwnDatabase
    /** Another process's. */
    let other: Knex
    let perms: Perms
    let app: App
    let token: string
    let parcels: Factory<Parcel>
    const roads = factory(Road, (n) => ({ name: `Road ${n}` }))
    const depots = factory(Depot, (n) => ({ name: `Depot ${n}` }))
    /** Of the statements that the library sent. */
    const deadlocks: string[] = []

    before(async () => {
      own = await createDatabase(client)
      other = own.connect()
      own.knex.on('query-error', ({ code }: { code: string }) => {
        if (['40P01', '40001', 'ER_LOCK_DEADLOCK'].includes(code)) deadlocks.push(code)
      })
      perms = initPerms({ knex: own.knex, jwt: { secret }, passwordHasher: testHasher() })
      await migrateAtOnce(perms)
      await createTables(own.knex, [Road, Depot, Parcel, Line, Logged])
      await other.raw('create sequence tries')
      await other.raw('create table ballast (n integer)')
      const signedIn = await signInAs()
      token = signedIn.accessToken
      parcels = factory(Parcel, { label: 'new', userId: signedIn.user.id })
      app = await start(perms, new Api({ resources: resources() }))
    })
    beforeEach(() => {
      deadlocks.length = 0
    })
    after(async () => {
      await app?.close()
      await perms?.close()
      await own?.destroy()
    })

    const patch = (path: string, id: string, json: object): Promise<Answer> => request(app.url, 'PATCH', `/${path}/${id}`, { token, json })

    async function untilSomebodyWaits(): Promise<void> {
      const waiting =
        client === 'pg'
          ? "select 1 from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
          : `select 1 from information_schema.innodb_trx t join information_schema.processlist p on p.id = t.trx_mysql_thread_id
             where p.db = database() and t.trx_state = 'LOCK WAIT'`
      const rowsOf = (result: unknown) => (client === 'pg' ? (result as { rows: unknown[] }).rows : (result as [unknown[]])[0])
      for (let i = 0; i < 50; i += 1) {
        // MariaDB shows what it knew at the last look, unless that was a tenth of a second ago.
        await new Promise((resolve) => setTimeout(resolve, 120))
        if (rowsOf(await other.raw(waiting)).length > 0) return
      }
      throw new Error('Nobody waits for a lock.')
    }

    /** A transaction that holds something, waits until the request `ask` waits for it, and then wants what the request has. */
    async function cross<T>(
      hold: (trx: Knex) => PromiseLike<unknown>,
      want: (trx: Knex) => PromiseLike<unknown>,
      ask: () => Promise<T>,
    ): Promise<T> {
      const trx = await other.transaction()
      let answer: Promise<T> | undefined
      try {
        // It is the request that falls: on PostgreSQL who looks for a deadlock first, on MariaDB who has done less.
        if (client === 'pg') await trx.raw("set local deadlock_timeout = '60s'")
        else await trx('ballast').insert(Array.from({ length: 50 }, (_, n) => ({ n })))
        await hold(trx)
        answer = ask()
        await untilSomebodyWaits()
        await want(trx)
        await trx.commit()
      } finally {
        if (!trx.isCompleted()) await trx.rollback()
        await answer?.catch(() => undefined)
      }
      return await answer
    }

    /** Lets the first `times` writes to a table fall, as to a deadlock. */
    async function letFall(table: 'parcel' | 'line', times: number): Promise<void> {
      await other.raw('alter sequence tries restart')
      const action = table === 'parcel' ? 'update' : 'insert'
      if (client === 'pg') {
        await other.raw(`create or replace function fall() returns trigger language plpgsql as $$ begin
          if nextval('tries') <= ${times} then raise exception 'deadlock detected' using errcode = '40P01'; end if; return new; end $$`)
        await other.raw(`create or replace trigger fall before ${action} on ${table} for each row execute function fall()`)
      } else {
        await other.raw(`create or replace trigger fall_${table} before ${action} on ${table} for each row begin
          if nextval(tries) <= ${times} then signal sqlstate '40001' set mysql_errno = 1213, message_text = 'Deadlock found'; end if; end`)
      }
    }
    afterEach(async () => {
      for (const table of ['parcel', 'line'])
        await other.raw(client === 'pg' ? `drop trigger if exists fall on ${table}` : `drop trigger if exists fall_${table}`)
    })

    const kinds = {
      'one statement': { path: 'parcels', label: 'moved', hooked: 0 },
      'a transaction of its own': { path: 'hooked-parcels', label: 'moved', hooked: 1 },
      'the transaction of hooks': { path: 'resource-hooks', label: 'moved!', hooked: 1 },
    }
    for (const [what, { path, label, hooked }] of Object.entries(kinds)) {
      it(`a write in ${what} is retried after a deadlock, with the effect of running its hooks once [promise 53]`, async () => {
        const [parcel, road, depot] = [await parcels.create(), await roads.create(), await depots.create()]
        const json = { label: 'moved', roadId: road.id, ...(hooked && { depotId: depot.id }) }
        const { status, body } = await cross(
          (trx) => trx('road').where({ id: road.id }).forUpdate().first(),
          (trx) => trx('parcel').where({ id: parcel.id }).update({ created_at: new Date() }),
          () => patch(path, parcel.id, json),
        )
        expect(status, JSON.stringify(body)).to.equal(200)
        expect(deadlocks).to.have.length(1)
        expect(body).to.include({ label, hooked, roadId: road.id })
        const stored = await other('parcel').where({ id: parcel.id }).first()
        expect([stored.label, stored.hooked, stored.road_id]).to.deep.equal([label, hooked, road.id])
      })

      it(`a write in ${what} is attempted up to four times [promise 53]`, async () => {
        const parcel = await parcels.create()
        await letFall('parcel', 3)
        const { status, body } = await patch(path, parcel.id, { label: 'moved' })
        expect([status, body.label, body.hooked], JSON.stringify(body)).to.deep.equal([200, label, hooked])
        expect(deadlocks).to.have.length(3)
      })

      it(`a write in ${what} gives 503 with Retry-After after the last attempt, and leaves the row unchanged [promise 53]`, async () => {
        const parcel = await parcels.create()
        await letFall('parcel', 1000)
        const { status, headers, body } = await patch(path, parcel.id, { label: 'moved' })
        expect([status, body.code]).to.deep.equal([503, 'unavailable'])
        expect(Number(headers.get('retry-after'))).to.be.within(1, 60)
        expect(deadlocks).to.have.length(4)
        const stored = await other('parcel').where({ id: parcel.id }).first()
        expect([stored.label, stored.hooked]).to.deep.equal(['new', 0])
      })
    }

    it('a write of an after-hook is retried alone, and the row is not written twice [promise 53]', async () => {
      await letFall('line', 2)
      await Logged.create({ text: 'kept' })
      expect(deadlocks).to.have.length(2)
      await letFall('line', 1000)
      expect((await rejection(Logged.create({ text: 'lost' }))).name).to.equal('RetryableDatabaseError')
      const count = async (table: string, text: string) => (await other(table).where({ text })).length
      expect([await count('logged', 'kept'), await count('line', 'kept')]).to.deep.equal([1, 1])
      expect([await count('logged', 'lost'), await count('line', 'lost')]).to.deep.equal([1, 0])
    })

    it('a deadlock in a transaction of the application retries the transaction, not the statement [promise 53]', async () => {
      const lines = async () => (await other('line').whereIn('text', ['first', 'second']).orderBy('text')).map(({ text }) => text)
      await letFall('line', 3)
      let runs = 0
      await transaction(async () => {
        runs += 1
        await Line.create({ text: 'first' })
        await Line.create({ text: 'second' })
      })
      expect([runs, await lines()]).to.deep.equal([4, ['first', 'second']])
      await other('line').delete()
      await letFall('line', 1)
      const trx = await own.knex.transaction()
      expect((await rejection(Line.create({ text: 'first' }, trx))).name).to.equal('RetryableDatabaseError')
      expect(deadlocks).to.have.length(4)
      await trx.rollback()
      expect(await lines()).to.deep.equal([])
    })

    if (client !== 'pg') return

    it('loading the caller is retried if a concurrent migration interferes [promise 53]', async () => {
      const { status } = await cross(
        (trx) => trx.raw('lock table "user" in access exclusive mode'),
        (trx) => trx.raw('lock table token in access exclusive mode'),
        () => request(app.url, 'GET', '/users/me', { token }),
      )
      expect(deadlocks).to.have.length(1)
      expect(status).to.equal(200)
    })

    it('a read is retried if a concurrent migration interferes [promise 53]', async () => {
      const rows = await cross(
        (trx) => trx.raw('lock table depot in access exclusive mode'),
        (trx) => trx.raw('lock table road in access exclusive mode'),
        () => asSystem(async () => await Road.query().select('id').whereExists(Depot.query().whereRaw('false'))),
      )
      expect(deadlocks).to.have.length(1)
      expect(rows).to.deep.equal([])
    })

    it('a write is retried after a serialization failure [promise 53]', async () => {
      const knex = own.connect({ connection: { connectionString: own.url, options: '-c default_transaction_isolation=serializable' } })
      const failures: string[] = []
      knex.on('query-error', ({ code }: { code: string }) => failures.push(code))
      const parcel = await parcels.create()
      await app.close()
      await perms.close()
      const strict = initPerms({ knex, jwt: { secret }, passwordHasher: testHasher() })
      const served = await start(strict, new Api({ resources: resources() }))
      try {
        const trx = await other.transaction()
        await trx('parcel').where({ id: parcel.id }).update({ created_at: new Date() })
        const answer = request(served.url, 'PATCH', `/parcels/${parcel.id}`, { token, json: { label: 'moved' } })
        await untilSomebodyWaits()
        await trx.commit()
        const { status, body } = await answer
        expect([status, body.label, failures]).to.deep.equal([200, 'moved', ['40001']])
      } finally {
        await served.close()
        await strict.close()
        perms = initPerms({ knex: own.knex, jwt: { secret }, passwordHasher: testHasher() })
        app = await start(perms, new Api({ resources: resources() }))
      }
    })
  })
}
