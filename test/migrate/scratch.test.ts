import { randomBytes } from 'node:crypto'
import { expect } from 'chai'
import type { Knex } from 'knex'
import { knexSnakeCaseMappers } from 'objection'
import { readSchema } from '../../src/database/catalogue/read-schema.js'
import { select } from '../../src/database/tables/existing-tables.js'
import { MARK, PREFIX } from '../../src/migrate/scratch/names.js'
import { withScratchDatabase } from '../../src/migrate/scratch.js'
import { createDatabase, eachDatabase, type OwnDatabase, type TestDatabase } from '../helpers/databases.js'
import { rejection } from '../helpers/errors.js'

/** Returns the scratch databases of this process. */
async function scratchDatabases(knex: Knex, dialect: string): Promise<string[]> {
  const prefix = 'objection_perms_scratch_'
  const sql =
    dialect === 'pg'
      ? 'select datname as a from pg_database where starts_with(datname, ?) union select rolname from pg_roles where starts_with(rolname, ?)'
      : `select schema_name as a from information_schema.schemata where schema_name like concat(?, '%')
          union select user from mysql.user where user like concat(?, '%')`
  return (await select(knex, sql, [prefix, prefix]))
    .map(([name]) => String(name))
    .filter((name) => name.split('_')[4] === String(process.pid))
}

eachDatabase('A scratch database', (db) => {
  it('is empty, and names are those of the application', async function () {
    this.timeout(60_000)
    const knex = db.connect(knexSnakeCaseMappers())
    await withScratchDatabase(knex, {}, async (scratch) => {
      expect([...(await readSchema(scratch)).tables.keys()]).to.deep.equal([])
      await scratch.schema.createTable('camelCase', (table) => table.string('firstName'))
      expect([...((await readSchema(scratch)).tables.get('camel_case')?.columns.keys() ?? [])]).to.deep.equal(['first_name'])
    })
    expect(await db.knex.schema.hasTable('camel_case')).to.equal(false)
  })
})

const servers = ['pg', 'mysql2'] as const

eachDatabase(
  'A scratch database on a server',
  (db) => {
    it('is dropped with its role after an error too', async function () {
      this.timeout(60_000)
      const error = await rejection(
        withScratchDatabase(db.knex, {}, async (scratch) => {
          await scratch.schema.createTable('t', (table) => table.integer('id'))
          throw new Error('of the function')
        }),
      )
      expect(error.message).to.equal('of the function')
      expect(await scratchDatabases(db.knex, db.dialect)).to.deep.equal([])
    })

    it('has a user without privileges in the database of the application', async function () {
      this.timeout(60_000)
      await db.knex.schema.createTable('real', (table) => table.integer('id'))
      const [[real] = []] = await select(db.knex, db.dialect === 'pg' ? 'select current_database()::text' : 'select database()', [])
      await withScratchDatabase(db.knex, {}, async (scratch) => {
        const table = db.dialect === 'pg' ? `"${real}".public.real` : `\`${real}\`.\`real\``
        // PostgreSQL refuses names of other databases (feature_not_supported); MariaDB checks the privileges of the user.
        const code = db.dialect === 'pg' ? '0A000' : 'ER_TABLEACCESS_DENIED_ERROR'
        expect(await rejection(scratch.raw(`insert into ${table} values (1)`))).to.include({ code })
        expect((await rejection(scratch.raw('create database objection_perms_other'))).message).to.match(/denied/)
      })
      expect(await db.knex('real')).to.deep.equal([])
    })

    it('that a killed process left is dropped, and one without the mark stays', async function () {
      this.timeout(60_000)
      const name = await withScratchDatabase(db.knex, {}, async (scratch) => {
        const [[own] = []] = await select(scratch, db.dialect === 'pg' ? 'select current_database()::text' : 'select database()', [])
        return String(own)
      })
      // No process has this number.
      const [leftOver, foreign] = ['a'.repeat(8), 'b'.repeat(8)].map((end) =>
        name.replace(/_\d+_([0-9a-z]+)_[0-9a-f]{8}$/, `_4194305_$1_${end}`),
      ) as [string, string]
      await createMarked(db, leftOver)
      await db.knex.raw(`create database ${foreign}`)
      try {
        await withScratchDatabase(db.knex, {}, async () => undefined)
        const sql = db.dialect === 'pg' ? 'select datname::text from pg_database' : 'select schema_name from information_schema.schemata'
        const names = (await select(db.knex, sql, [])).map(([one]) => one)
        expect(names).to.include(foreign)
        expect(names).to.not.include(leftOver)
      } finally {
        await db.knex.raw(`drop database ${foreign}`)
      }
    })

    it('that a killed process left is dropped by one of several runs that start at once, and all of them succeed', async function () {
      this.timeout(60_000)
      for (let round = 0; round < 3; round += 1) {
        const id = `${Date.now().toString(36)}_${randomBytes(4).toString('hex')}`
        await createMarked(db, `${PREFIX}000000_4194305_${id}`.replace('000000', await hostPart(db)))
        const runs = Array.from({ length: 4 }, (_, i) => withScratchDatabase(db.knex, {}, async () => i))
        expect(await Promise.all(runs)).to.deep.equal([0, 1, 2, 3])
      }
    })

    it('cannot be made by a user without the right, which the error says with the way out', async function () {
      this.timeout(60_000)
      const limited = await limitedUser(db)
      try {
        const error = await rejection(withScratchDatabase(limited.knex, {}, async () => undefined))
        expect(error.message).to.match(/may not create .* Use --against URL/)
      } finally {
        await limited.remove()
      }
    })
  },
  servers.filter((name) => process.env[name === 'pg' ? 'POSTGRES_URL' : 'MARIADB_URL']),
)

/** Returns the part of the names of scratch databases that stands for this host. */
async function hostPart(db: TestDatabase): Promise<string> {
  return await withScratchDatabase(db.knex, {}, async (scratch) => {
    const [[own] = []] = await select(scratch, db.dialect === 'pg' ? 'select current_database()::text' : 'select database()', [])
    return String(own).slice(PREFIX.length).split('_')[0] as string
  })
}

async function createMarked(db: TestDatabase, name: string): Promise<void> {
  if (db.dialect === 'pg') {
    await db.knex.raw(`create role ${name}`)
    await db.knex.raw(`comment on role ${name} is '${MARK}'`)
    await db.knex.raw(`create database ${name} owner ${name}`)
  } else await db.knex.raw(`create database ${name} comment '${MARK}'`)
}

/** Makes a user who may use only the database of the test. */
async function limitedUser(db: TestDatabase): Promise<{ knex: Knex; url: string; remove(): Promise<void> }> {
  const url = new URL(db.url())
  const name = `op_limited_${randomBytes(4).toString('hex')}`
  const host = db.dialect === 'pg' ? '' : `@'${url.hostname === '127.0.0.1' ? 'localhost' : '%'}'`
  const [[seen] = []] = db.dialect === 'pg' ? [] : await select(db.knex, "select substring_index(user(), '@', -1)", [])
  const user = db.dialect === 'pg' ? name : `'${name}'@'${String(seen ?? host)}'`
  await db.knex.raw(db.dialect === 'pg' ? `create role ${user} login password 'limited'` : `create user ${user} identified by 'limited'`)
  if (db.dialect === 'mysql') await db.knex.raw(`grant all privileges on \`${url.pathname.slice(1)}\`.* to ${user}`)
  Object.assign(url, { username: name, password: 'limited' })
  return {
    knex: db.connect({ connection: url.href }),
    url: url.href,
    remove: async () => void (await db.knex.raw(db.dialect === 'pg' ? `drop role ${user}` : `drop user ${user}`)),
  }
}

eachDatabase(
  'A scratch database of --against',
  (db) => {
    let other: OwnDatabase

    before(async function () {
      this.timeout(60_000)
      other = await createDatabase(db.name)
    })
    after(async function () {
      this.timeout(60_000)
      await other.destroy()
    })

    it('is refused when it is the database of the application, under any address', async function () {
      this.timeout(60_000)
      const url = new URL(db.url())
      url.hostname = url.hostname === '127.0.0.1' ? 'localhost' : url.hostname
      for (const against of [db.url(), url.href])
        expect((await rejection(withScratchDatabase(db.knex, { against }, async () => undefined))).message).to.match(
          /is the database of the application/,
        )
    })

    it('is refused when it cannot be reached', async () => {
      const url = new URL(db.url())
      url.port = '1'
      expect((await rejection(withScratchDatabase(db.knex, { against: url.href }, async () => undefined))).message).to.match(
        /cannot be reached/,
      )
    })

    if (db.name === 'mysql2')
      it('is refused when its user can reach the database of the application', async function () {
        this.timeout(60_000)
        const error = await rejection(withScratchDatabase(db.knex, { against: other.url }, async () => undefined))
        expect(error.message).to.match(/could read or write the database/)
      })

    it('is empty again afterwards, and is refused when it is not empty', async function () {
      this.timeout(60_000)
      const against = db.name === 'pg' ? other.url : await onlyUserOf(db, other)
      await withScratchDatabase(db.knex, { against }, async (scratch) => {
        await scratch.schema.createTable('parent', (table) => table.increments())
        await scratch.schema.createTable('child', (table) => table.integer('parent_id').unsigned().references('parent.id'))
        await scratch.raw('create view v as select * from child')
        if (db.name === 'pg') {
          await scratch.raw('create schema s')
          await scratch.raw("create type mood as enum ('a')")
          await scratch.raw("create function f() returns int language sql as 'select 1'")
        }
      })
      await withScratchDatabase(db.knex, { against }, async () => undefined)
      await other.knex.schema.createTable('mine', (table) => table.integer('id'))
      expect((await rejection(withScratchDatabase(db.knex, { against }, async () => undefined))).message).to.match(
        /is not empty: it contains the table mine/,
      )
      expect(await other.knex.schema.hasTable('mine')).to.equal(true)
    })
  },
  servers.filter((name) => process.env[name === 'pg' ? 'POSTGRES_URL' : 'MARIADB_URL']),
)

/** Returns the URL of a database with a user who can reach only that database. */
async function onlyUserOf(db: TestDatabase, other: OwnDatabase): Promise<string> {
  const url = new URL(other.url)
  const [[seen] = []] = await select(db.knex, "select substring_index(user(), '@', -1)", [])
  const user = `'op_other_${process.pid}'@'${String(seen)}'`
  await other.knex.raw(`create or replace user ${user} identified by 'other'`)
  await other.knex.raw(`grant all privileges on \`${url.pathname.slice(1)}\`.* to ${user}`)
  Object.assign(url, { username: `op_other_${process.pid}`, password: 'other' })
  return url.href
}

describe('A scratch database of --against on SQLite', () => {
  it('is refused, because memory serves', async () => {
    const own = await createDatabase('sqlite3')
    try {
      expect((await rejection(withScratchDatabase(own.knex, { against: 'x' }, async () => undefined))).message).to.match(/in memory/)
    } finally {
      await own.destroy()
    }
  })
})
