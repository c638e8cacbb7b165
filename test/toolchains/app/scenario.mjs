import Knex from 'knex'
import {
  Api,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  runAs,
  User,
  UserOwnershipMixin,
  UserResource,
} from 'objection-perms'
import { fetchAdapter } from 'objection-perms/fetch'

export class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 100 }),
}) {}

/**
 * Sets up a database in memory, signs two users in, and lets each read the note of the first one.
 *
 * @returns what a test compares: see expected.json
 */
export async function scenario() {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
  const perms = initPerms({ knex, jwt: { secret: 'a secret of at least thirty-two bytes' } })
  try {
    const migrations = await perms.migrate()
    await createTables(knex, [Note])
    const [ada, bob] = await Promise.all(
      ['ada', 'bob'].map((name) => User.create({ email: `${name}@example.com`, password: `the word of ${name}` })),
    )
    const note = await runAs(ada, () => Note.create({ title: 'of ada' }))
    const refused = await runAs(bob, () => note.update({ title: 'of bob' })).catch((error) => error.code)

    const { authenticate, router } = fetchAdapter(perms)
    const handle = authenticate(
      router(new Api({ title: 'Notes', version: '1', resources: [new UserResource(), new CrudResource({ model: Note })] })),
    )
    const signIn = async (name) => {
      const body = JSON.stringify({ email: `${name}@example.com`, password: `the word of ${name}` })
      const response = await handle(
        new Request('http://localhost/users/login/', { method: 'POST', headers: { 'content-type': 'application/json' }, body }),
      )
      return (await response.json()).access_token
    }
    const statusFor = async (token) => {
      const headers = token ? { authorization: `Bearer ${token}` } : {}
      return (await handle(new Request(`http://localhost/notes/${note.id}`, { headers }))).status
    }
    return {
      tables: [User.tableName, Note.tableName],
      hasMigrated: migrations.length > 0,
      refused,
      statuses: { ada: await statusFor(await signIn('ada')), bob: await statusFor(await signIn('bob')), anonymous: await statusFor() },
    }
  } finally {
    await perms.close()
    await knex.destroy()
  }
}
