// An application with a base class of its own takes the parts one by one.
import { Model } from 'objection'
import { ActiveRecordMixin, column, HasRolesMixin, PasswordMixin, PermsMixin, self } from 'objection-perms'

class AppModel extends Model {
  audit(): string {
    return 'audited'
  }
}

export class AppRecord extends PermsMixin(ActiveRecordMixin(AppModel)).withColumns({ id: column.uuid() }) {}

export class Account extends HasRolesMixin(PasswordMixin(AppRecord)).withColumns({ email: column.string({ maxLength: 254 }).unique() }) {
  static override policy = { read: self(), update: self() }
}

export async function use(): Promise<string> {
  const account = await Account.create({ email: 'a@example.com' })
  await account.setPassword('x')
  const found = await Account.query().findById(account.id)
  const email: string | undefined = found?.email
  const held: boolean = account.hasRole('editor')
  return `${account.audit()} ${email} ${held}`
}
