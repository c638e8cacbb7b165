/** The application of these tests. It runs on any release of the library, which it gets as a parameter. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pathToFileURL } from 'node:url'
import type { Knex } from 'knex'
import type { User as BaseUser, Perms } from '../../src/index.js'

/** The parts of a release that the application uses. Its types are those of the current sources. */
export interface Library {
  readonly root: typeof import('../../src/index.js')
  readonly node: typeof import('../../src/adapters/node.js')
}

/** Loads a release from its sources. @param folder its `src/` */
export async function loadLibrary(folder: URL): Promise<Library> {
  const [root, node] = await Promise.all([import(new URL('index.ts', folder).href), import(new URL('adapters/node.ts', folder).href)])
  return { root, node }
}

/** The sources that this repository holds now. */
export const currentSources = new URL('../../src/', import.meta.url)

/** Returns the URL of `src/` in a folder. */
export function sourcesIn(folder: string): URL {
  return new URL('src/', pathToFileURL(`${folder}/`))
}

/** Which user model is registered: one in the library's table `user`, or one with columns and a table of its own. */
export type UserModelName = 'keeper' | 'employee'

export const userModelNames: readonly UserModelName[] = ['keeper', 'employee']

export const secret = 'the secret of both releases, which is 32 bytes or more'
export const password = 'correct horse battery'

export interface Reply {
  readonly status: number
  readonly body: any
}

export type Ask = (method: string, path: string, given?: { token?: string; body?: object }) => Promise<Reply>

export interface SentMail {
  readonly kind: string
  readonly to: string
  readonly text: string
}

export interface Application {
  readonly perms: Perms
  /** The registered user model. */
  readonly User: typeof BaseUser
  readonly mails: readonly SentMail[]
  readonly url: string
  readonly ask: Ask
  close(): Promise<void>
}

/** Returns a function that sends requests with JSON bodies to a server. */
export function askAt(url: string): Ask {
  return async (method, path, { token, body } = {}) => {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { ...(token && { authorization: `Bearer ${token}` }), ...(body && { 'content-type': 'application/json' }) },
      ...(body && { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? null : JSON.parse(text) }
  }
}

/** Defines the models of the application on the classes of a release. */
export function defineModels({ root }: Library, name: UserModelName) {
  class Keeper extends root.TimestampMixin(root.User) {
    static override tableName = 'user'
  }
  class Employee extends root.SoftDeleteMixin(root.ProfileMixin(root.TimestampMixin(root.User))).withColumns({
    desk: root.column.string({ maxLength: 20 }).default('none'),
    salary: root.column.decimal(10, 2).nullable().hidden(),
  }) {}
  class Paper extends root.UserOwnershipMixin(root.HasUserMixin(root.BasePermsModel)).withColumns({
    title: root.column.string({ maxLength: 100 }),
  }) {}
  return { User: name === 'keeper' ? Keeper : Employee, Paper }
}

/**
 * Starts the application on a release of the library.
 *
 * @param library the result of loadLibrary()
 * @param onMail is called with each mail that the application sends
 */
export async function startApplication(
  library: Library,
  knex: Knex,
  name: UserModelName,
  onMail: (mail: SentMail) => void = () => undefined,
): Promise<Application> {
  const { root, node } = library
  const { User, Paper } = defineModels(library, name)
  const mails: SentMail[] = []
  const send = async (mail: SentMail) => {
    mails.push(mail)
    onMail(mail)
  }
  const perms = root.initPerms({
    knex,
    user: User as never,
    models: [Paper],
    jwt: { secret },
    passwords: { cost: 10 },
    throttle: { store: 'database' },
    auditLog: true,
    secondFactor: { issuer: 'Zoo' },
    mail: { mailer: { send }, baseUrl: 'https://app.example.com' },
  })
  const features = {
    ...{ apiKeys: true, verifyEmail: true, resetPassword: true, changeEmail: true, magicLink: true },
    ...{ totp: true, invitations: true, impersonation: true, confirm: true },
  }
  const api = new root.Api({
    resources: [
      new root.UserResource({ features }),
      new root.CrudResource({ model: Paper, path: 'papers' }),
      new root.CrudResource({ model: root.UserRole, path: 'roles' }),
      new root.CrudResource({ model: root.AuditLog, path: 'audit', methods: ['list', 'get'] }),
    ],
  })
  const { authenticate, router } = node.nodeAdapter(perms)
  const server = createServer(authenticate(router(api)))
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return {
    perms,
    User: User as typeof BaseUser,
    mails,
    url,
    ask: askAt(url),
    async close() {
      server.close()
      server.closeAllConnections()
      await perms.auth.settled()
      await perms.close()
    },
  }
}
