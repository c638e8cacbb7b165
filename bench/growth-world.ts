/** Tables of documents of many users, which differ only in their number of rows. */
import type { Knex } from 'knex'
import { BasePermsModel, CrudResource, column, createTables, HasUserMixin, User, UserOwnershipMixin } from '../src/index.js'

/** The rows of each user. Those of the caller are spread over the whole table. */
export const OWNED = 1000

/** The rows per page. */
export const PAGE = 20

const columns = { title: column.string({ maxLength: 200 }), content: column.text() }

/** Returns the model of a table with so many rows. Its indexes are the default order of lists, after the owner, and alone. */
export function documentsOf(rows: number) {
  return class GrowthDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns(columns, {
    indexes: [
      ['userId', 'createdAt', 'id'],
      ['createdAt', 'id'],
    ],
  }) {
    static override tableName = `growth_${rows}`
    static override userBackref = null
  }
}

type Documents = ReturnType<typeof documentsOf>

/** Returns the endpoints of a table. */
export const resourceOf = (model: Documents, rows: number) => new CrudResource({ model, path: `growth-${rows}`, name: `Growth${rows}` })

/** Makes the users, the caller first. */
export async function fillUsers(knex: Knex, count: number): Promise<User> {
  const caller = await User.create({ email: 'caller@example.com' })
  const isPg = knex.client.config.client === 'pg'
  const rows = isPg ? `generate_series(1, ${count - 1}) s(i)` : series(1, count - 1)
  const now = isPg ? 'now()' : '0'
  if (count > 1)
    await knex.raw(`insert into "user" (id, email, is_enabled, created_at, updated_at)
      select ${uuid(isPg, 'i')}, 'user' || i || '@example.com', ${isPg ? 'true' : '1'}, ${now}, ${now} from ${rows}`)
  return caller
}

const series = (from: number, to: number) =>
  `(with recursive c(i) as (select ${from} union all select i + 1 from c where i < ${to}) select i from c) s`
const uuid = (isPg: boolean, number: string) =>
  isPg
    ? `('00000000-0000-4000-8000-' || lpad((${number})::text, 12, '0'))::uuid`
    : `'00000000-0000-4000-8000-' || substr('000000000000' || (${number}), -12)`

/** Makes and fills the table: row i belongs to user i % users, where user 0 is the caller. The rows are in the order of their creation. */
export async function fillDocuments(knex: Knex, model: Documents, rows: number, caller: User): Promise<void> {
  await createTables(knex, [model])
  const users = rows / OWNED
  const isPg = knex.client.config.client === 'pg'
  const id = isPg ? 'gen_random_uuid()' : "lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4000-8000-' || hex(randomblob(6)))"
  const owner = `case when i % ${users} = 0 then ${isPg ? '?::uuid' : '?'} else ${uuid(isPg, `i % ${users}`)} end`
  const at = isPg ? "timestamptz '2024-01-01' + i * interval '1 second'" : '1704067200000 + i * 1000'
  const content = isPg ? "repeat('text ', 40)" : "replace(hex(zeroblob(20)), '0', 'text ')"
  // Inserting random ids into a large index needs the index in memory.
  if (!isPg) await knex.raw('pragma cache_size = -1000000')
  await knex.raw(
    `insert into ${model.tableName} (id, user_id, title, content, created_at, updated_at)
      select ${id}, ${owner}, 'Document ' || i, ${content}, ${at}, ${at} from ${isPg ? `generate_series(0, ${rows - 1}) s(i)` : series(0, rows - 1)}`,
    [caller.id],
  )
  await knex.raw(isPg ? `vacuum analyze ${model.tableName}` : 'analyze')
  if (!isPg) await knex.raw('pragma cache_size = -16000')
}
