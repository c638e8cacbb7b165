/** Reads the types of the columns of one table. */
import type { Knex } from 'knex'
import { dialectOf } from '../../schema/storage.js'
import { select, sentName } from '../tables/existing-tables.js'
import { type ValueType, valueTypeOf } from './column-types.js'
import { namedTypes } from './named-types.js'
import { readSchema } from './read-schema.js'
import { at, textRows } from './rows.js'
import type { ColumnSchema } from './schema-types.js'

/** A column of an existing table. */
export interface TableColumn {
  /** undefined for a type whose values the library cannot compare. */
  readonly type: ValueType | undefined
  readonly isNullable: boolean
  /** Whether only the database sets the value: an identity, auto_increment, or a computed column. */
  readonly isGenerated: boolean
}

/** The columns of an existing table. */
export interface TableColumns {
  readonly names: readonly string[]
  /** Returns a column by the name that queries send. SQLite and MariaDB ignore the case. */
  get(name: string): TableColumn | undefined
}

/**
 * Reads the columns of a table.
 *
 * @param table the table as models name it
 * @returns null for a table that does not exist
 * @throws the driver's error
 * @example (await readTableColumns(knex, 'tasks'))?.get('due_at')?.type // { type: 'datetime' }
 */
export async function readTableColumns(knex: Knex, table: string): Promise<TableColumns | null> {
  const dialect = dialectOf(knex)
  const [found] = [...(await readSchema(knex, { tables: [table] })).tables.values()]
  if (!found) return null
  // readSchema() leaves out the columns of views of SQLite.
  const all = dialect === 'sqlite' && found.isView ? await columnsOfView(knex, found.name) : [...found.columns.values()]
  const typed = all.map((one) => ({ ...one, valueType: valueTypeOf(one.type, dialect) }))
  const unknown = dialect === 'pg' ? typed.filter(({ valueType }) => !valueType).map(({ type }) => type) : []
  const named = await namedTypes(knex, [...new Set(unknown)])
  const spelled = dialect === 'pg' ? (name: string) => name : (name: string) => name.toLowerCase()
  const byName = new Map(
    typed.map(({ name, type, valueType, isNullable, isGenerated, computed }): [string, TableColumn] => [
      spelled(name),
      { type: valueType ?? named.get(type), isNullable, isGenerated: isGenerated === true || computed !== undefined },
    ]),
  )
  return { names: all.map(({ name }) => name), get: (name) => byName.get(spelled(sentName(knex, name).name)) }
}

async function columnsOfView(knex: Knex, view: string): Promise<ColumnSchema[]> {
  const [name, schema = 'main'] = view.split('.').reverse()
  const rows = textRows(await select(knex, 'select x.name as a, x.type as b from pragma_table_xinfo(?, ?) x', [name as string, schema]))
  return rows.map((row) => ({ name: at(row, 0), type: at(row, 1).toLowerCase(), isNullable: true }))
}
