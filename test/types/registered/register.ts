// An application that registers its user model, whose ids are numbers, and its roles.
import {
  BasePermsModel,
  column,
  currentUser,
  currentUserId,
  HasUserMixin,
  ProfileMixin,
  role,
  runAs,
  SoftDeleteMixin,
  TimestampMixin,
  User,
} from 'objection-perms'

declare module 'objection-perms' {
  interface Register {
    user: Employee
    roles: 'agent' | 'customer'
  }
}

export class Employee extends SoftDeleteMixin(ProfileMixin(TimestampMixin(User))).withColumns({
  id: column.integer(),
  department: column.string(),
}) {}
export class Ticket extends HasUserMixin(BasePermsModel).withColumns({ id: column.integer(), title: column.text() }) {
  static override policy = { read: role('agent'), update: role(['customer', 'admin']) }
}

export async function use(employee: Employee): Promise<void> {
  const id: number | null = currentUserId()
  const user: Employee | null = currentUser()
  const ownId: number | undefined = user?.id
  // @ts-expect-error ids of employees are numbers, and neither any nor string & number
  const text: string | undefined = user?.id
  await employee.softDelete()
  const found: Employee | null = await Employee.get(7)
  // @ts-expect-error ids of employees are numbers
  await Employee.get('7')
  void [ownId, text, found]
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
  await runAs(employee, () => Ticket.query())
}
