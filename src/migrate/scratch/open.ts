/** Opens Knex instances with the settings of the application's instance. */
import createKnex, { type Knex } from 'knex'
import { ConfigurationError } from '../../core/errors.js'
import { connectionSettingsOf } from '../../database/knex-internals.js'

/** How a scratch database is reached. */
export interface Login {
  readonly user: string
  readonly password: string
  readonly database: string
}

const warnings = new WeakMap<Knex, string[]>()

/** Returns what Knex has reported about a scratch database, such as the name of a migration that failed. */
export function warningsOf(scratch: Knex): readonly string[] {
  return warnings.get(scratch) ?? []
}

// The caller reports errors, with the migration that caused them.
function open(config: Knex.Config): Knex {
  const lines: string[] = []
  const add = (message: unknown) => void lines.push(String(message))
  const scratch = createKnex({ ...config, log: { warn: add, error: add, deprecate() {}, debug() {} } })
  warnings.set(scratch, lines)
  return scratch
}

const configOf = (knex: Knex): Knex.Config => {
  const {
    connection: _connection,
    connectionPool: _pool,
    ...config
  } = (knex.client as { config: Knex.Config & { connectionPool?: unknown } }).config
  return config
}

/** Opens an SQLite database in memory. */
export function openMemory(knex: Knex): Knex {
  const config = configOf(knex)
  const { afterCreate } = config.pool ?? {}
  // A second connection would see another database, and a database in memory ends with its connection.
  const pool = { min: 1, max: 1, idleTimeoutMillis: 2 ** 31 - 1, ...(afterCreate ? { afterCreate } : {}) }
  return open({ ...config, connection: { filename: ':memory:' }, pool, useNullAsDefault: true })
}

/**
 * Opens another database on the server of the application's Knex, as another user.
 *
 * @throws ConfigurationError when the user cannot connect
 */
export async function openAs(knex: Knex, login: Login): Promise<Knex> {
  const settings = await connectionSettingsOf(knex)
  return await connected(open({ ...configOf(knex), connection: withLogin(settings, login), pool: { min: 0, max: 5 } }), (error) => {
    throw new ConfigurationError(
      `The temporary user of the scratch database cannot connect: ${error.message}. Use --against URL, with the URL of an empty database.`,
      { cause: error },
    )
  })
}

/** Opens the database of a URL. @throws ConfigurationError when it cannot be reached */
export async function openUrl(knex: Knex, url: string): Promise<Knex> {
  return await connected(open({ ...configOf(knex), connection: url, pool: { min: 0, max: 5 } }), (error) => {
    throw new ConfigurationError(`The database of --against cannot be reached: ${error.message}. Check its URL.`, { cause: error })
  })
}

async function connected(scratch: Knex, fail: (error: Error) => never): Promise<Knex> {
  try {
    await scratch.raw('select 1')
    return scratch
  } catch (error) {
    await scratch.destroy()
    return fail(error as Error)
  }
}

/** Returns the settings of a connection with another user and database. A URL among them overrides other settings. */
function withLogin(settings: object, { user, password, database }: Login): Knex.StaticConnectionConfig {
  const copy: Record<string, unknown> = { ...settings, user, password, database }
  for (const key of ['connectionString', 'uri']) {
    const text = copy[key]
    if (typeof text !== 'string') continue
    const url = new URL(text)
    Object.assign(url, { username: user, password, pathname: `/${database}` })
    copy[key] = url.href
  }
  return copy
}
