import Knex from 'knex'
import { asSystem, BasePermsModel, column, createTables, HasUserMixin, initPerms, User, UserOwnershipMixin } from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'

export class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 100 }),
}) {}

const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })

export const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET } })

export const adapter = expressAdapter(perms)

/** Creates the tables and two users. */
export async function prepare(): Promise<void> {
  await perms.migrate()
  await createTables(knex, [Note])
  await asSystem(async () => {
    for (const name of ['ada', 'bob']) await User.create({ email: `${name}@example.com`, password: `the word of ${name}` })
  })
}
