// Ids of other types than string, seen through the published declarations.
import Knex from 'knex'
import {
  BasePermsModel,
  column,
  currentUser,
  currentUserId,
  Domain,
  explain,
  HasUserMixin,
  inDomain,
  initPerms,
  ProfileMixin,
  runAs,
  SoftDeleteMixin,
  TimestampMixin,
  User,
  UserOwnershipMixin,
  UserRole,
  UserSetting,
} from 'objection-perms'

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
const yes = <T extends true>(): T | undefined => undefined

export class Worker extends SoftDeleteMixin(ProfileMixin(TimestampMixin(User))).withColumns({
  id: column.integer(),
  department: column.string(),
}) {
  get label(): string {
    return `${this.id.toFixed()} ${this.department} ${this.fullName}`
  }
  override async delete(): Promise<void> {
    await super.delete()
  }
}

export class Ticket extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ id: column.integer(), title: column.text() }) {}
/** Three mixins over a user model with integer ids. */
class Person extends User.withColumns({ id: column.integer(), nickname: column.string() }) {}
export class Member extends SoftDeleteMixin(ProfileMixin(TimestampMixin(Person))) {}
/** A text that names a table and a column has no type to check. */
export class Receipt extends BasePermsModel.withColumns({
  id: column.integer(),
  ticketId: column.integer().references('ticket.id', { onDelete: 'set null' }).nullable(),
  ownerId: column.uuid().references('user.id'),
}) {}
export class Big extends BasePermsModel.withColumns({ id: column.bigint(), title: column.text() }) {}
export class Plain extends BasePermsModel.withColumns({ title: column.text() }) {}

yes<Same<Worker['id'], number>>()
yes<Same<Worker['email'], string>>()
yes<Same<Worker['createdAt'], Date>>()
yes<Same<Member['id'], number>>()
yes<Same<Member['nickname'], string>>()
yes<Same<Receipt['ticketId'], number | null>>()
yes<Same<Receipt['ownerId'], string>>()
yes<Same<Ticket['id'], number>>()
yes<Same<Big['id'], string>>()
yes<Same<Plain['id'], string>>()
yes<Same<User['id'], string>>()

export async function use(): Promise<void> {
  const worker = await Worker.create({ email: 'ada@example.com', department: 'press' })
  const same: Worker | null = await Worker.get(worker.id)
  // @ts-expect-error the id is a number
  await Worker.get('7')
  await Plain.get('0190b6a2-0000-7000-8000-000000000000')
  // @ts-expect-error the id is a string
  await Plain.get(7)
  // @ts-expect-error the id is a number
  await Ticket.create({ id: '7', title: 'one' })
  await runAs('0190b6a2-0000-7000-8000-000000000000', () => currentUser()?.email)
  // @ts-expect-error without Register, ids of users are strings
  await runAs(7, () => currentUserId())
  const ticket = await Ticket.getOr404(1)
  if (same) explain(Ticket, 'read', same).sql.trim()
  await ticket.canWrite(same)
  same?.department.trim()
}

export class Organisation extends Domain.withColumns({ id: column.integer(), plan: column.string() }) {
  static override tableName = 'organisations'
}
export class Grant extends UserRole.withColumns({ id: column.integer() }) {}
export class Setting extends UserSetting.withColumns({ id: column.bigint() }) {}
yes<Same<Organisation['id'], number>>()
yes<Same<Grant['id'], number>>()
yes<Same<Setting['id'], string>>()
yes<Same<Domain['id'], string>>()
yes<Same<UserRole['id'], string>>()
yes<Same<UserSetting['id'], string>>()

export async function useLibraryModels(worker: Worker): Promise<void> {
  initPerms({ knex: Knex({ client: 'pg' }), user: Worker, userRole: Grant, domain: Organisation, userSetting: Setting })
  const north = await Organisation.create({ name: 'north', plan: 'free' })
  const same: Organisation | null = await Organisation.get(north.id)
  // @ts-expect-error the id is a number
  await Organisation.get('7')
  const grant: Grant = await Grant.create({ user: worker, role: 'agent', domain: same })
  await worker.grantRole('agent', { domain: north })
  await inDomain(north, () => Ticket.query())
  worker.hasRole('agent', { domain: north })
  worker.hasDomainAccess(north)
  void grant.id.toFixed()
  // Without Register, TypeScript takes ids of users as strings. Users themselves may have ids of any type.
  await runAs(worker, () => Ticket.query())
}
