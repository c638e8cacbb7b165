import type { Knex } from 'knex'
import { BasePermsModel } from '../../enforce/base-perms-model.js'
import type { CrudResourceOptions } from '../../http/crud/crud-options.js'
import { CrudResource } from '../../http/crud/crud-resource.js'
import type { UserFeatures } from '../../http/users/user-options.js'
import { initPerms } from '../../init.js'
import { createTables } from '../../migrations.js'
import { HasUserMixin } from '../../mixins/has-user.js'
import { ShareableMixin } from '../../mixins/shareable.js'
import { TimestampMixin } from '../../mixins/timestamps.js'
import { UserOwnershipMixin } from '../../mixins/user-ownership.js'
import { asSystem } from '../../policy/context.js'
import { allOf, anyOf, authenticated, owner, role, shared, where } from '../../policy/rules.js'
import { factor, recent } from '../../policy/session-rules.js'
import { column } from '../../schema/column.js'
import type { PermsOptions } from '../../setup/options.js'
import type { Perms } from '../../setup/perms.js'
import { Role } from '../../users/roles/roles.js'
import { User } from '../../users/user.js'
import { testHasher } from '../hasher.js'
import { type CapturedMailer, capturedMailer } from '../mailer.js'
import { createUser, signInAs } from '../users.js'
import { password } from './case.js'
import { testProviders } from './test-provider.js'

export class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
  rating: column.integer().nullable(),
  price: column.decimal(10, 2).nullable(),
  publishedAt: column.datetime().nullable(),
  secret: column.string().nullable().hidden(),
}) {
  // Bundlers and minifiers rename classes.
  static override tableName = 'user_document'
}

export class Critter extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  species: column.string({ maxLength: 100 }),
  isAdoptable: column.boolean().default(true),
}) {
  static override tableName = 'critter'
  static override policy = {
    read: anyOf(where({ isAdoptable: true }), owner()),
    create: authenticated(),
    update: owner(),
    delete: role(Role.ADMIN),
    feed: owner(),
  }
}

/** Changes need a session that its user confirmed within five minutes; deletions also need a second factor. */
export class Treasure extends HasUserMixin(BasePermsModel).withColumns({ title: column.string({ maxLength: 100 }) }) {
  static override tableName = 'treasure'
  static override policy = {
    read: owner(),
    create: allOf(owner(), recent(300)),
    update: allOf(owner(), recent(300)),
    delete: allOf(owner(), recent(300), factor('totp')),
    polish: allOf(owner(), recent(300)),
  }
}

/** Its owner shares it with others. */
export class Letter extends ShareableMixin(HasUserMixin(BasePermsModel)).withColumns({ text: column.string({ maxLength: 100 }) }) {
  static override tableName = 'letter'
  static override policy = {
    read: anyOf(owner(), shared('viewer')),
    create: authenticated(),
    update: anyOf(owner(), shared('editor')),
    delete: owner(),
  }
}

/** Serves critters with the action 'feed'. */
export function critterResource(options: Omit<CrudResourceOptions<typeof Critter>, 'model'>): CrudResource<typeof Critter> {
  const critters = new CrudResource({ model: Critter, ...options })
  critters.action<{ food: string }>('feed', {
    input: { type: 'object', properties: { food: { type: 'string', maxLength: 50 } }, required: ['food'] },
    schema: { type: 'object', properties: { fed: { type: 'string' }, food: { type: 'string' } } },
    handler: ({ row, input }) => ({ fed: row.name, food: input.food }),
  })
  return critters
}

/** A user model with verified addresses, in the library's own table. */
export class Keeper extends TimestampMixin(User) {
  static override tableName = 'user'
}

/** Every feature of UserResource. */
export const allFeatures = {
  apiKeys: true,
  verifyEmail: true,
  resetPassword: true,
  changeEmail: true,
  magicLink: true,
  codes: true,
  totp: true,
  trustedDevices: true,
  passkeys: true,
  providers: true,
  invitations: true,
  impersonation: true,
  confirm: true,
  export: true,
  deleteAccount: true,
} as const satisfies UserFeatures

/** Three users and their rows. */
export interface World {
  readonly perms: Perms
  /** Access tokens by name. */
  readonly tokens: Readonly<Record<'ada' | 'bob' | 'admin', string>>
  readonly ids: Readonly<Record<'ada' | 'bob' | 'admin' | 'document' | 'foreign' | 'critter' | 'shy', string>>
  close(): Promise<void>
}

/** A world with a user model for every feature, and the mail that was sent. */
export interface FullWorld extends World {
  readonly mailer: CapturedMailer
}

/** Sets up the library and creates the world in an empty database. close() also destroys the Knex instance. */
export async function openWorld(knex: Knex, options: Partial<PermsOptions> = {}): Promise<World> {
  const jwt = { secret: 'a secret of the tests, 32 bytes long' }
  const passkeys = { rpId: 'example.com', rpName: 'Zoo', origins: ['https://app.example.com'] }
  const perms = initPerms({ knex, jwt, passkeys, passwordHasher: testHasher(), ...options })
  await perms.migrate()
  await createTables(knex, [UserDocument, Critter])
  const made = await asSystem(async () => {
    const ada = await createUser({ email: 'ada@example.com', password })
    const bob = await createUser({ email: 'bob@example.com', password })
    const admin = await createUser({ email: 'admin@example.com', password }, { role: Role.ADMIN })
    // Lists begin with the newest row.
    const createdAt = new Date(Date.now() - 1000)
    const document = await UserDocument.create({ title: 'Mine', content: 'x', userId: ada.id, createdAt })
    const foreign = await UserDocument.create({ title: 'His', content: 'y', userId: bob.id })
    const critter = await Critter.create({ name: 'Rex', species: 'dog', userId: bob.id })
    const shy = await Critter.create({ name: 'Shy', species: 'cat', isAdoptable: false, userId: bob.id })
    return { ada, bob, admin, document, foreign, critter, shy }
  })
  const tokenOf = async (user: User) => (await signInAs(user, { perms })).accessToken
  return {
    perms,
    ids: Object.fromEntries(Object.entries(made).map(([key, { id }]) => [key, id])) as World['ids'],
    tokens: { ada: await tokenOf(made.ada), bob: await tokenOf(made.bob), admin: await tokenOf(made.admin) },
    async close() {
      await perms.close()
      await knex.destroy()
    },
  }
}

/** Opens a world in which every feature of UserResource can be enabled. Nothing is limited. */
export async function openFullWorld(knex: Knex, options: Partial<PermsOptions> = {}): Promise<FullWorld> {
  const mailer = capturedMailer()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  const world = await openWorld(knex, {
    user: Keeper,
    mail,
    secondFactor: { issuer: 'Zoo', trustedDevices: { lifetime: 86_400 } },
    throttle: false,
    ...testProviders(),
    ...options,
  })
  return { ...world, mailer }
}
