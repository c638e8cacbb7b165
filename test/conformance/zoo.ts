import { definitionOf } from '../../src/model/definition.js'
import { column } from '../../src/model/column.js'
import { createTables } from '../../src/model/tables.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { UserOwnershipMixin } from '../../src/mixins/user-ownership.js'
import type { PermsPort } from '../../src/http/ports.js'
import { initPerms } from '../../src/init.js'
import { BasePermsModel } from '../../src/perms/base-perms-model.js'
import { InvalidCredentialsError, InvalidTokenError } from '../../src/model/errors.js'
import { asSystem, noteAdapterMade } from '../../src/perms/context.js'
import { anyOf, authenticated, owner, role, where } from '../../src/perms/rules.js'
import { loadActor } from '../../src/users/actor.js'
import { Role } from '../../src/users/roles.js'
import { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
import { createDatabase, type DatabaseName } from '../helpers/databases.js'

export class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
  rating: column.integer().nullable(),
  price: column.decimal(10, 2).nullable(),
  publishedAt: column.datetime().nullable(),
  secret: column.string().nullable().hidden(),
}) {}

export class Critter extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  species: column.string({ maxLength: 100 }),
  isAdoptable: column.boolean().default(true),
}) {
  static override policy = {
    read: anyOf(where({ isAdoptable: true }), owner()),
    create: authenticated(),
    update: owner(),
    delete: role(Role.ADMIN),
  }
}

export const password = 'correct horse battery'

export interface Zoo {
  readonly perms: PermsPort
  /** Access tokens by name. */
  readonly tokens: Readonly<Record<'ada' | 'bob' | 'admin', string>>
  readonly ids: Readonly<Record<'ada' | 'bob' | 'admin' | 'document' | 'foreign' | 'critter' | 'shy', string>>
  close(): Promise<void>
}

/** A database with three users and what belongs to them. */
export async function openZoo(name: DatabaseName = 'better-sqlite3', options: Partial<Parameters<typeof initPerms>[0]> = {}): Promise<Zoo> {
  const database = await createDatabase(name)
  const { knex } = database
  const library = initPerms({ knex, passwords: { cost: 10 }, ...options })
  await library.migrate()
  await createTables(
    knex,
    [UserDocument, Critter].map((model) => {
      const { tableName, columns, uniques, indexes } = definitionOf(model)
      return { name: tableName, columns: columns as never, primaryKey: 'id', uniques, indexes }
    }),
  )
  const made = await asSystem(async () => {
    const ada = await User.create({ email: 'ada@example.com', password } as never)
    const bob = await User.create({ email: 'bob@example.com', password } as never)
    const admin = await User.create({ email: 'admin@example.com', password } as never)
    await UserRole.create({ userId: admin.id, role: Role.ADMIN })
    const document = await UserDocument.create({ title: 'Mine', content: 'x', userId: ada.id })
    const foreign = await UserDocument.create({ title: 'His', content: 'y', userId: bob.id })
    const critter = await Critter.create({ name: 'Rex', species: 'dog', userId: bob.id })
    const shy = await Critter.create({ name: 'Shy', species: 'cat', isAdoptable: false, userId: bob.id })
    return { ada, bob, admin, document, foreign, critter, shy }
  })
  const perms: PermsPort = {
    knex,
    models: library.models,
    options: library.options,
    mapError: library.mapError,
    noteAdapter: noteAdapterMade,
    auth: {
      async signIn(given) {
        const user = await asSystem(() => User.getBy({ email: given.email } as never))
        if (!user || given.password !== password) throw new InvalidCredentialsError()
        return { status: 'signedIn', accessToken: `user:${user.id}`, refreshToken: `refresh:${user.id}`, expiresIn: 900 }
      },
      async refresh(token) {
        if (!token.startsWith('refresh:')) throw new InvalidTokenError()
        return { accessToken: `user:${token.slice(8)}`, refreshToken: token, expiresIn: 900 }
      },
      async signOut() {},
    },
    async authenticate(token) {
      const actor = token.startsWith('user:') ? await loadActor(token.slice(5)) : null
      if (!actor) throw new InvalidTokenError()
      return actor
    },
  }
  const tokenOf = async (email: string) => ((await perms.auth.signIn({ email, password })) as { accessToken: string }).accessToken
  return {
    perms,
    ids: Object.fromEntries(Object.entries(made).map(([key, { id }]) => [key, id])) as Zoo['ids'],
    tokens: { ada: await tokenOf('ada@example.com'), bob: await tokenOf('bob@example.com'), admin: await tokenOf('admin@example.com') },
    async close() {
      await library.close()
      await database.destroy()
    },
  }
}
