import { randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import { column } from '../../src/index.js'
import type { Column } from '../../src/schema/column.js'
import { availableDatabases, type DatabaseName, eachDatabase, type TestDatabase } from './databases.js'
import { idChoice } from './repetitions.js'

/** The ids that an application has, for suites that run with each kind. */
export interface SuiteIds {
  readonly name: 'uuid' | 'integer' | 'bigint' | 'string'
  /** The declaration of an id, and of a column that holds ids of other rows. */
  readonly column: () => Column<string>
  /** The declaration of a model's id. */
  readonly key: () => Column<string, boolean>
  /** An id: different ones for different numbers, at most 991. */
  readonly nth: (n: number) => string
  /** Adds such a column to a table that Knex creates. */
  readonly inTable: (table: Knex.CreateTableBuilder, name: string, dialect: TestDatabase['dialect']) => Knex.ColumnBuilder
}

/** One text for the default collation of MariaDB. */
const spellings = ['ann', 'ANN', 'ann ', 'änn', 'Änn', 'aNN', 'ANN ']

export const suiteIds: readonly SuiteIds[] = [
  {
    name: 'uuid',
    column: () => column.uuid(),
    key: () => column.uuid(),
    nth: (n) => `${String(n % 10).repeat(8)}-abcd-4abc-8abc-${String(n).padStart(12, '0')}`,
    inTable: (table, name) => table.uuid(name),
  },
  // The properties of rows have the type of the declaration; the suites name ids by the type of the default.
  {
    name: 'integer',
    column: () => column.integer() as never,
    key: () => column.integer() as never,
    nth: (n) => (2_000_000_000 + n) as never,
    inTable: (table, name) => table.integer(name),
  },
  // The largest integers that a number of JavaScript holds exactly, as the drivers of SQLite need it.
  {
    name: 'bigint',
    column: () => column.bigint(),
    key: () => column.bigint(),
    nth: (n) => String(9_007_199_254_740_000n + BigInt(n)),
    inTable: (table, name) => table.bigInteger(name),
  },
  {
    name: 'string',
    column: () => column.string({ maxLength: 40 }),
    key: () => column.string({ maxLength: 40 }).default(() => `made-${randomUUID().slice(0, 30)}`),
    nth: (n) => `${String(Math.floor(n / spellings.length)).padStart(3, '0')}-${spellings[n % spellings.length]}`,
    inTable: (table, name, dialect) =>
      dialect === 'mysql'
        ? table.specificType(name, 'varchar(40) character set utf8mb4 collate utf8mb4_nopad_bin')
        : table.string(name, 40),
  },
]

/** Returns an order of ids, the same for each kind. */
export const byText = (a: unknown, b: unknown): number => (String(a) < String(b) ? -1 : Number(String(a) > String(b)))

/** Returns one of a list. With the next ID_CHOICE it is the next one. */
export function rotating<T>(list: readonly T[], offset = 0): T {
  return list[(idChoice() + offset) % list.length] as T
}

/** Where each kind is most likely to fail: MariaDB compares text with numbers, and text without case. */
const riskiest: Readonly<Record<SuiteIds['name'], readonly DatabaseName[]>> = {
  uuid: availableDatabases,
  integer: [availableDatabases.includes('mysql2') ? 'mysql2' : 'sqlite3'],
  bigint: availableDatabases.filter((name) => name === 'pg'),
  string: availableDatabases.filter((name) => name === 'mysql2'),
}

/** The pairs of a kind, other than UUIDs, and a database: every suite runs with another one each day. */
const pairs = suiteIds.slice(1).flatMap((ids) => availableDatabases.map((database) => ({ ids, database })))
const chosenPair = rotating(pairs)

/**
 * A describe for each kind of ids on each database. By default, UUIDs run on all databases, other kinds where they are most likely to
 * fail, and one kind on one database that ID_CHOICE selects. With FULL=1, all run on all.
 *
 * @param further the other kinds of ids that always run. Default: all. A long suite names fewer.
 * @example eachKindOfIds('Rules', (db, ids) => { ... })
 */
export function eachKindOfIds(
  title: string,
  body: (db: TestDatabase, ids: SuiteIds) => void,
  further: readonly SuiteIds['name'][] = ['integer', 'bigint', 'string'],
): void {
  for (const ids of suiteIds) {
    const usual = ids.name === 'uuid' || further.includes(ids.name) ? riskiest[ids.name] : []
    const defaults = chosenPair?.ids === ids ? [...new Set([...usual, chosenPair.database])] : usual
    const databases = process.env['FULL'] === '1' ? availableDatabases : defaults
    eachDatabase(ids.name === 'uuid' ? title : `${title}, with ${ids.name} ids`, (db) => body(db, ids), databases)
  }
}
