// An application that registers its user model, whose ids are numbers, and its roles.
import Knex from 'knex'
import {
  asAnonymous,
  BasePermsModel,
  column,
  currentUser,
  currentUserId,
  Domain,
  HasUserMixin,
  initPerms,
  ProfileMixin,
  role,
  runAs,
  SoftDeleteMixin,
  TimestampMixin,
  User,
} from 'objection-perms'
import { expressAdapter } from 'objection-perms/express'
import { fastifyAdapter } from 'objection-perms/fastify'
import { fetchAdapter } from 'objection-perms/fetch'
import { honoAdapter } from 'objection-perms/hono'
import { koaAdapter } from 'objection-perms/koa'
import { nodeAdapter } from 'objection-perms/node'

declare module 'objection-perms' {
  interface Register {
    user: Employee
    domain: Organisation
    roles: 'agent' | 'customer'
  }
}

export class Employee extends SoftDeleteMixin(ProfileMixin(TimestampMixin(User))).withColumns({
  id: column.integer(),
  department: column.string(),
}) {}
export class Organisation extends Domain.withColumns({ id: column.integer() }) {}
/** Three mixins over a user model with integer ids. */
class Person extends User.withColumns({ id: column.integer(), nickname: column.string() }) {}
export class Member extends SoftDeleteMixin(ProfileMixin(TimestampMixin(Person))) {
  get label(): string {
    return `${this.id.toFixed()} ${this.nickname} ${this.fullName} ${this.lastLoginAt?.getTime()} ${this.deletedAt?.getTime()}`
  }
}
export class Ticket extends HasUserMixin(BasePermsModel).withColumns({ id: column.integer(), title: column.text() }) {
  static override policy = { read: role('agent'), update: role(['customer', 'admin']) }
}

const perms = initPerms({ knex: Knex({ client: 'pg' }), user: Employee, domain: Organisation, jwt: { secret: 'x'.repeat(32) } })

export const adapters = [expressAdapter, fastifyAdapter, fetchAdapter, honoAdapter, koaAdapter, nodeAdapter].map((adapter) =>
  adapter(perms),
)

export async function use(employee: Employee): Promise<void> {
  const id: number | null = currentUserId()
  const user: Employee | null = currentUser()
  const ownId: number | undefined = user?.id
  // @ts-expect-error ids of employees are numbers, and neither any nor string & number
  const text: string | undefined = user?.id
  await employee.softDelete()
  const found: Employee | null = await Employee.get(7)
  const member: Member = await Member.getOr404(7)
  const memberId: number = member.id
  // @ts-expect-error ids of members are numbers, and neither any nor string & number
  const memberText: string = member.id
  // @ts-expect-error ids of members are numbers
  await Member.get('7')
  await member.update({ nickname: 'al', firstName: 'Al' })
  await member.softDelete()
  // @ts-expect-error ids of employees are numbers
  await Employee.get('7')
  void [ownId, text, found, memberId, memberText]
  const department: string | undefined = currentUser()?.department
  await runAs(7, () => Ticket.query())
  // @ts-expect-error ids of employees are numbers
  await runAs('7', () => Ticket.query())
  const ticket = await Ticket.create({ title: `${id} ${department}`, userId: 7 })
  const owner: number = ticket.userId
  await employee.grantRole('agent')
  employee.hasRole('superadmin')
  // @ts-expect-error no such role
  employee.hasRole('agnet')
  // @ts-expect-error no such role
  role('agnet')
  owner.toFixed()
  const { user: signedIn } = await asAnonymous(() => perms.auth.signIn({ email: 'ada@example.com', password: 'x' }))
  signedIn?.department.trim()
  const north = await Organisation.create({ name: 'north' })
  await employee.grantRole('agent', { domain: north })
  await employee.grantRole('agent', { domain: { id: 7 } })
  employee.domainIds[0]?.toFixed()
  await runAs(employee, () => Ticket.query())
}
