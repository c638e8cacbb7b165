import { randomBytes, randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import {
  Api,
  AuditLog,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  HasUserMixin,
  initPerms,
  type Mail,
  type Perms,
  type PermsOptions,
  User,
  UserOwnershipMixin,
  UserResource,
} from '../../src/index.js'
import { capturedMailer } from '../../src/testing/index.js'
import { TestHasher } from '../auth/set-up.js'
import { eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf } from '../http/client.js'

export const password = 'correct horse battery'

/** A kind of ids that an application may have. */
export interface IdKind {
  readonly title: string
  /** The column of the id; a new one for each model. */
  readonly make: () => ReturnType<typeof column.string>
  /** An id in its type, from a number: the first row of a table made by the database has 1. */
  readonly isMadeByDatabase: boolean
  /** Texts that are no spelling of the id `text`. */
  readonly misspellings: (text: string) => readonly string[]
  readonly domain?: object
}

const numbers = (text: string) => [
  `${text}abc`,
  `0${text}`,
  `+${text}`,
  ` ${text}`,
  `${text} `,
  `${text}.0`,
  `${text}e0`,
  `0x${text}`,
  `-${text}`,
  '-1',
  '1e3',
  // ARABIC-INDIC DIGIT SEVEN
  '\u0667',
  '9007199254740993',
  '99999999999999999999',
]

const alphabet = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'

export const idKinds: readonly IdKind[] = [
  { title: 'integers made by the database', make: () => column.integer() as never, isMadeByDatabase: true, misspellings: numbers },
  { title: 'bigints made by the database', make: () => column.bigint() as never, isMadeByDatabase: true, misspellings: numbers },
  {
    title: 'UUIDs of version 4',
    make: () => column.uuid().default(() => randomUUID()) as never,
    isMadeByDatabase: false,
    misspellings: (text) => [`{${text}}`, `${text} `, text.replaceAll('-', ''), `urn:uuid:${text}`],
  },
  {
    title: 'strings',
    make: () =>
      column
        .string({ maxLength: 24 })
        .default(() => Array.from(randomBytes(16), (byte) => alphabet[byte % alphabet.length]).join('')) as never,
    isMadeByDatabase: false,
    misspellings: (text) => [text.toUpperCase(), text.toLowerCase(), `${text} `, ` ${text}`, `${text}%`, text.replace(/[a-z]/i, 'é')],
  },
]

export interface World {
  readonly perms: Perms
  readonly client: Client
  readonly Account: typeof User
  readonly Note: typeof BasePermsModel & { create(values: object): Promise<BasePermsModel & { id: never; userId: never; title: string }> }
  readonly mailer: ReturnType<typeof capturedMailer<Mail>>
  user(email: string): Promise<User>
  signIn(user: User): Promise<{ access: string; refresh: string }>
}

/** Sets the library up with ids of one kind, migrates, and serves users and notes that belong to users. */
export async function openWorld(knex: Knex, kind: IdKind, options: Partial<PermsOptions> = {}): Promise<World> {
  const Account = class Account extends User.withColumns({ id: kind.make() as never }) {
    static override tableName = 'account'
  } as unknown as typeof User
  const Note = class Note extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
    id: kind.make() as never,
    title: column.string({ maxLength: 100 }),
  }) {} as unknown as World['Note']
  const mailer = capturedMailer<Mail>()
  const perms = initPerms({
    knex,
    user: Account as never,
    jwt: { secret: 'a secret of this test, 32 bytes or more' },
    passwordHasher: new TestHasher(),
    throttle: false,
    auditLog: true,
    mail: { mailer, baseUrl: 'https://app.example.com' },
    ...options,
  })
  await migrateAtOnce(perms)
  const { createTables } = await import('../../src/index.js')
  await createTables(knex, [Note, AuditLog] as never)
  const api = new Api({
    resources: [new UserResource(), new CrudResource({ model: Note as never, path: 'notes' })],
  })
  const client = clientOf(api, perms)
  return {
    perms,
    client,
    Account,
    Note,
    mailer,
    user: async (email) => await asSystem(() => Account.create({ email, password } as never)),
    async signIn({ email }) {
      const { status, body } = await client('POST', '/users/login/', null, { body: { email, password } })
      if (status !== 200) throw new Error(`The sign-in answered ${status}: ${JSON.stringify(body)}`)
      return { access: body.access_token, refresh: body.refresh_token }
    },
  }
}

/** A describe for each kind of ids on each database. */
export function eachKindOfId(title: string, body: (db: TestDatabase, kind: IdKind) => void): void {
  for (const kind of idKinds) eachDatabase(`${title}, with ids that are ${kind.title}`, (db) => body(db, kind))
}
