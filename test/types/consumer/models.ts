// The models of an application, compiled against the published declarations. No type is any, and no type gets lost.
import type { Model } from 'objection'
import {
  anyOf,
  authenticated,
  BasePermsModel,
  check,
  column,
  HasDomainMixin,
  HasUserMixin,
  owner,
  ProfileMixin,
  Role,
  role,
  SoftDeleteMixin,
  TimestampMixin,
  User,
  UserOwnershipMixin,
  UserRole,
  where,
} from 'objection-perms'

export class Employee extends ProfileMixin(TimestampMixin(User)).withColumns({
  employeeId: column.string({ maxLength: 32 }).unique(),
  department: column.string({ maxLength: 100 }).nullable(),
  hireDate: column.date(),
  salary: column.decimal(10, 2).nullable().hidden(),
}) {
  static override publicRegistration = true
  get yearsOfService(): number {
    return new Date().getFullYear() - Number(this.hireDate.slice(0, 4))
  }
}

export class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

export class Critter extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  isAdoptable: column.boolean().default(true),
}) {
  static override policy = {
    read: anyOf(where({ isAdoptable: true }), owner()),
    create: authenticated(),
    update: owner(),
    delete: role(Role.ADMIN),
  }
}

export class Typed extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  ok: column.boolean(),
  kind: column.enum(['a', 'b']),
  count: column.integer().default(0),
  big: column.bigint().nullable(),
  seenAt: column.datetime().nullable(),
  data: column.json<{ tags: string[] }>(),
}) {
  static override policy = {
    read: where<Typed>({ ok: true }),
    update: anyOf(
      owner(),
      check<Typed>((row) => row.ok),
    ),
  }
}

/** Three mixins and columns twice. */
export class Article extends SoftDeleteMixin(HasDomainMixin(UserOwnershipMixin(BasePermsModel)))
  .withColumns({ title: column.string({ maxLength: 200 }) })
  .withColumns({ body: column.text().nullable() }) {}

export class Manager extends Employee.withColumns({ level: column.integer() }) {}

type Eq<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false
function exact<T extends true>(): T {
  return true as T
}

/** The properties of a row that fell back to any; Objection's own members aside. */
type AnyIn<T> = { [K in keyof T]-?: 0 extends 1 & T[K] ? K : never }[Exclude<keyof T, keyof Model>]

export function noAny(): void {
  exact<Eq<AnyIn<Employee>, never>>()
  exact<Eq<AnyIn<Manager>, never>>()
  exact<Eq<AnyIn<UserDocument>, never>>()
  exact<Eq<AnyIn<Critter>, never>>()
  exact<Eq<AnyIn<Typed>, never>>()
  exact<Eq<AnyIn<Article>, never>>()
  exact<Eq<AnyIn<UserRole>, never>>()
  exact<Eq<Exclude<AnyIn<typeof Employee>, keyof typeof Model | 'prototype'>, never>>()
  exact<Eq<Exclude<AnyIn<typeof Article>, keyof typeof Model | 'prototype'>, never>>()
}

export async function users(): Promise<void> {
  const found = await Employee.query().findById('x')
  exact<Eq<typeof found, Employee | undefined>>()
  const made = await Employee.create({ email: 'a@example.com', employeeId: '1', hireDate: '2024-02-29', firstName: 'Ada', password: 'p' })
  exact<Eq<typeof made, Employee>>()
  exact<Eq<typeof made.id, string>>()
  exact<Eq<typeof made.createdAt, Date>>()
  exact<Eq<typeof made.email, string>>()
  exact<Eq<typeof made.employeeId, string>>()
  exact<Eq<typeof made.department, string | null>>()
  exact<Eq<typeof made.hireDate, string>>()
  exact<Eq<typeof made.salary, string | null>>()
  exact<Eq<typeof made.firstName, string | null>>()
  exact<Eq<typeof made.fullName, string>>()
  exact<Eq<typeof made.lastLoginAt, Date | null>>()
  exact<Eq<typeof made.isEnabled, boolean>>()
  exact<Eq<typeof made.yearsOfService, number>>()
  exact<Eq<ReturnType<typeof made.hasRole>, boolean>>()
  await made.setPassword('y')
  const matches = await made.isPasswordCorrect('y')
  exact<Eq<typeof matches, boolean>>()
  const saved = await made.save()
  exact<Eq<typeof saved, Employee>>()
  const clone = made.getClone()
  exact<Eq<typeof clone, Employee>>()
  const built = Employee.build({ email: 'b@example.com' })
  exact<Eq<typeof built, Employee>>()
  exact<Eq<typeof Employee.publicRegistration, boolean>>()

  const manager = await Manager.getBy({ employeeId: '1', level: 3 })
  exact<Eq<typeof manager, Manager | null>>()
  if (manager) {
    exact<Eq<typeof manager.level, number>>()
    exact<Eq<typeof manager.hireDate, string>>()
    const employee: Employee = manager
    await employee.delete()
  }

  const grant: UserRole = await UserRole.create({ user: made, role: Role.ADMIN })
  const grantId: string = grant.id
  const first = await UserRole.query().findOne({ userId: made.id })
  const same: UserRole | undefined = first
  void [grantId, same]
  exact<Eq<NonNullable<typeof first>['role'], string>>()
  const email: string | undefined = first?.user?.email
  const names: string[] | undefined = made.roles?.map((held) => held.role)
  void [email, names]
}

export async function documents(): Promise<void> {
  const document = await UserDocument.getByOr404({ title: 'x' })
  exact<Eq<typeof document, UserDocument>>()
  exact<Eq<typeof document.userId, string>>()
  exact<Eq<typeof document.content, string>>()
  const updated = await document.update({ title: 'y' })
  exact<Eq<typeof updated, UserDocument>>()
  const page = await UserDocument.query().where('title', 'x').page(0, 10)
  exact<Eq<typeof page.results, UserDocument[]>>()
  exact<Eq<typeof UserDocument.delegateToUser, boolean>>()
  const mayRead = await document.canRead()
  exact<Eq<typeof mayRead, boolean>>()
  const mayCreate = await UserDocument.canCreate({ title: 'z' })
  exact<Eq<typeof mayCreate, boolean>>()
  const all = await UserDocument.bypassPerms(() => UserDocument.query())
  exact<Eq<typeof all, UserDocument[]>>()

  const typed = await Typed.getOr404('x')
  exact<Eq<typeof typed.ok, boolean>>()
  exact<Eq<typeof typed.kind, 'a' | 'b'>>()
  exact<Eq<typeof typed.count, number>>()
  exact<Eq<typeof typed.big, string | null>>()
  exact<Eq<typeof typed.seenAt, Date | null>>()
  exact<Eq<typeof typed.data, { tags: string[] }>>()

  const article = await Article.query().first().throwIfNotFound()
  exact<Eq<typeof article.title, string>>()
  exact<Eq<typeof article.body, string | null>>()
  exact<Eq<typeof article.userId, string>>()
  exact<Eq<typeof article.domainId, string | null>>()
  exact<Eq<typeof article.isDeleted, boolean>>()
  exact<Eq<typeof article.deletedAt, Date | null>>()
  await article.softDelete()
  await article.restore()
}

export async function refused(document: UserDocument, made: Employee): Promise<void> {
  // @ts-expect-error a column that is not declared
  await document.update({ titel: 'y' })
  // @ts-expect-error a value of another type
  await document.update({ title: 1 })
  // @ts-expect-error a column that is not declared
  await Employee.create({ emial: 'a' })
  // @ts-expect-error a value of another type
  made.hireDate = new Date()
  // @ts-expect-error null where the column is not nullable
  made.employeeId = null
  // @ts-expect-error no such property, and not any
  void made.nothing
  // @ts-expect-error no such static, and not any
  void Employee.nothing
  // @ts-expect-error a rule that only code can judge cannot filter a list
  class Unlistable extends BasePermsModel {
    static override policy = { read: check<Unlistable>(() => true) }
  } // prettier-ignore
  void Unlistable
}
