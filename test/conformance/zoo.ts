import { HasUserMixin } from '../../src/mixins/has-user.js'
import { UserOwnershipMixin } from '../../src/mixins/user-ownership.js'
import { column } from '../../src/model/column.js'
import { definitionOf } from '../../src/model/definition.js'
import { mapIdentifiers } from '../../src/model/query-builder.js'
import { createTables } from '../../src/model/tables.js'
import { registerKnex } from '../../src/model/transaction.js'
import { prepareConnections } from '../../src/model/connections.js'
import { mapDatabaseError } from '../../src/model/database-errors.js'
import { dialectOf } from '../../src/model/storage.js'
import { InvalidCredentialsError, InvalidTokenError } from '../../src/model/errors.js'
import { BasePermsModel } from '../../src/perms/base-perms-model.js'
import { asSystem, noteAdapterMade, resetContextDefaults } from '../../src/perms/context.js'
import { registerModels, setDefaultModels } from '../../src/perms/registry.js'
import { anyOf, authenticated, owner, role, where } from '../../src/perms/rules.js'
import { loadActor } from '../../src/users/actor.js'
import { Domain } from '../../src/users/domain.js'
import { Role } from '../../src/users/roles.js'
import { Token } from '../../src/users/token.js'
import { User } from '../../src/users/user.js'
import { UserRole } from '../../src/users/user-role.js'
import { UserSetting } from '../../src/users/user-setting.js'
import type { PermsPort } from '../../src/http/ports.js'
import { createDatabase } from '../helpers/databases.js'

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
  /** Bearer tokens by name. */
  readonly tokens: Readonly<Record<'ada' | 'bob' | 'admin', string>>
  readonly ids: Readonly<Record<'ada' | 'bob' | 'admin' | 'document' | 'foreign' | 'critter' | 'shy', string>>
  close(): Promise<void>
}

export async function openZoo(): Promise<Zoo> {
  const database = await createDatabase('better-sqlite3')
  const { knex } = database
  const models = { user: User, userRole: UserRole, domain: Domain, token: Token, userSetting: UserSetting }
  setDefaultModels(models as never)
  registerModels(models as never)
  registerKnex(knex)
  const undo = [mapIdentifiers(knex), prepareConnections(knex)]
  await createTables(
    knex,
    [User, Domain, UserRole, Token, UserSetting, UserDocument, Critter].map((model) => {
      const { columns, uniques, indexes } = definitionOf(model)
      return { name: model.getTableName(), columns: columns as never, primaryKey: 'id', uniques, indexes }
    }),
  )
  const people = await asSystem(async () => {
    const ada = await User.create({ email: 'ada@example.com' })
    const bob = await User.create({ email: 'bob@example.com' })
    const admin = await User.create({ email: 'admin@example.com' })
    await UserRole.create({ userId: admin.id, role: Role.ADMIN })
    const document = await UserDocument.create({ title: 'Mine', content: 'x', userId: ada.id })
    const foreign = await UserDocument.create({ title: 'His', content: 'y', userId: bob.id })
    const critter = await Critter.create({ name: 'Rex', species: 'dog', userId: bob.id })
    const shy = await Critter.create({ name: 'Shy', species: 'cat', isAdoptable: false, userId: bob.id })
    return { ada, bob, admin, document, foreign, critter, shy }
  })
  const ids = Object.fromEntries(Object.entries(people).map(([name, { id }]) => [name, id])) as Zoo['ids']
  const perms: PermsPort = {
    knex,
    models: { user: User },
    options: { accessDenied: 404 },
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
    noteAdapter: noteAdapterMade,
    mapError: (error) => mapDatabaseError(error, dialectOf(knex)),
  }
  return {
    perms,
    ids,
    tokens: { ada: `user:${ids.ada}`, bob: `user:${ids.bob}`, admin: `user:${ids.admin}` },
    async close() {
      for (const one of undo) one()
      registerKnex(null)
      registerModels(null)
      resetContextDefaults()
      await database.destroy()
    },
  }
}
