import { createServer } from 'node:net'
import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import { Model } from 'objection'
import {
  ForbiddenError,
  MissingReferenceError,
  PermsError,
  ServiceUnavailableError,
  StillReferencedError,
  UniqueViolationError,
  ValidationError,
} from '../../../src/core/errors.js'
import { prepareConnections } from '../../../src/database/connections.js'
import { type FieldOf, mapDatabaseError, RetryableDatabaseError } from '../../../src/database/errors/database-errors.js'
import { createTablesFromSpecs, type TableSpec } from '../../../src/database/tables/tables.js'
import { column } from '../../../src/schema/column.js'
import type { Dialect } from '../../../src/schema/storage.js'
import { eachDriver } from '../../helpers/databases.js'
import { until } from '../../helpers/until.js'

const person: TableSpec = {
  name: 'person',
  primaryKey: 'id',
  columns: {
    id: column.integer(),
    emailAddress: column.string({ maxLength: 40 }).unique(),
    firstName: column.string({ maxLength: 10 }),
    age: column.integer().default(1),
    born: column.date().default('2000-01-01'),
    bossId: column.integer().nullable().references('person.id', { onDelete: 'restrict' }),
    friendId: column.integer().nullable().references('person.id', { onDelete: 'restrict' }),
  },
}
const personRole: TableSpec = {
  name: 'person_role',
  primaryKey: 'id',
  columns: {
    id: column.integer(),
    personId: column.integer().references('person.id', { onDelete: 'restrict' }),
    role: column.string(),
    domainId: column.integer().default(0),
  },
  uniques: [['personId', 'role', 'domainId']],
}

async function thrown(doing: PromiseLike<unknown>): Promise<unknown> {
  try {
    await doing
  } catch (error) {
    return error
  }
  throw new Error('It was not refused.')
}

const secret = 'S3cret-value'

/** Everything that a log line would show of an error. */
function shown(error: unknown): string {
  const parts: string[] = []
  for (let e = error as Record<string, unknown> | undefined; e; e = e['cause'] as Record<string, unknown> | undefined) {
    parts.push(String(e['message']), JSON.stringify(e), String(e['stack'] ?? ''))
  }
  return parts.join('\n')
}

eachDriver('mapDatabaseError', (db) => {
  let undo: () => void
  before(async () => {
    undo = prepareConnections(db.knex)
    await createTablesFromSpecs(db.knex, [personRole, person])
  })
  after(() => undo())
  beforeEach(async () => {
    await db.knex('person_role').del()
    await db.knex('person').update({ boss_id: null, friend_id: null })
    await db.knex('person').del()
    await add({ id: 1, email_address: 'ada@example.com' })
  })

  const add = (more: object, knex: KnexInstance = db.knex) => knex('person').insert({ first_name: 'Ada', ...more })

  /** The mapped error, which must hold neither SQL nor values. */
  const mapped = async (doing: PromiseLike<unknown>, fieldOf?: FieldOf): Promise<PermsError> => {
    const error = mapDatabaseError(await thrown(doing), db.dialect, fieldOf)
    expect(error).to.be.instanceOf(PermsError)
    expect(shown(error)).not.to.match(new RegExp(`${secret}|insert into|select |update [\`"]|delete from|ada@example`, 'i'))
    return error as PermsError
  }
  const fields = (error: PermsError) => error.errors.map(({ field }) => field)

  it('names the field of a unique value that is taken [promise 48]', async () => {
    const error = await mapped(add({ id: 2, email_address: 'ada@example.com' }))
    expect(error).to.be.instanceOf(UniqueViolationError).and.include({ status: 409, code: 'taken' })
    expect(error.errors).to.deep.equal([{ field: 'emailAddress', message: 'is already taken' }])
    expect(error.message).to.equal('This is already taken: emailAddress.')
    await add({ id: 2, email_address: 'b' })
    expect(fields(await mapped(db.knex('person').where({ id: 2 }).update({ email_address: 'ada@example.com' })))).to.deep.equal([
      'emailAddress',
    ])
  })

  it('names the primary key when its value is taken', async () => {
    const error = await mapped(add({ id: 1, email_address: 'b' }))
    expect(error).to.be.instanceOf(UniqueViolationError)
    expect(fields(error)).to.deep.equal(['id'])
  })

  it('names each field of a unique combination', async () => {
    const grant = () => db.knex('person_role').insert({ id: Math.floor(Math.random() * 1e9), person_id: 1, role: secret, domain_id: 3 })
    await grant()
    expect(fields(await mapped(grant()))).to.have.members(['personId', 'role', 'domainId'])
  })

  it('is not confused by values that look like database messages', async () => {
    const email_address = "x' for key 'y' UNIQUE - failed: a.b"
    await add({ id: 2, email_address })
    expect(fields(await mapped(add({ id: 3, email_address })))).to.deep.equal(['emailAddress'])
    const role = ' - update or delete on table "x" UNIQUE constraint failed: q.z'
    const error = await mapped(db.knex('person_role').insert({ id: 1, person_id: 99, role, domain_id: 1 }))
    expect(error).to.be.instanceOf(MissingReferenceError)
    expect(fields(error)).to.deep.equal(['personId'])
  })

  it('recognises a reference to a missing row and names its field [promise 48]', async () => {
    const error = await mapped(db.knex('person_role').insert({ id: 1, person_id: 99, role: secret }))
    expect(error).to.be.instanceOf(MissingReferenceError).and.include({ status: 422, code: 'missing_reference' })
    expect(error.errors).to.deep.equal([{ field: 'personId', message: 'refers to something that does not exist' }])
    expect(fields(await mapped(db.knex('person').where({ id: 1 }).update({ boss_id: 99, first_name: 'x' })))).to.deep.equal(['bossId'])
    const email_address = '"friend_id" = `friend_id` = where'
    const update = db.knex('person').where({ friend_id: 1 }).orWhere({ id: 1 }).update({ email_address, boss_id: 99 })
    expect(fields(await mapped(update.then()))).to.deep.equal(['bossId'])
  })

  it('names every reference that a statement sets when the database does not say which', async () => {
    const named = fields(await mapped(add({ id: 2, email_address: 'b', boss_id: 99, friend_id: 98 })))
    if (db.dialect === 'sqlite') expect(named).to.deep.equal(['bossId', 'friendId'])
    else
      expect(named)
        .to.have.length(1)
        .and.to.satisfy(([field]: string[]) => field === 'bossId' || field === 'friendId')
  })

  it('recognises a row that other rows refer to', async () => {
    await db.knex('person_role').insert({ id: 1, person_id: 1, role: 'x' })
    const error = await mapped(db.knex('person').where({ id: 1 }).del())
    expect(error).to.be.instanceOf(StillReferencedError).and.include({ status: 409, code: 'still_referenced' })
    expect(error.errors).to.deep.equal([])
  })

  it('names a field that must have a value [promise 48]', async () => {
    const error = await mapped(add({ id: 2, email_address: null }))
    expect(error).to.be.instanceOf(ValidationError).and.include({ status: 422 })
    expect(error.errors).to.deep.equal([{ field: 'emailAddress', message: 'is required' }])
    const left = db.knex('person').insert({ id: 2, email_address: 'b' })
    expect(fields(await mapped(left))).to.deep.equal(['firstName'])
    expect(fields(await mapped(db.knex('person').update({ first_name: null })))).to.deep.equal(['firstName'])
  })

  if (db.dialect !== 'sqlite') {
    it('names a field whose value is too long [promise 48]', async () => {
      const error = await mapped(add({ id: 2, email_address: secret, first_name: `${secret}!!` }))
      expect(error).to.be.instanceOf(ValidationError)
      expect(error.errors).to.deep.equal([{ field: 'firstName', message: 'is too long' }])
      expect(fields(await mapped(db.knex('person').where({ id: 1 }).update({ first_name: secret, age: 3 })))).to.deep.equal(['firstName'])
    })

    it('recognises values of the wrong type or out of range', async () => {
      for (const more of [{ age: 2 ** 40 }, { age: secret }, { born: '2023-02-30' }, { born: secret }]) {
        const error = await mapped(add({ id: 2, email_address: 'b', ...more }))
        expect(error, JSON.stringify(more)).to.be.instanceOf(ValidationError)
        if (db.dialect === 'mysql') expect(fields(error)).to.deep.equal([Object.keys(more)[0]])
      }
    })
  }

  it('recognises a CHECK constraint of the application', async () => {
    await db.knex.schema.dropTableIfExists('checked')
    const name = 'cheap_enough'
    await db.knex.raw(`create table checked (price integer, constraint ${name} check (price < 10))`)
    expect(await mapped(db.knex('checked').insert({ price: 11 }))).to.be.instanceOf(ValidationError)
  })

  it('calls fieldOf with table and column, and omits columns without a field', async () => {
    const asked: unknown[] = []
    const error = await mapped(add({ id: 2, email_address: 'ada@example.com' }), (table, name) => {
      asked.push([table, name])
      return undefined
    })
    expect(error).to.be.instanceOf(UniqueViolationError)
    expect(error.errors).to.deep.equal([])
    expect(asked).to.deep.include(['person', 'email_address'])
  })

  it('reads the errors that Objection wraps', async () => {
    class Person extends Model {
      static override tableName = 'person'
    }
    const taken = await mapped(
      Person.query(db.knex)
        .insert({ id: 2, email_address: 'ada@example.com', first_name: 'x' } as object)
        .then(),
    )
    expect(taken).to.be.instanceOf(UniqueViolationError)
    expect(fields(taken)).to.deep.equal(['emailAddress'])
    const missing = await mapped(
      Person.query(db.knex)
        .insert({ id: 2, email_address: 'b', first_name: 'x', boss_id: 99 } as object)
        .then(),
    )
    expect(missing).to.be.instanceOf(MissingReferenceError)
    expect(fields(missing)).to.deep.equal(['bossId'])
  })

  it('returns its own errors and errors of other code unchanged', async () => {
    const own = new ForbiddenError()
    expect(mapDatabaseError(own, db.dialect)).to.equal(own)
    for (const other of [new TypeError('x'), undefined, null, 'text', 7, { code: 5 }, Object.assign(new Error('x'), { code: 'ENOENT' })]) {
      expect(mapDatabaseError(other, db.dialect)).to.equal(other)
    }
    const unknown = await thrown(db.knex('no_such_table').select('id').where({ id: 1 }))
    expect(mapDatabaseError(unknown, db.dialect)).to.equal(unknown)
  })

  it('maps a lock timeout to a retryable error [promise 53]', async () => {
    const other = db.connect()
    if (db.dialect === 'sqlite') await other.raw('PRAGMA busy_timeout = 1')
    await db.knex.transaction(async (trx) => {
      await trx('person').update({ age: 5 })
      const blocked = await mapped(
        other.transaction(async (second) => {
          if (db.dialect === 'mysql') await second.raw('set innodb_lock_wait_timeout = 1')
          if (db.dialect === 'pg') await second.raw("set local lock_timeout = '50ms'")
          await second('person').update({ age: 6 })
        }),
      )
      expect(blocked).to.be.instanceOf(RetryableDatabaseError).and.include({ status: 503, code: 'unavailable' })
    })
  })

  if (db.dialect !== 'sqlite') {
    it('maps a deadlock to a retryable error [promise 53]', async () => {
      await add({ id: 2, email_address: 'b' })
      const locked: (() => void)[] = []
      const both = Promise.all([0, 1].map((i) => new Promise<void>((resolve) => (locked[i] = resolve))))
      const touch = (first: number, second: number, i: number) =>
        db.knex.transaction(async (trx) => {
          await trx('person').where({ id: first }).update({ age: 2 })
          locked[i]?.()
          await both
          await trx('person').where({ id: second }).update({ age: 3 })
        })
      const ends = await Promise.allSettled([touch(1, 2, 0), touch(2, 1, 1)])
      const lost = ends.flatMap((end) => (end.status === 'rejected' ? [end.reason] : []))
      expect(lost).to.have.length(1)
      expect(mapDatabaseError(lost[0], db.dialect)).to.be.instanceOf(RetryableDatabaseError)
    })

    it('maps a cut connection to 503 [promise 51]', async () => {
      const other = db.connect({ pool: { min: 0, max: 1 } })
      other.client.logger.warn = () => {}
      const idOf = db.dialect === 'pg' ? 'select pg_backend_pid() as id' : 'select connection_id() as id'
      const answer = await other.raw(idOf)
      const { id } = db.dialect === 'pg' ? answer.rows[0] : answer[0][0]
      const sleeping = thrown(other.raw(db.dialect === 'pg' ? 'select pg_sleep(20)' : 'do sleep(20)'))
      const look =
        db.dialect === 'pg'
          ? `select 1 from pg_stat_activity where pid = ${id} and wait_event = 'PgSleep'`
          : `select 1 from information_schema.processlist where id = ${id} and info = 'do sleep(20)'`
      await until('the statement that sleeps', async () => {
        const found = await db.knex.raw(look)
        return (db.dialect === 'pg' ? found.rows : found[0]).length > 0
      })
      await db.knex.raw(db.dialect === 'pg' ? `select pg_terminate_backend(${id})` : `kill connection ${id}`)
      const error = mapDatabaseError(await sleeping, db.dialect)
      expect(error).to.be.instanceOf(ServiceUnavailableError).and.not.instanceOf(RetryableDatabaseError)
      expect((error as ServiceUnavailableError).retryAfter).to.be.greaterThan(0)
      // The driver hears of the end a moment later.
      await until('a connection that works', () =>
        other('person')
          .select('id')
          .then(
            (rows) => rows.length === 1,
            () => false,
          ),
      )
    })

    it('maps a missing server and a server that hangs up to 503 [promise 51]', async () => {
      const hangsUp = createServer((socket) => socket.destroy())
      const port = await new Promise<number>((resolve) =>
        hangsUp.listen(0, '127.0.0.1', () => resolve((hangsUp.address() as { port: number }).port)),
      )
      const ask = async () => {
        const knex = Knex({ client: db.name, connection: { host: '127.0.0.1', port, user: 'x' }, pool: { min: 0, max: 1 } })
        knex.client.logger.warn = () => {}
        const error = mapDatabaseError(await thrown(knex.raw('select 1')), db.dialect)
        await knex.destroy()
        return error
      }
      expect(await ask()).to.be.instanceOf(ServiceUnavailableError)
      await new Promise((resolve) => hangsUp.close(resolve))
      expect(await ask()).to.be.instanceOf(ServiceUnavailableError)
    })
  }

  it('maps a full pool and a closed pool to 503 [promise 54]', async () => {
    // The first connection too must open within this time.
    const knex = db.connect({ pool: { min: 0, max: 1 }, acquireConnectionTimeout: 1500 })
    knex.client.logger.warn = () => {}
    await knex.transaction(async () => {
      expect(await mapped(knex.raw('select 1'))).to.be.instanceOf(ServiceUnavailableError)
    })
    await knex.destroy()
    expect(await mapped(knex.raw('select 1'))).to.be.instanceOf(ServiceUnavailableError)
  })

  if (db.dialect === 'pg') {
    it('maps serialization failures and stale plans in a transaction to retryable errors [promise 53]', async () => {
      const config = { isolationLevel: 'repeatable read' } as const
      const error = await mapped(
        db.knex.transaction(async (trx) => {
          await trx('person').select('id')
          await db.knex('person').update({ age: 7 })
          await trx('person').update({ age: 8 })
        }, config),
      )
      expect(error).to.be.instanceOf(RetryableDatabaseError)
      for (const code of ['0A000', '26000', '42P05']) {
        expect(mapDatabaseError(Object.assign(new Error('x'), { code }), 'pg')).to.be.instanceOf(RetryableDatabaseError)
      }
    })
  }
})

describe('mapDatabaseError', () => {
  const taken = (key: string, sql: string) =>
    Object.assign(new Error(`${sql} - Duplicate entry 'x' for key '${key}'`), { code: 'ER_DUP_ENTRY', errno: 1062, sql })

  it('reads the columns from the name of a MariaDB key that another process created', () => {
    const known = new Set(['id', 'team_name', 'role', 'role_team'])
    const fieldOf: FieldOf = (_, name) => (known.has(name) ? name : undefined)
    const named = (key: string) =>
      (mapDatabaseError(taken(key, 'insert into `some_team` (`id`) values (1)'), 'mysql', fieldOf) as PermsError).errors.map(
        ({ field }) => field,
      )
    expect(named('some_team_team_name_unique')).to.deep.equal(['team_name'])
    expect(named('some_team.some_team_team_name_role_unique')).to.deep.equal(['team_name', 'role'])
    expect(named('some_team_role_team_name_unique')).to.deep.equal(['role', 'team_name'])
    expect(named('idx_of_theirs')).to.deep.equal([])
    expect(named('PRIMARY')).to.deep.equal(['id'])
  })

  it('distinguishes PostgreSQL’s foreign key errors in other languages', () => {
    const error = (sql: string) =>
      Object.assign(new Error(`${sql} - Aktualisieren oder Löschen verletzt Fremdschlüssel`), {
        code: '23503',
        detail: 'Auf Schlüssel (id)=(1) wird noch verwiesen.',
      })
    expect(mapDatabaseError(error('delete from "person"'), 'pg')).to.be.instanceOf(StillReferencedError)
    expect(mapDatabaseError(error('insert into "person" ("boss_id") values (1)'), 'pg')).to.be.instanceOf(MissingReferenceError)
  })

  it('maps error codes that are hard to provoke', () => {
    const cases: [Dialect, object, abstract new (...args: never[]) => unknown][] = [
      ['pg', { code: '53300' }, ServiceUnavailableError],
      ['pg', { code: '57P01' }, ServiceUnavailableError],
      ['pg', { code: '57P03' }, ServiceUnavailableError],
      ['pg', { code: '08006' }, ServiceUnavailableError],
      ['pg', { code: '57014' }, ServiceUnavailableError],
      ['pg', { code: '40001' }, RetryableDatabaseError],
      ['pg', { code: '22021' }, ValidationError],
      ['pg', { code: '22P05' }, ValidationError],
      ['pg', { message: 'Connection terminated unexpectedly' }, ServiceUnavailableError],
      ['pg', { message: 'select 1 - Connection terminated unexpectedly' }, ServiceUnavailableError],
      ...['08000', '08P01', '53000', '53100', '53200', '57P02', '57P05', '58000', '58030', '25006', '25P03', '25P04', '40003'].map(
        (code) => ['pg', { code }, ServiceUnavailableError] as [Dialect, object, typeof ServiceUnavailableError],
      ),
      ['pg', { code: '72000' }, RetryableDatabaseError],
      ['mysql', { code: 'ER_UNKNOWN_COM_ERROR', errno: 1047 }, ServiceUnavailableError],
      ...[1053, 1203, 1290, 1792, 1836, 1874, 1021, 1114, 1129, 1135, 1159, 1180, 1184, 3024, 3032, 3100, 3168, 3169].map(
        (errno) => ['mysql', { code: 'ER_X', errno }, ServiceUnavailableError] as [Dialect, object, typeof ServiceUnavailableError],
      ),
      ['mysql', { code: 'ER_LOCK_WAIT_TIMEOUT', errno: 1205 }, RetryableDatabaseError],
      ['mysql', { code: 'ER_TRANSACTION_ROLLBACK_DURING_COMMIT', errno: 3101 }, RetryableDatabaseError],
      ['sqlite', { code: 'SQLITE_SCHEMA' }, RetryableDatabaseError],
      ['sqlite', { code: 'SQLITE_READONLY_DBMOVED' }, ServiceUnavailableError],
      ['sqlite', { code: 'SQLITE_CANTOPEN' }, ServiceUnavailableError],
      ['mysql', { code: 'ER_CON_COUNT_ERROR', errno: 1040 }, ServiceUnavailableError],
      ['mysql', { code: 'PROTOCOL_CONNECTION_LOST' }, ServiceUnavailableError],
      ['mysql', { message: "Can't add new command when connection is in closed state" }, ServiceUnavailableError],
      ['mysql', { code: 'ER_CHECKREAD', errno: 1020 }, RetryableDatabaseError],
      ['sqlite', { code: 'SQLITE_BUSY_SNAPSHOT' }, RetryableDatabaseError],
      ['sqlite', { code: 'SQLITE_FULL' }, ServiceUnavailableError],
      ['sqlite', { code: 'SQLITE_IOERR_WRITE' }, ServiceUnavailableError],
      ['sqlite', { code: 'SQLITE_MISMATCH' }, ValidationError],
    ]
    for (const [dialect, more, kind] of cases) {
      expect(mapDatabaseError(Object.assign(new Error('x'), more), dialect), JSON.stringify(more)).to.be.instanceOf(kind)
    }
  })
})
