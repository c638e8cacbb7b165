import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'chai'
import Knex, { type Knex as KnexInstance } from 'knex'
import { ConfigurationError } from '../../src/core/errors.js'
import { NodeSqliteClient } from '../../src/database/node-sqlite/client.js'
import { NodeSqliteConnection } from '../../src/database/node-sqlite/connection.js'
import { hasNodeSqlite } from '../../src/database/node-sqlite/module.js'
import { nameOfResultCode } from '../../src/database/node-sqlite/result-codes.js'

type Client = string | typeof KnexInstance.Client

const open = (client: Client, filename = ':memory:', options = {}) =>
  Knex({
    client,
    connection: { filename, options } as KnexInstance.Sqlite3ConnectionConfig,
    useNullAsDefault: true,
    pool: { min: 1, max: 1 },
  })

/** Returns the result of a task, or the kind, code and message of its error. */
async function outcome(task: () => PromiseLike<unknown>): Promise<unknown> {
  try {
    return { result: await task() }
  } catch (error) {
    const { name, code, message } = error as NodeJS.ErrnoException
    // The error of SQLite has a class of its own in each driver.
    return { name: name === 'SqliteError' ? 'Error' : name, code, message }
  }
}

const tables = (knex: KnexInstance) =>
  knex.schema
    .createTable('owner', (table) => {
      table.integer('id').primary()
      table.string('name').unique()
    })
    .createTable('pet', (table) => {
      table.increments('id')
      table.integer('owner_id').references('owner.id')
      table.string('name').notNullable()
      table.binary('picture')
      table.boolean('is_tame')
      table.check('length(name) < 10', {}, 'short_name')
    })

describe('Result codes of SQLite', () => {
  it('have the names of better-sqlite3', () => {
    const names = { 1: 'ERROR', 5: 'BUSY', 14: 'CANTOPEN', 517: 'BUSY_SNAPSHOT', 787: 'CONSTRAINT_FOREIGNKEY', 1299: 'CONSTRAINT_NOTNULL' }
    for (const [code, name] of Object.entries(names)) expect(nameOfResultCode(Number(code)), code).to.equal(`SQLITE_${name}`)
    expect([275, 1555, 2067, 8714].map(nameOfResultCode)).to.deep.equal([
      ...['SQLITE_CONSTRAINT_CHECK', 'SQLITE_CONSTRAINT_PRIMARYKEY', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_IOERR_IN_PAGE'],
    ])
  })

  it('have the name of their primary code when they are new', () => {
    expect([19 | (99 << 8), 250].map(nameOfResultCode)).to.deep.equal(['SQLITE_CONSTRAINT', 'SQLITE_ERROR'])
  })
})

if (!hasNodeSqlite()) {
  describe('NodeSqliteClient without node:sqlite', () => {
    it('throws a ConfigurationError that names the versions of Node', () => {
      expect(() => open(NodeSqliteClient)).to.throw(ConfigurationError, /Node 20\.\d+\.\d+ does not have.*Node 22\.13 or later/)
    })
  })
} else {
  describe('NodeSqliteClient, compared with better-sqlite3', () => {
    const drivers: KnexInstance[] = []
    before(async () => {
      for (const client of ['better-sqlite3', NodeSqliteClient]) {
        const knex = open(client)
        drivers.push(knex)
        await tables(knex)
      }
    })
    after(() => Promise.all(drivers.map((knex) => knex.destroy())))

    const cases: Readonly<Record<string, (knex: KnexInstance) => PromiseLike<unknown>>> = {
      'an insert returns the row id': (knex) => knex('owner').insert({ id: 1, name: 'ada' }),
      'an insert with returning': (knex) => knex('pet').insert({ owner_id: 1, name: 'cat', is_tame: true }).returning('*'),
      'an insert of several rows': (knex) => knex('pet').insert([{ name: 'a' }, { name: 'b' }]),
      'an upsert': (knex) => knex('owner').insert({ id: 1, name: 'ada' }).onConflict('id').merge(),
      'an update': (knex) => knex('pet').update({ is_tame: false }).where({ name: 'cat' }),
      'a deletion': (knex) => knex('pet').delete().where({ name: 'a' }),
      'rows are ordinary objects': async (knex) => Object.getPrototypeOf(await knex('pet').first()) === Object.prototype,
      'no rows': (knex) => knex('pet').where({ id: 99 }),
      'a column selected twice': (knex) => knex.raw('select 1 as a, 2 as a'),
      'a blob': (knex) => knex.raw('select ? as b, null as n', [Buffer.from([1, 2, 255])]),
      'an empty blob': (knex) => knex.raw("select x'' as b"),
      'a blob is a Buffer': async (knex) => Buffer.isBuffer((await knex.raw("select x'0102' as b"))[0].b),
      'a blob in a later row': (knex) => knex.raw("select null as b union all select x'01' order by 1"),
      'a Date is a number': (knex) => knex.raw('select ? as d', [new Date(1000)]),
      'a boolean is a number': (knex) => knex.raw('select ? as d', [true]),
      'a bigint is bound': (knex) => knex.raw('select ? as d', [123n as never]),
      'text with emoji': (knex) => knex.raw('select ? as t, length(?) as l', ['a🐱', '🐱']),
      // Node 22 reads text only up to its first NUL.
      ...(!process.version.startsWith('v22.') && {
        'text with NUL': (knex: KnexInstance) => knex.raw('select ? as t', ['a\0b']),
      }),
      'real numbers': (knex) => knex.raw('select ? as a, ? as b, 1.5 as c, -0.0 as d', [0.1, 1e300]),
      'an integer beyond 2^53 is rounded': (knex) => knex.raw('select 9223372036854775807 as a, 1 as b'),
      'an integer beyond 2^53 in the rows of an insert is rounded': (knex) =>
        knex.raw('insert into owner values (9007199254740993, null) returning id'),
      'a statement that fails twice in the same way': (knex) => knex('owner').insert({ id: 1, name: 'bob' }),
      'a unique column': (knex) => knex('owner').insert({ id: 2, name: 'ada' }),
      'a foreign key': (knex) => knex('pet').insert({ owner_id: 77, name: 'dog' }),
      'a parent that is referenced': (knex) => knex('owner').delete().where({ id: 1 }),
      'NOT NULL': (knex) => knex('pet').insert({ name: null }),
      'a check': (knex) => knex('pet').insert({ name: 'a long, long name' }),
      'a missing table': (knex) => knex('nothing'),
      'a missing column': (knex) => knex('pet').where({ nothing: 1 }),
      'a syntax error': (knex) => knex.raw('selec 1'),
      'an object cannot be bound': (knex) => knex.raw('select ? as a', [{ a: 1 } as never]),
      'undefined cannot be bound': (knex) =>
        knex.raw('select 1').then(() => knex.client.query(knex, { sql: 'select ?', bindings: [undefined] })),
      'a missing binding': (knex) => knex.raw("select ? as a, '?' as b, /* ? */ `name` from owner -- ?"),
      'a pragma that returns rows': (knex) => knex.raw('pragma foreign_keys'),
      'a pragma that returns none': (knex) => knex.raw('pragma cache_size = 100').then(() => 'done'),
      'a common table expression': (knex) => knex.with('n', knex.raw('select 1 as a')).from('n').select('a'),
      columnInfo: (knex) => knex('pet').columnInfo(),
      'an altered table': (knex) =>
        knex.schema.alterTable('pet', (table) => table.string('name', 20).alter()).then(() => knex('pet').select('name')),
      'a committed transaction': (knex) => knex.transaction(async (trx) => await trx('owner').insert({ id: 5, name: 'eve' })),
      'a transaction that is rolled back': (knex) =>
        knex.transaction(async (trx) => {
          await trx('owner').insert({ id: 6, name: 'eva' })
          throw new Error('back')
        }),
      'a savepoint': (knex) =>
        knex.transaction(async (trx) => {
          const inner = trx.transaction(async (inside) => {
            await inside('owner').insert({ id: 7, name: 'kim' })
            throw new Error('inner')
          })
          await inner.catch(() => undefined)
          return await trx('owner').pluck('id')
        }),
      'safeIntegers of one query': (knex) => knex.raw('select 9007199254740993 as a').options({ safeIntegers: true }),
      'a stream': async (knex) => {
        const rows: unknown[] = []
        for await (const row of knex('pet').select('name').stream()) rows.push(row)
        return rows
      },
    }
    for (const [title, task] of Object.entries(cases)) {
      it(`does the same: ${title}`, async () => {
        const [better, own] = await Promise.all(drivers.map((knex) => outcome(() => task(knex))))
        expect(own).to.deep.equal(better)
      })
    }
  })

  describe('NodeSqliteClient', () => {
    let folder: string
    before(() => {
      folder = mkdtempSync(join(tmpdir(), 'objection-perms-'))
    })
    after(() => rmSync(folder, { recursive: true, force: true }))

    it('returns bigints with the option safeIntegers', async () => {
      const knex = open(NodeSqliteClient, ':memory:', { safeIntegers: true })
      expect(await knex.raw('select 1 as a, 9007199254740993 as b')).to.deep.equal([{ a: 1n, b: 9007199254740993n }])
      await knex.raw('create table t (id integer primary key)')
      expect(await knex('t').insert({ id: 9 })).to.deep.equal([9n])
      await knex.destroy()
    })

    it('refuses writes with the option readonly', async () => {
      const filename = join(folder, 'read.db')
      const writer = open(NodeSqliteClient, filename)
      await writer.raw('create table t (id)')
      await writer.destroy()
      const reader = open(NodeSqliteClient, filename, { readonly: true })
      expect(await reader('t')).to.deep.equal([])
      expect(await outcome(() => reader('t').insert({ id: 1 }))).to.include({ code: 'SQLITE_READONLY' })
      await reader.destroy()
    })

    it('reports a locked file with SQLITE_BUSY', async () => {
      const filename = join(folder, 'busy.db')
      const [one, two] = [open(NodeSqliteClient, filename), open(NodeSqliteClient, filename)]
      await one.raw('create table t (id)')
      await two.raw('pragma busy_timeout = 1')
      await one.raw('begin immediate')
      expect(await outcome(() => two('t').insert({ id: 1 }))).to.include({ code: 'SQLITE_BUSY' })
      await one.raw('rollback')
      await Promise.all([one.destroy(), two.destroy()])
    })

    it('reports a folder that does not exist with SQLITE_CANTOPEN', () => {
      expect(() => new NodeSqliteConnection(join(folder, 'none', 'a.db')))
        .to.throw()
        .with.property('code', 'SQLITE_CANTOPEN')
    })

    it('lets functions be defined, and gives the database of Node', () => {
      const connection = new NodeSqliteConnection(':memory:')
      connection.function('twice', {}, (value: number) => value * 2)
      expect(connection.prepare('select twice(4) as a').all()).to.deep.equal([{ a: 8 }])
      expect(connection.database.prepare('select 1 as a').all()).to.have.length(1)
      connection.close()
    })
  })
}
