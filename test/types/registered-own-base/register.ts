// An application with a base class, integer ids and memberships of its own. Its user model is not a subclass of User.
import Knex from 'knex'
import { type JSONSchema, Model } from 'objection'
import {
  allOf,
  anyOf,
  asAnonymous,
  createAdapter,
  currentUser,
  HasRolesMixin,
  initPerms,
  owner,
  PasswordMixin,
  PermsMixin,
  type Policy,
  related,
  runAs,
  SoftDeleteMixin,
  self,
  where,
} from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { fastifyAdapter } from 'objection-perms/fastify'
import { fetchAdapter } from 'objection-perms/fetch'
import { honoAdapter } from 'objection-perms/hono'
import { koaAdapter } from 'objection-perms/koa'
import { nodeAdapter } from 'objection-perms/node'
import { createUser, signInAs } from 'objection-perms/testing'

declare module 'objection-perms' {
  interface Register {
    user: Account
  }
}

class Base extends PermsMixin(Model) {
  declare id: number
}

export class Account extends HasRolesMixin(PasswordMixin(Base)) {
  static override tableName = 'accounts'
  declare email: string
  declare desk: string
  declare memberships?: Membership[]
  declare manager?: Account
  static override jsonSchema: JSONSchema = { type: 'object', properties: { email: { type: 'string' }, desk: { type: 'string' } } }
  static override policy: Policy<Account> = {
    read: anyOf(self(), related<Account>('memberships', related<Membership>('colleagues', owner<Membership>('userId')))),
    update: self(),
  }
}

export class Membership extends Base {
  declare userId: number
  declare role: 'owner' | 'member'
  declare colleagues?: Membership[]
  declare user?: Account
  static override policy: Policy<Membership> = {
    read: related('colleagues', owner('userId')),
    create: related('colleagues', allOf(owner<Membership>('userId'), where<Membership>({ role: 'owner' }))),
    // @ts-expect-error no such relation
    update: related<Membership>('colleague', owner<Membership>('userId')),
    // @ts-expect-error colleagues have no such column
    delete: related('colleagues', owner('user_id')),
  }
}

export class Task extends SoftDeleteMixin(Base) {
  declare title: string
}

const perms = initPerms({ knex: Knex({ client: 'pg' }), user: Account, jwt: { secret: 'x'.repeat(32) } })

export const adapters = [expressAdapter, fastifyAdapter, fetchAdapter, honoAdapter, koaAdapter, nodeAdapter].map((adapter) =>
  adapter(perms),
)
export const own = createAdapter(perms)

export async function use(account: Account): Promise<void> {
  const me: Account | null = currentUser()
  const desk: string | undefined = currentUser()?.desk
  const { user } = await asAnonymous(() => perms.auth.signIn({ email: 'ada@example.com', password: 'x' }))
  const signedIn: Account | undefined = user
  const registered: Account = await perms.auth.register({ email: 'ada@example.com', password: 'x' })
  await runAs(account, () => Task.query())
  await runAs(account.id, () => Task.query())
  await perms.auth.signOutEverywhere(account)
  await perms.auth.sessions(7)
  await perms.auth.apiKeys.issue(account, { abilities: [] })
  await perms.auth.apiKeys.list(account.id)
  await perms.auth.secondFactors.status(account)
  perms.on('signIn', ({ userId }) => userId.toFixed())
  const created: Account = await createUser({ desk: '4' })
  const { user: found } = await signInAs(created)
  void [me, desk, signedIn, registered, found.desk]
}
