/** Runs the packaged migrations with a later version of a model, in a process of its own, and prints the columns. */
import Knex from 'knex'
import { column, createTables, initPerms, Token, User } from '../../../src/index.js'
import { declareColumns } from '../../../src/schema/definition/declarations.js'

declareColumns(Token, { later: column.string().nullable(), kind: column.string({ maxLength: 99 }).nullable() })

const columnsOf = async (create: (knex: Knex.Knex) => Promise<unknown>) => {
  const knex = Knex({ client: 'better-sqlite3', connection: ':memory:', useNullAsDefault: true })
  const perms = initPerms({ knex })
  await create(knex)
  const rows = (await knex.raw('pragma table_info(token)')) as { name: string; type: string }[]
  await perms.close()
  await knex.destroy()
  return rows.flatMap(({ name, type }) => (name === 'kind' ? [`${name} ${type}`] : [name]))
}

const created = await columnsOf(async () => (await import('../../../src/setup/perms.js')).currentPerms().migrate())
const declared = await columnsOf((knex) => createTables(knex, [User, Token]))
console.log(JSON.stringify({ created, declared }))
