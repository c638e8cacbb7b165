import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Knex, { type Knex as KnexInstance } from 'knex'
import { NodeSqliteClient } from '../../src/database/node-sqlite/client.js'
import { hasNodeSqlite } from '../../src/database/node-sqlite/module.js'

/** The drivers that the library is tested on. */
export type DatabaseName = 'sqlite3' | 'better-sqlite3' | 'node-sqlite' | 'pg' | 'mysql2'

/** A database of its own, made for one test or one describe. */
export interface OwnDatabase {
  readonly knex: KnexInstance
  /** The address for a second process or connection: a URL, or the name of the file for SQLite. */
  readonly url: string
  /** A further Knex on the same database, with a pool of its own; `destroy` closes it too. */
  connect(config?: Partial<KnexInstance.Config>): KnexInstance
  destroy(): Promise<void>
}

export interface TestDatabase {
  readonly name: DatabaseName
  readonly dialect: 'sqlite' | 'pg' | 'mysql'
  /** Valid inside hooks and tests only: the database is made in a `before`. */
  readonly knex: KnexInstance
  url(): string
  connect(config?: Partial<KnexInstance.Config>): KnexInstance
}

const servers = { pg: process.env['POSTGRES_URL'], mysql2: process.env['MARIADB_URL'] }
/** The dialect of each driver. */
export const dialects = { sqlite3: 'sqlite', 'better-sqlite3': 'sqlite', 'node-sqlite': 'sqlite', pg: 'pg', mysql2: 'mysql' } as const

const isSqlite = (name: DatabaseName) => dialects[name] === 'sqlite'

/**
 * The drivers that this run can reach: those of SQLite, of which node:sqlite needs Node 22.13, and the servers where the environment
 * says where they are.
 */
export const availableDrivers: readonly DatabaseName[] = (['sqlite3', 'better-sqlite3', 'node-sqlite', 'pg', 'mysql2'] as const).filter(
  (name) => (name === 'node-sqlite' ? hasNodeSqlite() : isSqlite(name) || servers[name as 'pg' | 'mysql2']),
)

const isFull = process.env['FULL'] === '1'

/** The drivers of SQLite that SQLITE_DRIVERS names, such as 'better-sqlite3,node-sqlite'. Default: sqlite3. */
const sqliteDrivers = (process.env['SQLITE_DRIVERS'] ?? 'sqlite3').split(',')
for (const name of sqliteDrivers)
  if (!availableDrivers.some((driver) => driver === name && isSqlite(driver)))
    throw new Error(`SQLITE_DRIVERS names '${name}'. This Node has: ${availableDrivers.filter(isSqlite).join(', ')}.`)

/** One driver for each database, which is enough above the query layer. With FULL=1: every driver, but node-sqlite only if it is named. */
export const availableDatabases: readonly DatabaseName[] = availableDrivers.filter(
  (name) => !isSqlite(name) || sqliteDrivers.includes(name) || (isFull && name !== 'node-sqlite'),
)

/** The driver of tests that need only one database: better-sqlite3, which is the fastest, or node-sqlite if SQLITE_DRIVERS names it. */
export const embeddedDriver = sqliteDrivers.includes('node-sqlite') ? 'node-sqlite' : 'better-sqlite3'

/** Returns the client that Knex gets for a driver. */
export const clientOf = (name: DatabaseName): string | typeof KnexInstance.Client => (name === 'node-sqlite' ? NodeSqliteClient : name)

/**
 * SQLite and one server, for tests that start a process for each case. With FULL=1: every driver.
 *
 * @example eachDatabase('objection-perms users', (db) => { ... }, sqliteAnd('pg'))
 */
export function sqliteAnd(server: 'pg' | 'mysql2'): readonly DatabaseName[] {
  return availableDatabases.filter((name) => isFull || isSqlite(name) || name === server)
}

/** SQLite, for tests that repeat on servers what other tests check there. With FULL=1: every driver. */
export const sqliteOnly: readonly DatabaseName[] = isFull ? availableDatabases : availableDatabases.filter(isSqlite)

/**
 * Makes an empty database and a Knex on it: a temporary file for SQLite, a uniquely named database on the servers.
 * MariaDB gets utf8mb4_general_ci on purpose: it is what users have, and nothing may depend on a better default.
 */
export async function createDatabase(name: DatabaseName): Promise<OwnDatabase> {
  const place = name === 'pg' || name === 'mysql2' ? await serverDatabase(name) : fileDatabase()
  const opened: KnexInstance[] = []
  const connect = (config: Partial<KnexInstance.Config> = {}): KnexInstance => {
    const knex = Knex({
      client: clientOf(name),
      connection: place.remote ? place.url : { filename: place.url },
      ...(name === 'pg' || name === 'mysql2'
        ? { pool: { min: 0, max: 8 } }
        : { useNullAsDefault: true, pool: { min: 1, max: 1, afterCreate: withoutSync[name] } }),
      ...config,
    })
    opened.push(knex)
    return knex
  }
  return {
    knex: connect(),
    url: place.url,
    connect,
    async destroy() {
      await Promise.all(opened.map((knex) => knex.destroy()))
      await place.remove()
    },
  }
}

type Created = (error: Error | null) => void

const withoutSyncNow = (connection: { pragma(text: string): void }, done: Created) => {
  connection.pragma('synchronous = off')
  done(null)
}

/** Lets SQLite return before the disk has stored the data: no test survives a power failure. */
const withoutSync = {
  sqlite3: (connection: { exec(sql: string, done: Created): void }, done: Created) => connection.exec('pragma synchronous = off', done),
  'better-sqlite3': withoutSyncNow,
  'node-sqlite': withoutSyncNow,
}

interface Place {
  url: string
  remote: boolean
  remove(): Promise<void>
}

function fileDatabase(): Place {
  const folder = mkdtempSync(join(tmpdir(), 'objection-perms-'))
  const remove = async () => rmSync(folder, { recursive: true, force: true })
  return { url: join(folder, 'test.db'), remote: false, remove }
}

async function serverDatabase(name: 'pg' | 'mysql2'): Promise<Place> {
  const server = servers[name]
  if (!server) throw new Error(`createDatabase('${name}') needs ${name === 'pg' ? 'POSTGRES_URL' : 'MARIADB_URL'}.`)
  const database = `op_test_${process.pid}_${randomBytes(5).toString('hex')}`
  const admin = async (...statements: readonly string[]) => {
    const knex = Knex({ client: name, connection: server, pool: { min: 0, max: 1 } })
    try {
      for (const sql of statements) await knex.raw(sql)
    } finally {
      await knex.destroy()
    }
  }
  // As for SQLite, a commit need not wait for the disk. .ci/run sets the same for MariaDB.
  if (name === 'pg')
    await admin(`create database ${database}${await strategyOf(server)}`, `alter database ${database} set synchronous_commit = off`)
  else await admin(`create database ${database} character set utf8mb4 collate utf8mb4_general_ci`)
  const url = new URL(server)
  url.pathname = `/${database}`
  // A test that leaks a connection should fail for its own reason, not for this drop.
  const remove = () => admin(`drop database ${database}${name === 'pg' ? ' with (force)' : ''}`)
  return { url: url.href, remote: true, remove }
}

let strategy: Promise<string> | undefined

/**
 * Returns how PostgreSQL copies its template. Copying files takes a fifth of the work of writing them to the log, which is the default
 * since version 15. But it needs a checkpoint, which is slow unless fsync is off, as .ci/run sets it.
 */
function strategyOf(server: string): Promise<string> {
  const look = async () => {
    const knex = Knex({ client: 'pg', connection: server, pool: { min: 0, max: 1 } })
    try {
      const sql = "select current_setting('fsync') as fsync, current_setting('server_version_num')::int as version"
      const { rows } = await knex.raw(sql)
      return rows[0].fsync === 'off' && rows[0].version >= 150_000 ? ' strategy file_copy' : ''
    } finally {
      await knex.destroy()
    }
  }
  strategy ??= look()
  return strategy
}

/**
 * A describe for each database that this run can reach, each with an empty database of its own.
 *
 * @example
 * eachDatabase('BaseModel', (db) => {
 *   before(() => createTables(db.knex, [Thing]))
 *   it('saves', async () => { ... })
 * })
 */
export function eachDatabase(title: string, body: (db: TestDatabase) => void, names: readonly DatabaseName[] = availableDatabases): void {
  describeOn(names, title, body)
}

/** Does the same on every driver: for the layers that know which one it is. */
export function eachDriver(title: string, body: (db: TestDatabase) => void): void {
  describeOn(availableDrivers, title, body)
}

function describeOn(names: readonly DatabaseName[], title: string, body: (db: TestDatabase) => void): void {
  for (const name of names) {
    describe(`${title} (${name})`, () => {
      let own: OwnDatabase | undefined
      const opened = (): OwnDatabase => {
        if (!own) throw new Error('The database is made in a before hook: use db inside hooks and tests only.')
        return own
      }
      before(async function () {
        this.timeout(20_000)
        own = await createDatabase(name)
      })
      after(async function () {
        this.timeout(20_000)
        await own?.destroy()
        own = undefined
      })
      body({
        name,
        dialect: dialects[name],
        get knex() {
          return opened().knex
        },
        url: () => opened().url,
        connect: (config) => opened().connect(config),
      })
    })
  }
}

/**
 * Runs `fn` and lists the SQL that this Knex sent during it, in order.
 * Statements of transactions are among them, BEGIN and COMMIT too.
 */
export async function countQueries<T>(knex: KnexInstance, fn: () => T | PromiseLike<T>): Promise<{ result: T; statements: string[] }> {
  const statements: string[] = []
  const listen = (query: { sql: string }) => {
    statements.push(query.sql)
  }
  knex.on('query', listen)
  try {
    return { result: await fn(), statements }
  } finally {
    knex.removeListener('query', listen)
  }
}
