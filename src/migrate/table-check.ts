/** Checks at start whether tables lag behind their models: `initPerms({ checkTables })`. */
import type { Knex } from 'knex'
import { ConfigurationError, PermsError } from '../core/errors.js'
import { RUN_MIGRATIONS } from '../database/errors/missing-tables.js'
import type { Runtime } from '../runtime.js'
import type { Perms } from '../setup/perms.js'
import { declaredTables } from './declared-tables.js'
import { findTableDrift, type TableDrift } from './table-drift.js'

const longestList = 20

/** The check of the tables of one application. */
export class StartCheck {
  readonly #perms: Perms
  readonly #runtime: Runtime
  readonly #mode: 'warn' | 'refuse'
  #isFine = false
  #hasWarned = false
  /** The calls of perms.migrate() that have not finished. */
  #migrations = 0
  /** The check outside of transactions that is running. */
  #running: Promise<void> | undefined
  #planned: NodeJS.Immediate | undefined

  constructor(perms: Perms, runtime: Runtime, mode: 'warn' | 'refuse') {
    this.#perms = perms
    this.#runtime = runtime
    this.#mode = mode
  }

  /** Begins the check as soon as the running code has had the chance to call perms.migrate(). */
  start(): void {
    this.#planned = setImmediate(() => {
      this.#planned = undefined
      if (this.#migrations === 0) void this.#report()
    })
  }

  /** Runs migrations, and checks the tables afterwards. */
  async aroundMigrations<T>(migrate: () => Promise<T>): Promise<T> {
    this.#migrations += 1
    this.#isFine = false
    try {
      return await migrate()
    } finally {
      this.#migrations -= 1
      // A check that began earlier has seen the earlier tables.
      await this.#running?.catch(() => undefined)
      if (this.#migrations === 0) await this.#report()
    }
  }

  /**
   * Lets a statement wait for the check. As long as it has not succeeded, each statement checks again: another process may run the
   * migrations.
   *
   * @param knex what the statement runs on
   * @throws ConfigurationError that names the differences
   */
  pass(knex: Knex): Promise<void> | undefined {
    if (this.#isFine) return undefined
    // Inside a transaction, the pool may have no other connection.
    if (knex.isTransaction) return this.#check(knex)
    // A check that is under way may have looked before the tables were made.
    return this.#running ? this.#running.catch(() => this.#checkOnce()) : this.#checkOnce()
  }

  /** Waits for the running check. */
  async close(): Promise<void> {
    clearImmediate(this.#planned)
    await this.#running?.catch(() => undefined)
  }

  async #report(): Promise<void> {
    try {
      await this.#checkOnce()
    } catch (error) {
      if (this.#mode === 'warn' && this.#runtime.isAlive && !this.#hasWarned) {
        this.#hasWarned = true
        console.warn(`objection-perms: ${(error as Error).message}`)
      }
    }
  }

  #checkOnce(): Promise<void> {
    this.#running ??= this.#check(this.#perms.knex).finally(() => {
      this.#running = undefined
    })
    return this.#running
  }

  async #check(knex: Knex): Promise<void> {
    const drift = await this.#find(knex)
    if (drift.differences.length > 0) throw new ConfigurationError(messageOf(drift))
    if (this.#migrations === 0) this.#isFine = true
  }

  // An unknown result counts as a difference.
  async #find(knex: Knex): Promise<TableDrift> {
    try {
      return await findTableDrift(knex, declaredTables(this.#perms))
    } catch (error) {
      const known = this.#perms.mapError(error)
      if (known instanceof PermsError) throw known
      throw new ConfigurationError(`The tables could not be compared with the models: ${(error as Error).message}`, { cause: error })
    }
  }
}

function messageOf({ differences, isOfLibrary }: TableDrift): string {
  const listed = differences.slice(0, longestList).join(' ')
  const further = differences.length > longestList ? ` And ${differences.length - longestList} more.` : ''
  const first = isOfLibrary ? `For the tables of the library: ${RUN_MIGRATIONS} ` : ''
  return (
    `The tables of the database differ from the models. ${listed}${further} ${first}` +
    'For your own models, run `npx objection-perms migrate make NAME`, and then the migration that it writes.'
  )
}
