/**
 * Records which tables the library created. The library never drops or alters another table.
 *
 * A name in the record is not enough: an administrator may drop a table by hand and create another one of that name. So the
 * library also marks each table itself: the mark disappears with the table.
 *
 * A database of 0.1.0 has no record: there, the tables that its migrations created count as the library's.
 */
import type { Knex } from 'knex'
import { dialectOf } from '../../schema/storage.js'
import { constraintName } from './constraints.js'
import { existingTables, select, sentName, tableExists, tablesWith } from './existing-tables.js'

/** The tables that the library created, and the table that lists them. */
export class TableRecord {
  readonly #knex: Knex
  readonly #table: string

  /** @param table the table of the record, such as 'perms_tables' */
  constructor(knex: Knex, table: string) {
    this.#knex = knex
    this.#table = table
  }

  /** Returns whether the database has a record. */
  async exists(): Promise<boolean> {
    return await tableExists(this.#knex, this.#table)
  }

  /** Returns the given tables that the library created and that still exist. Returns none if the database has no record. */
  async ownOf(tables: readonly string[]): Promise<string[]> {
    const recorded = await this.#recorded()
    return await marked(
      this.#knex,
      tables.filter((table) => recorded.has(table)),
    )
  }

  /** Returns the given tables that the library marked, in this record or in that of another prefix. */
  async markedOf(tables: readonly string[]): Promise<string[]> {
    return await marked(this.#knex, await existingTables(this.#knex, tables))
  }

  /** Adds tables that were just created. Add them afterwards: an interrupted migration must not claim a table of the application. */
  async add(tables: readonly string[]): Promise<void> {
    if (!(await this.exists())) await this.#create()
    const isMarked = new Set(await marked(this.#knex, tables))
    for (const table of tables) if (!isMarked.has(table)) await mark(this.#knex, table)
    const recorded = await this.#recorded()
    const names = tables.filter((name) => !recorded.has(name))
    if (names.length > 0) await this.#knex(this.#table).insert(names.map((name) => ({ name })))
  }

  /** Removes tables from the record, and drops the record when it is empty. */
  async remove(tables: readonly string[]): Promise<void> {
    if (!(await this.exists())) return
    await this.#knex(this.#table)
      .whereIn('name', [...tables])
      .delete()
    if ((await this.#recorded()).size === 0) await this.#knex.schema.dropTable(this.#table)
  }

  /** Removes the given tables from the record if they were dropped or replaced since the library created them. */
  async removeLost(tables: readonly string[]): Promise<void> {
    const recorded = await this.#recorded()
    const listed = tables.filter((table) => recorded.has(table))
    const own = new Set(await marked(this.#knex, listed))
    const lost = listed.filter((table) => !own.has(table))
    if (lost.length > 0) await this.#knex(this.#table).whereIn('name', lost).delete()
  }

  async #create(): Promise<void> {
    await this.#knex.schema.createTable(this.#table, (table) => {
      table.string('name', 191).notNullable()
      // Knex would name it after the table with its schema.
      table.primary(['name'], constraintName(this.#table, ['name'], 'pkey'))
    })
  }

  async #recorded(): Promise<ReadonlySet<string>> {
    if (!(await this.exists())) return new Set()
    const rows = (await this.#knex(this.#table).select('name')) as object[]
    return new Set(rows.map((row) => String(Object.values(row)[0])))
  }
}

/** The comment on each table that the library created. */
export const MARK = 'Created by objection-perms'

/** Marks a table with a comment. SQLite has no comments: there, an index without entries is the mark. */
async function mark(knex: Knex, table: string): Promise<void> {
  const dialect = dialectOf(knex)
  if (dialect === 'pg') await knex.raw(`comment on table ?? is '${MARK}'`, [table])
  else if (dialect === 'mysql') await knex.raw(`alter table ?? comment = '${MARK}'`, [table])
  else {
    const { name } = sentName(knex, table)
    const [[column] = []] = await select(knex, 'select name from pragma_table_info(?) limit 1', [name])
    await knex.raw(`create index if not exists "${markIndex(name)}" on "${name}" ("${String(column)}") where 0`)
  }
}

/** Returns those of the given tables that have the mark. */
async function marked(knex: Knex, tables: readonly string[]): Promise<string[]> {
  return await tablesWith(knex, tables, (row, { sql, schema, name }) => ({
    pg: [`select ${row} where obj_description(to_regclass(?), 'pg_class') = ?`, [sql, MARK]],
    mysql: [
      `select ${row} from information_schema.tables where table_schema = coalesce(?, database()) and table_name = ? and table_comment = ?`,
      [schema ?? null, name, MARK],
    ],
    sqlite: [`select ${row} from sqlite_master where type = 'index' and lower(tbl_name) = lower(?) and name = ?`, [name, markIndex(name)]],
  }))
}

const markIndex = (table: string): string => `objection_perms_${table}`
