import type { Knex } from 'knex'
import {
  Api,
  AuditLog,
  asSystem,
  BasePermsModel,
  CrudResource,
  column,
  createTables,
  Domain,
  HasUserMixin,
  initPerms,
  type Mail,
  type Perms,
  type Role,
  TimestampMixin,
  User,
  UserOwnershipMixin,
  UserResource,
  UserSetting,
} from '../../src/index.js'
import { testProviders } from '../../src/testing/conformance/test-provider.js'
import { type CapturedMailer, capturedMailer } from '../../src/testing/index.js'
import { TestHasher } from '../auth/set-up.js'
import { allFeatures } from '../conformance/full-zoo.js'
import { migrateAtOnce } from '../helpers/library-tables-at-once.js'
import { type Client, clientOf, type Reply } from '../http/client.js'
import { type IdKind, password } from './world.js'

/** A row of these tests: its id has the type of the kind that is tested. */
export interface Row extends BasePermsModel {
  readonly id: never
  readonly title: string
  readonly projectId: never
  notes?: Row[]
  project?: Row
}

export type RowClass = typeof BasePermsModel & { new (): Row }

export interface FeaturesWorld {
  readonly perms: Perms
  readonly client: Client
  readonly mailer: CapturedMailer<Mail>
  readonly Project: RowClass
  readonly Note: RowClass
  readonly Place: typeof Domain
  /** Creates a user with the usual password, with a role if given. */
  user(email: string, role?: Role): Promise<User>
  /** Returns an access token of the user. */
  signIn(user: { email: string }): Promise<string>
  /** Sends a request, and throws when the status is another. */
  expectReply(status: number, method: string, target: string, token?: string | null, body?: unknown): Promise<Reply['body']>
  /** Returns the token of the newest mail to this address. */
  mailed(email: string): Promise<string>
}

/** Serves all features with ids of one kind in every model that an application may declare. */
export async function openFeatures(knex: Knex, kind: IdKind): Promise<FeaturesWorld> {
  const id = () => kind.make() as never
  const reference = () => {
    if (kind.isMadeByDatabase) return kind.make()
    return kind.title.startsWith('UUID') ? column.uuid() : column.string({ maxLength: 24 })
  }
  const Account = class Account extends TimestampMixin(User).withColumns({ id: id() }) {
    static override tableName = 'account'
  } as unknown as typeof User
  const Place = class Place extends Domain.withColumns({ id: id() }) {} as unknown as typeof Domain
  const Owned = UserOwnershipMixin(HasUserMixin(BasePermsModel))
  const Project = class Project extends Owned.withColumns({ id: id(), title: column.string({ maxLength: 100 }) }) {
    static override relationMappings = {
      notes: { relation: BasePermsModel.HasManyRelation, modelClass: () => Note, join: { from: 'project.id', to: 'note.projectId' } },
    }
  } as unknown as RowClass
  const Note = class Note extends Owned.withColumns({
    id: id(),
    title: column.string({ maxLength: 100 }),
    projectId: reference().references('project.id').nullable() as never,
  }) {
    static override relationMappings = {
      project: { relation: BasePermsModel.BelongsToOneRelation, modelClass: Project, join: { from: 'note.projectId', to: 'project.id' } },
    }
  } as unknown as RowClass
  const mailer = capturedMailer<Mail>()
  const perms = initPerms({
    knex,
    user: Account as never,
    domain: Place as never,
    models: [Project, Note] as never,
    jwt: { secret: 'a secret of this test, 32 bytes or more' },
    passwordHasher: new TestHasher(),
    auditLog: true,
    mail: { mailer, baseUrl: 'https://app.example.com' },
    passkeys: { rpId: 'example.com', rpName: 'Zoo', origins: ['https://app.example.com'] },
    secondFactor: { trustedDevices: { lifetime: 86_400 } },
    ...testProviders(),
  })
  await migrateAtOnce(perms)
  await createTables(knex, [Project, Note] as never)
  const crud = (model: unknown, path: string, include?: string[]) => new CrudResource({ model: model as never, path, include } as never)
  const resources = [
    new UserResource({ features: allFeatures }),
    crud(Project, 'projects', ['notes']),
    crud(Note, 'notes', ['project']),
    crud(UserSetting, 'settings'),
    crud(Place, 'places'),
    crud(AuditLog, 'events'),
  ]
  const client = clientOf(new Api({ resources }), perms)
  const expectReply: FeaturesWorld['expectReply'] = async (status, method, target, token = null, body) => {
    const reply = await client(method, target, token, body === undefined ? {} : { body })
    if (reply.status !== status) throw new Error(`${method} ${target} answered ${reply.status}: ${JSON.stringify(reply.body)}`)
    return reply.body
  }
  return {
    perms,
    client,
    mailer,
    Project,
    Note,
    Place,
    user: (email, role) =>
      asSystem(async () => {
        const user = (await Account.create({ email, password } as never)) as User
        if (role) await user.grantRole(role)
        return user
      }),
    signIn: async ({ email }) => (await expectReply(200, 'POST', '/users/login/', null, { email, password })).access_token,
    expectReply,
    async mailed(email) {
      await perms.auth.settled()
      return mailer.tokenFrom(mailer.last(email))
    },
  }
}
