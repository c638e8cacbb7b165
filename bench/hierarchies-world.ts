/** A table of folders in trees of ten levels, for the bench and for the test of its plans. */
import type { Knex } from 'knex'
import { BasePermsModel, belongsTo, column, createTables, owner, type Policy, related } from '../src/index.js'

const columns = {
  id: column.integer(),
  parentId: column.integer().nullable().index(),
  userId: column.integer().nullable().index(),
}

/** Readable if an ancestor belongs to the caller. */
export class Folder extends BasePermsModel.withColumns(columns) {
  static override tableName = 'bench_folder'
  static userField = 'userId'
  static override policy: Policy = { read: related('parent', owner(), { recursive: true }) }
  static override relationMappings = { parent: belongsTo(() => Folder, 'parentId') }
}

/** The same rows under the flat rule. */
export class FlatFolder extends Folder {
  static override tableName = 'bench_folder'
  static override policy: Policy = { read: related('parent', owner()) }
}

/** The rows of each tree: a binary tree of ten levels. */
export const TREE = 1000

/** Fills the table: the root of tree n belongs to the user n, the other rows to user n + 1,000,000. Row i has the id i + 1. */
export async function fillFolders(knex: Knex, trees: number): Promise<void> {
  await createTables(knex, [Folder])
  const { client } = knex.client.config as { client: string }
  const [isPg, isMysql] = [client === 'pg', client === 'mysql2']
  const last = trees * TREE - 1
  const rows = isPg
    ? `generate_series(0, ${last}) s(i)`
    : isMysql
      ? `(select seq i from seq_0_to_${last}) s`
      : `(with recursive c(i) as (select 0 union all select i + 1 from c where i < ${last}) select i from c) s`
  const [div, root] = [isMysql ? 'div' : '/', `i - i % ${TREE}`]
  const now = isMysql || isPg ? 'now()' : '0'
  await knex.raw(
    `insert into bench_folder (id, parent_id, user_id, created_at, updated_at) select i + 1,
      case when i % ${TREE} = 0 then null else ${root} + (i % ${TREE} + 1) ${div} 2 end,
      case when i % ${TREE} = 0 then i ${div} ${TREE} else 1000000 + i ${div} ${TREE} end, ${now}, ${now} from ${rows}`,
  )
  await knex.raw(isPg ? 'analyze' : isMysql ? 'analyze table bench_folder' : 'analyze')
}
