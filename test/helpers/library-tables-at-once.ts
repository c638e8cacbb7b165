import type { Knex } from 'knex'
import type { Perms } from '../../src/index.js'
import { libraryTable, registeredModel, schemaOfTables } from '../../src/policy/registered-models.js'
import { dialectOf } from '../../src/schema/storage.js'
import { libraryHistory } from '../../src/users/tables/histories.js'
import { internalModels } from '../../src/users/tables/internal-models.js'
import { declaredPartOf, declaresTable } from '../../src/users/tables/table-specs.js'

/** The statements that create the tables, by the database and what the registered models declare. */
const known = new Map<string, readonly string[]>()

/**
 * Creates the library's tables in an empty database, as `perms.migrate()` does. The first call of a process for equal models runs the
 * migrations. Later calls send all statements that these have sent, or on MariaDB one for each table, and then let `perms.migrate()` check
 * the result. With FULL=1, and if the database has tables, all calls run the migrations.
 *
 * Tests of migrations, and of code that reads what migrations do, call `perms.migrate()`.
 *
 * @example before(() => migrateAtOnce(perms))
 */
export async function migrateAtOnce(perms: Perms): Promise<void> {
  const { knex } = perms
  const key = process.env['FULL'] === '1' ? undefined : keyOf(perms)
  if (key === undefined || !(await isEmpty(knex))) {
    await perms.migrate()
    return
  }
  const statements = known.get(key)
  if (statements === undefined) {
    known.set(key, await statementsOf(knex, perms))
    return
  }
  await sendAll(knex, statements)
  const ran = await perms.migrate()
  if (ran.length > 0) throw new Error(`migrateAtOnce() has left out the migrations ${ran.join(', ')}.`)
}

/** Returns what decides about the tables. Undefined if names differ between models and database, or if the tables are in a schema. */
function keyOf(perms: Perms): string | undefined {
  return perms.enter(() => {
    const { config } = perms.knex.client as { config: Knex.Config }
    const sendsNamesAsTheyAre = perms.knex.raw('??', ['aName_of']).toString().slice(1, -1) === 'aName_of'
    if (!sendsNamesAsTheyAre || config.postProcessResponse || config.migrations || schemaOfTables() !== undefined) return undefined
    const registered = (['domain', 'user', 'userRole', 'token', 'userSetting'] as const).map(registeredModel)
    const models = [...registered, ...internalModels].map((model) => [declaresTable(model), declaredPartOf(model)])
    return JSON.stringify([config.client, libraryHistory(), libraryTable('throttle'), libraryTable('tables'), models])
  })
}

async function isEmpty(knex: Knex): Promise<boolean> {
  const lists = {
    sqlite: 'sqlite_master',
    // A search_path may name several schemas.
    pg: "(select 1 from pg_class where relnamespace::regnamespace::text !~ '^(pg_|information_schema)') as tables_of_schemas",
    mysql: '(select 1 from information_schema.tables where table_schema = database()) as tables_of_database',
  }
  return (
    (
      await knex
        .select(knex.raw('1'))
        .from(knex.raw(lists[dialectOf(knex)]))
        .limit(1)
    ).length === 0
  )
}

interface Sent {
  readonly sql: string
  readonly bindings?: readonly unknown[]
}

/** Runs the migrations. @returns the statements that lead to the same tables and rows */
async function statementsOf(knex: Knex, perms: Perms): Promise<string[]> {
  const sent: Sent[] = []
  const listen = (query: Sent) => sent.push(query)
  knex.on('query', listen)
  try {
    await perms.migrate()
  } finally {
    knex.removeListener('query', listen)
  }
  const writes = sent.filter(({ sql }) => !/^\s*(?:begin|commit|savepoint|release|select|pragma)\b/i.test(sql))
  if (dialectOf(knex) !== 'mysql') return writes.map((write) => withValues(write))
  const rows = writes.filter(({ sql }) => /^(?:insert|update|delete)\b/i.test(sql)).map((write) => withValues(write))
  return ['set foreign_key_checks = 0', ...(await createdTables(knex)), ...rows, 'set foreign_key_checks = 1']
}

/** Returns one statement for each table of MariaDB, which takes half of the time of those that add its indexes and keys one by one. */
async function createdTables(knex: Knex): Promise<string[]> {
  const [tables] = (await knex.raw('show tables')) as [object[]]
  const created: string[] = []
  for (const name of tables.map((row) => String(Object.values(row)[0]))) {
    const [[shown]] = await knex.raw('show create table ??', [name])
    created.push(String(shown['Create Table']).replace(/ AUTO_INCREMENT=\d+/, ''))
  }
  return created
}

function withValues({ sql, bindings = [] }: Sent): string {
  const values = [...bindings]
  if (values.length === 0) return sql
  return sql.replace(/\?|\$\d+/g, () => literal(values.shift()))
}

function literal(value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (typeof value === 'number') return String(value)
  if (value instanceof Date) return `'${value.toISOString().replace('T', ' ').replace('Z', '')}'`
  if (typeof value === 'string' && !/['\\]/.test(value)) return `'${value}'`
  throw new Error(`migrateAtOnce() cannot write the value ${String(value)}.`)
}

type Callback = (error: Error | null) => void
type Connection = { query(sql: string, done: Callback): void } & { exec(sql: string, done?: Callback): void }

async function sendAll(knex: Knex, statements: readonly string[]): Promise<void> {
  const client = knex.client as { acquireConnection(): Promise<Connection>; releaseConnection(connection: Connection): Promise<void> }
  const connection = await client.acquireConnection()
  const send = (run: (done: Callback) => void) =>
    new Promise<void>((resolve, reject) => run((error) => (error ? reject(error) : resolve())))
  try {
    const all = statements.join(';\n')
    const { driverName: driver } = knex.client as Knex.Client
    if (driver === 'better-sqlite3' || driver === 'node-sqlite') connection.exec(all)
    else if (driver === 'sqlite3') await send((done) => connection.exec(all, done))
    else if (driver === 'pg') await send((done) => connection.query(all, done))
    else await Promise.all(statements.map((sql) => send((done) => connection.query(sql, done))))
  } finally {
    await client.releaseConnection(connection)
  }
}
