import type { Knex } from 'knex'
import { RateLimiterRes } from 'rate-limiter-flexible'
import { mapDatabaseError } from '../../database/errors/database-errors.js'
import { sentName } from '../../database/tables/existing-tables.js'
import type { TableSpec } from '../../database/tables/tables.js'
import { retryStatement, transaction } from '../../database/transaction.js'
import { libraryTable } from '../../policy/registered-models.js'
import { column } from '../../schema/column.js'
import { type Dialect, decoder, dialectOf, encode } from '../../schema/storage.js'
import type { Limit, Limiter } from './throttle.js'

const datetime = column.datetime()

/** The table in which several processes share their counts. `initPerms({ tables })` may give it another name. */
export const throttleTable: TableSpec = {
  name: 'perms_throttle',
  primaryKey: 'name',
  columns: { name: column.string({ maxLength: 120 }), points: column.integer(), expiresAt: datetime.index() },
}

interface Count {
  readonly points: number
  readonly expiresAt: unknown
}

/** How far a count may exceed its limit. The first refused attempt emits `locked`; a higher count shows that it was emitted. */
export const MAX_EXCESS = 2

/** The probability that an attempt deletes expired counts. */
const CLEANUP_PROBABILITY = 0.01

/**
 * Counts attempts in the application's database, each with one upsert, so that concurrent attempts of all processes are counted.
 * The SQL stores of rate-limiter-flexible are not used: they return a connection to Knex's pool while still using it.
 */
export class KnexLimiter implements Limiter {
  readonly #knex: Knex
  readonly #limit: Limit
  readonly #dialect: Dialect
  readonly #table = libraryTable('throttle')
  readonly #upsert: string

  constructor(knex: Knex, limit: Limit) {
    this.#knex = knex
    this.#limit = limit
    this.#dialect = dialectOf(knex)
    this.#upsert = upsertFor(knex, this.#dialect)
  }

  async consume(key: string, points = 1): Promise<RateLimiterRes> {
    const result = await this.#add(key, points)
    // Like rate-limiter-flexible, throws the result of a refused attempt.
    if (result.consumedPoints > this.#limit.points) throw result
    return result
  }

  async reward(key: string, points = 1): Promise<RateLimiterRes> {
    return await this.#add(key, -points)
  }

  async delete(key: string): Promise<boolean> {
    const remove = () =>
      this.#knex(this.#table)
        .where({ name: this.#name(key) })
        .delete()
    return await this.#mapped(async () => (await send(this.#knex, remove)) > 0)
  }

  async #add(key: string, points: number): Promise<RateLimiterRes> {
    const table = this.#table
    const begun = Date.now()
    const [first, most] = [Math.max(0, points), this.#limit.points + MAX_EXCESS]
    const [now, expires] = [this.#datetime(begun), this.#datetime(begun + this.#limit.duration * 1000)]
    const count = await this.#mapped(async () => {
      if (Math.random() < CLEANUP_PROBABILITY) await send(this.#knex, () => this.#knex(table).where('expires_at', '<', now).delete())
      if (this.#dialect !== 'mysql')
        return await this.#upsertReturning([table, this.#name(key), first, expires, table, now, most, table, points, table, now, table])
      // The row stays locked until the transaction has read it.
      return await transaction(
        async (trx) => {
          await trx.raw(this.#upsert, [table, this.#name(key), first, expires, now, first, most, points, now, expires])
          return countIn(
            await trx(table)
              .where({ name: this.#name(key) })
              .first('points', 'expires_at'),
          )
        },
        { knex: this.#knex },
      )
    })
    const over = decoder(datetime.spec, this.#dialect)?.(count.expiresAt) as Date
    const left = Math.max(0, this.#limit.points - count.points)
    return new RateLimiterRes(left, Math.max(0, over.getTime() - Date.now()), count.points, count.points === points)
  }

  async #upsertReturning(bindings: readonly (string | number)[]): Promise<Count> {
    const upsert = () => this.#knex.raw(this.#upsert, bindings as string[])
    if (this.#dialect !== 'pg') return countIn((await send<object[]>(this.#knex, upsert))[0])
    // A SELECT returns an array of rows. A raw statement returns an object, whose keys postProcessResponse() may rename.
    const rows: object[] = await send(this.#knex, () => this.#knex.with('counted', upsert()).select('*').from('counted'))
    return countIn(rows[0])
  }

  #name(key: string): string {
    return `${this.#limit.keyPrefix}:${key}`
  }

  #datetime(milliseconds: number): string {
    return encode(datetime.spec, new Date(milliseconds), this.#dialect) as string
  }

  async #mapped<T>(run: () => Promise<T>): Promise<T> {
    try {
      return await run()
    } catch (error) {
      throw mapDatabaseError(error, this.#dialect, undefined, () => true)
    }
  }
}

/**
 * Deletes expired counts of the library's table.
 *
 * @param limit the most rows to delete
 * @returns how many expired rows it found, and how many of them it deleted
 */
export async function deleteExpiredCounts(knex: Knex, limit: number): Promise<{ found: number; deleted: number }> {
  const table = libraryTable('throttle')
  const now = encode(datetime.spec, new Date(), dialectOf(knex)) as string
  const rows: object[] = await knex(table).where('expires_at', '<', now).orderBy(['expires_at', 'name']).limit(limit).select('name')
  if (rows.length === 0) return { found: 0, deleted: 0 }
  const names = rows.map((row) => Object.values(row)[0] as string)
  // A count that has begun again in the meantime stays.
  const remove = () => knex(table).whereIn('name', names).where('expires_at', '<', now).delete()
  return { found: rows.length, deleted: await send(knex, remove) }
}

// Repeats a single statement outside a transaction when the database reports a conflict.
async function send<T>(knex: Knex, statement: () => PromiseLike<T>): Promise<T> {
  try {
    return await statement()
  } catch (error) {
    return await retryStatement(knex.client, error, statement)
  }
}

// Reads by position, because the application's postProcessResponse() may rename the columns of a result.
function countIn(row: object | undefined): Count {
  const [points, expiresAt] = Object.values(row ?? {})
  return { points: Number(points), expiresAt }
}

/** Returns the upsert that counts an attempt. Its columns are named as Knex sends them, after its own mappers. */
function upsertFor(knex: Knex, dialect: Dialect): string {
  const [name, points, expiresAt] = ['name', 'points', 'expires_at'].map((column) => sentName(knex, column).sql)
  const insert = `insert into ?? (${name}, ${points}, ${expiresAt}) values (?, ?, ?)`
  // MariaDB evaluates assignments from left to right: points reads the old expires_at.
  if (dialect === 'mysql')
    return `${insert} on duplicate key update
      ${points} = if(${expiresAt} <= ?, ?, greatest(0, least(?, ${points} + ?))),
      ${expiresAt} = if(${expiresAt} <= ?, ?, ${expiresAt})`
  const [least, greatest] = dialect === 'pg' ? ['least', 'greatest'] : ['min', 'max']
  // Refused attempts do not increase a count without limit, and returned points do not make it negative.
  return `${insert} on conflict (${name}) do update set
    ${points} = case when ??.${expiresAt} <= ? then excluded.${points} else ${greatest}(0, ${least}(?, ??.${points} + ?)) end,
    ${expiresAt} = case when ??.${expiresAt} <= ? then excluded.${expiresAt} else ??.${expiresAt} end
    returning ${points}, ${expiresAt}`
}
