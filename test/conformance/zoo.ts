import { createTablesFromSpecs } from '../../src/database/tables.js'
import { BasePermsModel } from '../../src/enforce/base-perms-model.js'
import { initPerms, type Perms } from '../../src/init.js'
import { HasUserMixin } from '../../src/mixins/has-user.js'
import { UserOwnershipMixin } from '../../src/mixins/user-ownership.js'
import { asSystem } from '../../src/policy/context.js'
import { anyOf, authenticated, owner, role, where } from '../../src/policy/rules.js'
import { column } from '../../src/schema/column.js'
import { definitionOf } from '../../src/schema/definition.js'
import { createUser, signInAs, testHasher } from '../../src/testing/index.js'
import { Role } from '../../src/users/roles.js'
import type { User } from '../../src/users/user.js'
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
  readonly perms: Perms
  /** Access tokens by name. */
  readonly tokens: Readonly<Record<'ada' | 'bob' | 'admin', string>>
  readonly ids: Readonly<Record<'ada' | 'bob' | 'admin' | 'document' | 'foreign' | 'critter' | 'shy', string>>
  close(): Promise<void>
}

/** A database with three users and what belongs to them. */
export async function openZoo(name: DatabaseName = 'better-sqlite3', options: Partial<Parameters<typeof initPerms>[0]> = {}): Promise<Zoo> {
  const database = await createDatabase(name)
  const { knex } = database
  // Nobody needs these files after a crash, and waiting for the disk is most of what a zoo costs.
  if (name.includes('sqlite')) await knex.raw('pragma synchronous = off')
  const perms = initPerms({ knex, jwt: { secret: 'a secret of the tests, 32 bytes long' }, passwordHasher: testHasher(), ...options })
  await perms.migrate()
  await createTablesFromSpecs(
    knex,
    [UserDocument, Critter].map((model) => {
      const { tableName, columns, uniques, indexes } = definitionOf(model)
      return { name: tableName, columns: columns as never, primaryKey: 'id', uniques, indexes }
    }),
  )
  const made = await asSystem(async () => {
    const ada = await createUser({ email: 'ada@example.com', password })
    const bob = await createUser({ email: 'bob@example.com', password })
    const admin = await createUser({ email: 'admin@example.com', password }, { role: Role.ADMIN })
    // Lists begin with the newest.
    const createdAt = new Date(Date.now() - 1000)
    const document = await UserDocument.create({ title: 'Mine', content: 'x', userId: ada.id, createdAt })
    const foreign = await UserDocument.create({ title: 'His', content: 'y', userId: bob.id })
    const critter = await Critter.create({ name: 'Rex', species: 'dog', userId: bob.id })
    const shy = await Critter.create({ name: 'Shy', species: 'cat', isAdoptable: false, userId: bob.id })
    return { ada, bob, admin, document, foreign, critter, shy }
  })
  const tokenOf = async (user: User) => (await signInAs(user)).accessToken
  return {
    perms,
    ids: Object.fromEntries(Object.entries(made).map(([key, { id }]) => [key, id])) as Zoo['ids'],
    tokens: { ada: await tokenOf(made.ada), bob: await tokenOf(made.bob), admin: await tokenOf(made.admin) },
    async close() {
      await perms.close()
      await database.destroy()
    },
  }
}
