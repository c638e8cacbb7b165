/** Checks of the database server and of the connection to it. */
import type { Knex } from 'knex'
import { select, selectFrom } from '../../../database/tables/existing-tables.js'
import { type Check, error, type Finding, warning } from './finding.js'

/** Seconds between the clocks of the process and of the database that are reported, and that are an error: tokens allow 60. */
const SKEW = 2
const DANGEROUS_SKEW = 30

/** Returns the name and version of the database server. */
export async function databaseVersion(knex: Knex): Promise<string> {
  const [[version] = []] = await selectFrom(knex, {
    pg: ["select 'PostgreSQL ' || current_setting('server_version') as a", []],
    mysql: ["select concat(if(version() like '%MariaDB%', 'MariaDB ', 'MySQL '), version()) as a", []],
    sqlite: ["select 'SQLite ' || sqlite_version() as a", []],
  })
  return String(version)
}

/** Reports MySQL, on which nothing is tested. */
export const checkServer: Check = async ({ app, dialect }) => {
  if (dialect !== 'mysql') return []
  const version = await databaseVersion(app.perms.knex)
  return version.startsWith('MariaDB')
    ? []
    : [
        warning(
          'database',
          `The database is ${version}, on which objection-perms is not tested.`,
          'Use MariaDB, or run your tests on this server.',
        ),
      ]
}

/** Reports a clock of the database that differs from that of the process: sessions and tokens expire too early or too late. */
export const checkClock: Check = async ({ app, dialect }) => {
  if (dialect === 'sqlite') return []
  const before = Date.now()
  const [[text] = []] = await selectFrom(app.perms.knex, {
    pg: ['select extract(epoch from clock_timestamp()) * 1000 as a', []],
    mysql: ['select unix_timestamp(now(3)) * 1000 as a', []],
    sqlite: ["select unixepoch('subsec') * 1000 as a", []],
  })
  return skewFinding(Number(text), before, Date.now())
}

/**
 * Returns the finding for a time of the database that was read between two times of the process, in milliseconds.
 *
 * @example skewFinding(1_010_000, 1_000_000, 1_000_000) // one finding: the clock of the database is 10.0 seconds ahead
 */
export function skewFinding(database: number, before: number, after: number): Finding[] {
  const skew = database < before ? before - database : database > after ? database - after : 0
  if (skew < SKEW * 1000) return []
  const seconds = (skew / 1000).toFixed(1)
  const what = `The clock of the database is ${seconds} seconds ${database < before ? 'behind' : 'ahead of'} that of this machine.`
  const make = skew >= DANGEROUS_SKEW * 1000 ? error : warning
  return [make('clock', what, 'Synchronize both clocks with NTP: sessions, tokens and links depend on them.')]
}

/** Reports settings of the server that change the meaning of statements. */
export const checkSettings: Check = async ({ app, dialect }) => {
  const { knex } = app.perms
  if (dialect === 'pg') {
    const [[isolation] = []] = await select(knex, "select current_setting('default_transaction_isolation') as a", [])
    return isolation === 'read committed' || isolation === 'repeatable read' ? [] : [isolationFinding(String(isolation))]
  }
  if (dialect === 'sqlite') {
    const [[isOn] = []] = await select(knex, 'select foreign_keys as a from pragma_foreign_keys', [])
    return Number(isOn) === 1
      ? []
      : [
          error(
            'database',
            'Foreign keys are off in this SQLite connection.',
            "Do not send `pragma foreign_keys = off` in Knex's pool.afterCreate.",
          ),
        ]
  }
  const [[mode, isolation] = []] = await select(knex, 'select @@sql_mode as a, @@transaction_isolation as b', []).catch(() =>
    select(knex, 'select @@sql_mode as a, @@tx_isolation as b', []),
  )
  const found: Finding[] = []
  if (!/STRICT_(?:TRANS|ALL)_TABLES/.test(String(mode)))
    found.push(
      error(
        'database',
        'sql_mode is not strict: the server cuts values that are too long instead of refusing them.',
        'Add STRICT_TRANS_TABLES to sql_mode.',
      ),
    )
  if (/UNCOMMITTED/.test(String(isolation))) found.push(isolationFinding(String(isolation)))
  return found
}

const isolationFinding = (level: string): Finding =>
  level.toLowerCase().includes('uncommitted')
    ? error('isolation', `Transactions are ${level}: they read rows that may be rolled back.`, 'Use read committed or repeatable read.')
    : warning(
        'isolation',
        `Transactions are ${level} by default: more of them fail and are repeated.`,
        'Use read committed, unless the application needs this level.',
      )

interface PostgresConnection {
  readonly processID?: unknown
}

/**
 * Reports a pooler such as PgBouncer between the process and PostgreSQL: it gives the driver another process id than that of the server.
 */
export const checkPooler: Check = async ({ app, dialect }) => {
  if (dialect !== 'pg') return []
  const { knex } = app.perms
  const connection: PostgresConnection = await knex.client.acquireConnection()
  try {
    const result: { rows: { pid: number }[] } = await knex.raw('select pg_backend_pid() as pid').connection(connection)
    const pid = Object.values(result.rows[0] ?? {})[0]
    return poolerFinding(connection.processID, pid)
  } finally {
    await knex.client.releaseConnection(connection)
  }
}

/** Returns the finding for the process id that the driver got at its connection, and the one that the server has. */
export function poolerFinding(atConnection: unknown, now: unknown): Finding[] {
  if (typeof atConnection !== 'number' || Number(now) === atConnection) return []
  return [
    warning(
      'pooler',
      'A pooler such as PgBouncer is between this process and PostgreSQL.',
      'In transaction mode, set max_prepared_statements in PgBouncer 1.21 or later, or initPerms({ namedStatements: false }).',
    ),
  ]
}
