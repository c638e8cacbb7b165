/** A table of rows that are shared with users, for the bench and for the test of its plans. */
import type { Knex } from 'knex'
import { anyOf, BasePermsModel, column, createTables, owner, type Policy, RowShare, ShareableMixin, shared } from '../src/index.js'

const columns = { userId: column.integer().nullable().index(), rank: column.integer().index() }

/** Readable for its owner, and for those with whom it is shared. */
export class Sheet extends ShareableMixin(BasePermsModel).withColumns(columns) {
  static override tableName = 'bench_sheet'
  static userField = 'userId'
  static override policy: Policy = { read: anyOf(owner(), shared('viewer')), update: shared('editor') }
}

/** The same rows, readable only for those with whom they are shared. */
export class SharedSheet extends Sheet {
  static override tableName = 'bench_sheet'
  static override policy: Policy = { read: shared('viewer') }
}

/** The same rows, readable only for their owner. */
export class OwnSheet extends Sheet {
  static override tableName = 'bench_sheet'
  static override policy: Policy = { read: owner() }
}

/** The rows that each user owns, and the rows that are shared with each user. */
export const EACH = 20

/** Returns the id of row i. */
export const idOf = (i: number): string => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`

/** Fills the tables: row i belongs to the user i / 20, and is shared with the user 1 + i / 20 as an editor. */
export async function fillSheets(knex: Knex, users: number): Promise<void> {
  await createTables(knex, [Sheet])
  const shares = RowShare.tableName
  const { client } = knex.client.config as { client: string }
  const [isPg, isMysql] = [client === 'pg', client === 'mysql2']
  const last = users * EACH - 1
  const rows = isPg
    ? `generate_series(0, ${last}) s(i)`
    : isMysql
      ? `(select seq i from seq_0_to_${last}) s`
      : `(with recursive c(i) as (select 0 union all select i + 1 from c where i < ${last}) select i from c) s`
  const div = isMysql ? 'div' : '/'
  const now = isMysql || isPg ? 'now()' : '0'
  const padded = isPg ? "lpad(i::text, 12, '0')" : isMysql ? "lpad(i, 12, '0')" : "substr('000000000000' || i, -12)"
  const text = isMysql ? `concat('00000000-0000-4000-8000-', ${padded})` : `'00000000-0000-4000-8000-' || ${padded}`
  const id = isPg ? `(${text})::uuid` : text
  const share = isMysql ? `concat('10000000-0000-4000-8000-', ${padded})` : `'10000000-0000-4000-8000-' || ${padded}`
  const key = isMysql ? `concat('user:', 1 + i ${div} ${EACH})` : `'user:' || (1 + i ${div} ${EACH})`
  await knex.raw(
    `insert into bench_sheet (id, user_id, ${isMysql ? '`rank`' : 'rank'}, created_at, updated_at) select ${id}, i ${div} ${EACH}, i, ${now}, ${now} from ${rows}`,
  )
  await knex.raw(
    `insert into ${shares} (id, row_table, row_id, relation, subject_key, created_at, updated_at)
      select ${isPg ? `(${share})::uuid` : share}, 'bench_sheet', ${text}, 'editor', ${key}, ${now}, ${now} from ${rows}`,
  )
  await knex.raw(isPg ? 'analyze' : isMysql ? `analyze table bench_sheet, ${shares}` : 'analyze')
}
