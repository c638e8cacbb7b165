// Exports whose types are inferred: TypeScript can write each of them into a declaration file.
import knexModule from 'knex'
import { Model } from 'objection'
import {
  ActiveRecordMixin,
  Api,
  BasePermsModel,
  type Constructor,
  CrudResource,
  column,
  consoleMailer,
  createTables,
  Endpoint,
  explain,
  HasDomainMixin,
  HasUserMixin,
  initPerms,
  owner,
  PermsMixin,
  type PermsOptions,
  permsMigrations,
  Resource,
  role,
  SoftDeleteMixin,
  Token,
  type User,
  type UserLike,
  UserResource,
} from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { fastifyAdapter } from 'objection-perms/fastify'
import { fetchAdapter } from 'objection-perms/fetch'
import { honoAdapter } from 'objection-perms/hono'
import { koaAdapter } from 'objection-perms/koa'
import { nodeAdapter } from 'objection-perms/node'
import { Critter, Employee } from './models.js'

// -- classes and their parts

export const OwnBase = PermsMixin(ActiveRecordMixin(Model))
export const Stacked = SoftDeleteMixin(HasDomainMixin(HasUserMixin(BasePermsModel)))
export class Stored extends Stacked.withColumns({ text: column.string() }) {}
export const { create, getBy, canCreate } = Critter
export const build = Employee.build
export const statics = { schema: Critter.schema, specs: Critter.columnSpecs, policy: Critter.policy }
export const columns = { size: column.integer({ minimum: 1 }), extra: column.json<{ a: number }>().nullable(), spec: column.uuid().spec }
export const may = (user: UserLike | null) => (row: Critter) => row.canWrite(user)
export const maker = <M extends Model>(cls: Constructor<M>) => cls
export const { hasRole, grantRole, loadRoles } = Employee.prototype
export const issue = Token.issue
export const why = (user: UserLike) => explain(Critter, 'read', user)

// -- serving

export const knex = knexModule({ client: 'better-sqlite3', connection: { filename: ':memory:' }, useNullAsDefault: true })
export const perms = initPerms({ knex, user: Employee })
export const { options, models, auth, mapError, on } = perms
export const resource = new CrudResource({ model: Critter })
export const users = new UserResource({})
export const parts = { options: resource.options, endpoints: resource.endpoints(), users: users.options }
export class Shown extends CrudResource<typeof Critter> {
  override listEndpoint() {
    return super.listEndpoint()
  }
  protected override shape(...args: Parameters<CrudResource['shape']>) {
    return super.shape(...args)
  }
}
export const endpoint = new Endpoint({ method: 'GET', path: '', handler: (context) => context })
export const endpointParts = { options: endpoint.options, other: endpoint.with({ public: true }) }
export const plain = new Resource({ path: 'plain' })
export const api = new Api({ title: 'Zoo', version: '1.0.0', resources: [resource, users] })
export const adapters = {
  express: expressAdapter(perms),
  koa: koaAdapter(perms),
  fastify: fastifyAdapter(perms),
  hono: honoAdapter(perms),
  fetch: fetchAdapter(perms),
  node: nodeAdapter(perms),
}
export const mailer = consoleMailer()
export const source = permsMigrations()

// -- with exactOptionalPropertyTypes an option that is not known yet is undefined

export const unset: Omit<Required<{ [K in keyof PermsOptions]: PermsOptions[K] | undefined }>, 'knex'> = {
  name: undefined,
  jwt: undefined,
  user: undefined,
  userRole: undefined,
  token: undefined,
  domain: undefined,
  userSetting: undefined,
  models: undefined,
  tables: undefined,
  ids: undefined,
  passwords: undefined,
  passwordHasher: undefined,
  accessDenied: undefined,
  outsideContext: undefined,
  domains: undefined,
  namedStatements: undefined,
  throttle: undefined,
  cacheCallers: undefined,
  rememberCallers: undefined,
  cookies: undefined,
  auditLog: undefined,
  auditRetention: undefined,
  checkTables: undefined,
  stepUp: undefined,
  roles: undefined,
  providers: undefined,
  providerSignIn: undefined,
  passkeys: undefined,
  codes: undefined,
  newPlaces: undefined,
  languages: undefined,
  defaultLanguage: undefined,
  accountDeletion: undefined,
  secondFactor: undefined,
  mail: undefined,
  loadUser: undefined,
}
export const again = () => initPerms({ knex, ...unset })
export const nested = () =>
  initPerms({ knex, passwords: { cost: undefined, minLength: undefined }, jwt: { secret: process.env['JWT_SECRET'], claims: undefined } })
export const unsetColumns = {
  text: column.string({ maxLength: undefined, minLength: undefined, pattern: undefined, format: undefined }),
  count: column.integer({ minimum: undefined, maximum: undefined }),
  part: column.float({ minimum: undefined, maximum: undefined }),
  user: column.uuid().references('user.id', { onDelete: undefined }),
}
export const unsetRules = [role('editor', { domain: undefined }), owner(undefined)]
export const unsetResource = new CrudResource({
  model: Critter,
  path: undefined,
  name: undefined,
  methods: { list: { public: undefined, adminOnly: undefined, role: undefined, schema: undefined, argSchema: undefined } },
  pageSize: undefined,
  maxPageSize: undefined,
  include: undefined,
  hooks: undefined,
  deleted: undefined,
  shares: undefined,
  parent: undefined,
  schema: undefined,
  argSchema: undefined,
})
export const unsetCalls = async (user: User) => {
  user.hasRole('editor', { domain: undefined })
  await user.grantRole('editor', { domain: undefined }, undefined)
  await Token.issue(user, {
    token: undefined,
    kind: undefined,
    description: undefined,
    expiresAt: undefined,
    expiresIn: undefined,
    abilities: undefined,
  })
  await createTables(knex, [Critter])
  return permsMigrations({ with: undefined })
}
