import { randomBytes, randomUUID } from 'node:crypto'
import type { Knex } from 'knex'
import {
  Api,
  asSystem,
  BasePermsModel,
  belongsTo,
  CrudResource,
  column,
  createTables,
  HasUserMixin,
  hasMany,
  initPerms,
  type Perms,
  TimestampMixin,
  User,
  UserOwnershipMixin,
  UserResource,
} from '../../src/index.js'
import { testProviders } from '../../src/testing/conformance/test-provider.js'
import { TestHasher } from '../auth/set-up.js'
import { allFeatures } from '../conformance/full-zoo.js'
import { availableDatabases, eachDatabase, type TestDatabase } from '../helpers/databases.js'
import { rotating } from '../helpers/id-kinds.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf, type Reply } from '../http/client.js'
import { password } from './world.js'

/** An id in its type. */
export type Id = string | number

/** Ids of one kind, in the models that an API serves. */
export interface ServedIds {
  readonly title: string
  /** The JSON type of an id. */
  readonly type: 'integer' | 'bigint' | 'uuid' | 'string'
  /** A column that holds ids of other rows. */
  readonly reference: () => ReturnType<typeof column.string>
  /** The declaration of a model's id. */
  readonly key: () => ReturnType<typeof column.string>
  /** The property of the id. Default: id. */
  readonly property?: string
  /** Returns the id of a new row, for ids that are neither made by the database nor by a default. */
  readonly given?: () => Id
  /** Path segments, decoded, that are no id of any row. `id` is the id of a row. */
  readonly malformed: (id: string) => readonly string[]
}

const long = 'x'.repeat(5000)
const notIntegers = (id: string) => [
  ...[`${id}abc`, ` ${id}`, `${id} `, `${id}.0`, `+${id}`, `00${id}`, `${id}e0`, `0x${id}`, `-${id}`, `${id}\0`, `${id}'--`],
  ...['-0', '1e3', 'NaN', 'null', 'true', '\u0667', '%', '\0', long, '9'.repeat(400)],
]
const tooLarge = ['2147483648', '4294967297', '9007199254740993', '9223372036854775807', '9223372036854775808', '99999999999999999999']
const notStrings = (id: string) => [`${id} `, ` ${id}`, `${id}\0`, `${id}%`, '%', '_', '\0', '\ufeff', long, 'x'.repeat(41), '7', '0']

let count = 0
const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
const nanoId = () => Array.from(randomBytes(21), (byte) => letters[byte % letters.length]).join('')
const text = () => column.string({ maxLength: 40 })

export const servedIds: readonly ServedIds[] = [
  {
    title: 'integers made by the database',
    type: 'integer',
    reference: () => column.integer() as never,
    key: () => column.integer() as never,
    malformed: (id) => [...notIntegers(id), ...tooLarge],
  },
  {
    title: 'integers made by the application',
    type: 'integer',
    reference: () => column.integer() as never,
    key: () => column.integer().default(() => 2_000_000_000 + ++count) as never,
    malformed: (id) => [...notIntegers(id), ...tooLarge],
  },
  {
    title: 'bigints made by the database',
    type: 'bigint',
    reference: () => column.bigint(),
    key: () => column.bigint(),
    malformed: (id) => [...notIntegers(id), ...tooLarge],
  },
  {
    title: 'UUIDs of version 4',
    type: 'uuid',
    reference: () => column.uuid(),
    key: () => column.uuid().default(() => randomUUID()) as never,
    malformed: (id) => [
      `{${id}}`,
      `${id} `,
      ` ${id}`,
      id.replaceAll('-', ''),
      `urn:uuid:${id}`,
      `${id}\0`,
      id.slice(1),
      '7',
      '\0',
      '%',
      long,
    ],
  },
  {
    title: 'strings made by the application',
    type: 'string',
    reference: text,
    key: () => text().default(nanoId) as never,
    malformed: (id) => [...notStrings(id), id.toUpperCase(), id.toLowerCase(), id.replace(/[a-z]/i, 'é')],
  },
  {
    title: 'natural keys',
    type: 'string',
    reference: text,
    key: text,
    property: 'code',
    // Characters that paths, query strings and patterns treat specially.
    given: () => `Ä/${++count}%?#+ a&b,c=_d`,
    malformed: (id) => [
      ...notStrings(id),
      id.toUpperCase(),
      id.toLowerCase(),
      id.replace('Ä', 'ä'),
      id.replace('Ä', 'A'),
      id.replace('_', 'x'),
    ],
  },
]

/** A row of these tests. Its id has the type of the kind that is tested. */
export interface ServedRow extends BasePermsModel {
  readonly id: never
  title: string
  notes?: ServedRow[]
  project?: ServedRow
  tags?: ServedRow[]
}
export type ServedClass = typeof BasePermsModel & { new (): ServedRow }

export interface ServedWorld {
  readonly perms: Perms
  readonly api: Api
  readonly client: Client
  readonly Account: typeof User
  readonly Project: ServedClass
  readonly Note: ServedClass
  readonly Tag: ServedClass
  /** The property of the id of projects, notes and tags. */
  readonly property: string
  /** Creates a user with the usual password. */
  user(email: string): Promise<User>
  /** Returns an access token of the user. */
  signIn(user: { email: string }): Promise<string>
  /** Sends a request, and throws when the status is another. */
  expectReply(status: number, method: string, target: string, token: string | null, body?: unknown): Promise<Reply['body']>
  /** Returns the id of a row, or of its JSON. */
  idOf(row: object): Id
  /** Returns the values of a new row, with an id where the application gives it. */
  values(more: object): Record<string, unknown>
}

function modelsWith(ids: ServedIds) {
  const property = ids.property ?? 'id'
  const Owned = UserOwnershipMixin(HasUserMixin(BasePermsModel))
  const Account = class Account extends TimestampMixin(User).withColumns({ id: ids.key() }) {
    static override tableName = 'account'
  } as unknown as typeof User
  const Project = class Project extends Owned.withColumns({ [property]: ids.key(), title: text() }) {
    static override idColumn = property
    static override relationMappings = { notes: hasMany(() => Note, 'projectId' as never) }
  } as unknown as ServedClass
  const Note = class Note extends Owned.withColumns({
    [property]: ids.key(),
    title: text(),
    rank: column.integer().default(0),
    projectId: ids.reference().references(`project.${property}`).nullable(),
  }) {
    static override idColumn = property
    static override relationMappings = {
      project: belongsTo(() => Project, 'projectId'),
      tags: {
        relation: BasePermsModel.ManyToManyRelation,
        modelClass: () => Tag,
        join: {
          from: `note.${property}`,
          through: { modelClass: () => NoteTag, from: 'note_tag.noteId', to: 'note_tag.tagId' },
          to: `tag.${property}`,
        },
      },
    }
  } as unknown as ServedClass
  const Tag = class Tag extends Owned.withColumns({ [property]: ids.key(), title: text() }) {
    static override idColumn = property
  } as unknown as ServedClass
  const NoteTag = class NoteTag extends Owned.withColumns({
    noteId: ids.reference().references(`note.${property}`, { onDelete: 'cascade' }),
    tagId: ids.reference().references(`tag.${property}`, { onDelete: 'cascade' }),
  }) {
    static override idColumn = ['note_id', 'tag_id']
  } as unknown as ServedClass
  return { property, Account, Project, Note, Tag, NoteTag }
}

/** Serves users, projects, notes and the notes of a project, with ids of one kind. */
export async function openServed(knex: Knex, ids: ServedIds): Promise<ServedWorld> {
  const { property, Account, Project, Note, Tag, NoteTag } = modelsWith(ids)
  const perms = initPerms({
    knex,
    user: Account as never,
    models: [Project, Note, Tag, NoteTag],
    jwt: { secret: 'a secret of this test, 32 bytes or more' },
    passwordHasher: new TestHasher(),
    mail: { mailer: { send: async () => undefined }, baseUrl: 'https://app.example.com' },
    passkeys: { rpId: 'example.com', rpName: 'Zoo', origins: ['https://app.example.com'] },
    secondFactor: { trustedDevices: { lifetime: 86_400 } },
    ...testProviders(),
    throttle: false,
  })
  await migrateAtOnce(perms)
  await createTables(knex, [Project, Note, Tag, NoteTag] as never)
  const notes = new CrudResource({ model: Note, path: 'notes', include: ['project', 'tags'] } as never)
  notes.endpoint({ method: 'POST', path: ':id/done', item: true, handler: () => undefined })
  const api = new Api({
    resources: [
      new UserResource({ features: allFeatures }),
      new CrudResource({ model: Project, path: 'projects', include: ['notes'] } as never),
      notes,
      new CrudResource({ model: Note, path: 'below', name: 'Below', parent: { model: Project, param: 'projectId' } } as never),
      new CrudResource({ model: Note, path: 'owned', name: 'Owned', parent: { model: Account, param: 'userId', path: 'users' } } as never),
    ],
  })
  const client = clientOf(api, perms)
  const expectReply: ServedWorld['expectReply'] = async (status, method, target, token, body) => {
    const reply = await client(method, target, token, body === undefined ? {} : { body })
    if (reply.status !== status) throw new Error(`${method} ${target} answered ${reply.status}: ${JSON.stringify(reply.body)}`)
    return reply.body
  }
  return {
    ...{ perms, api, client, Account, Project, Note, Tag, property, expectReply },
    user: (email) => asSystem(() => Account.create({ ...(ids.given ? { id: ids.given() } : {}), email, password } as never)),
    signIn: async ({ email }) => (await expectReply(200, 'POST', '/users/login/', null, { email, password })).access_token,
    idOf: (row) => (row as Record<string, Id>)[property] as Id,
    values: (more) => ({ ...(ids.given ? { [property]: ids.given() } : {}), ...more }),
  }
}

/** A describe for each kind of ids on one database, which changes from day to day. With FULL=1: on every database. */
export function eachServedId(title: string, body: (db: TestDatabase, ids: ServedIds) => void): void {
  servedIds.forEach((ids, i) => {
    const names = process.env['FULL'] === '1' ? availableDatabases : [rotating(availableDatabases, i)]
    eachDatabase(`${title}, with ids that are ${ids.title}`, (db) => body(db, ids), names)
  })
}
