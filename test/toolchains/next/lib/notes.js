import Knex from 'knex'
import {
  Api,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  initPerms,
  User,
  UserOwnershipMixin,
  UserResource,
} from 'objection-perms'

export class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 100 }),
}) {
  // Next shortens the names of classes.
  static tableName = 'note'
}

/**
 * Returns the application. Next evaluates this module once for each of its bundles, so that the runtime is kept on globalThis; and during
 * the build, so that nothing starts before the first call.
 */
export function application() {
  globalThis.notesApplication ??= start()
  return globalThis.notesApplication
}

function start() {
  const knex = Knex({ client: 'better-sqlite3', connection: { filename: process.env.DATABASE_FILE }, useNullAsDefault: true })
  const perms = initPerms({ knex, jwt: { secret: process.env.JWT_SECRET }, cookies: true })
  const api = new Api({
    title: 'Notes',
    version: '1',
    prefix: '/api',
    resources: [new UserResource(), new CrudResource({ model: Note, path: 'notes' })],
  })
  return { knex, perms, api }
}

/** Creates the tables and two users. */
export async function prepare() {
  const { knex, perms } = application()
  await perms.migrate()
  await createTables(knex, [Note])
  await asSystem(async () => {
    for (const name of ['ada', 'bob']) await User.create({ email: `${name}@example.com`, password: `the word of ${name}` })
  })
}
