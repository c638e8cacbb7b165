/** Writes a consumer with many models: mixins, columns, typed policies and relations, as a large application has them. */

/** Returns the TypeScript source of `count` models. Each one refers to the next one, and the last one to the first. */
export function manyModels(count: number): string {
  const header = `import { anyOf, authenticated, BasePermsModel, belongsTo, check, column, currentUser, HasDomainMixin, HasUserMixin, hasMany, owner, type Policy,
  ProfileMixin, type Relations, related, role, runAs, SoftDeleteMixin, TimestampMixin, User, UserOwnershipMixin, where } from 'objection-perms'

declare module 'objection-perms' {
  interface Register { user: Employee; roles: 'agent' | 'customer' }
}
export class Employee extends SoftDeleteMixin(ProfileMixin(TimestampMixin(User))).withColumns({ id: column.integer(), department: column.string() }) {}
export const department: string | undefined = currentUser()?.department
export const asSeven = () => runAs(7, () => Model0.query())
`
  return header + Array.from({ length: count }, (_, i) => oneModel(i, (i + 1) % count, (i + count - 1) % count)).join('')
}

const bases = [
  'HasUserMixin(BasePermsModel)',
  'SoftDeleteMixin(HasUserMixin(BasePermsModel))',
  'SoftDeleteMixin(HasDomainMixin(UserOwnershipMixin(HasUserMixin(BasePermsModel))))',
]

function oneModel(i: number, next: number, previous: number): string {
  return `
export class Model${i} extends ${bases[i % bases.length]}.withColumns({
  id: column.integer(),
  title: column.string({ maxLength: 200 }),
  text${i}: column.text().nullable(),
  status: column.enum(['open', 'closed', 'state${i}']).default('open'),
  hours: column.decimal(6, 2).nullable(),
  dueAt: column.datetime().nullable(),
  nextId: column.integer().references('model${next}.id'),
  reviewerId: column.integer().nullable(),
  priority: column.integer().default(3).writableBy(role('agent')),
}) {
  declare next?: Model${next}
  declare previous?: Model${previous}[]
  static override relationMappings: Relations<Model${i}> = {
    next: belongsTo(() => Model${next}, 'nextId'),
    previous: hasMany(() => Model${previous}, 'nextId'),
  }
  static override policy: Policy<Model${i}> = {
    read: anyOf(where({ status: 'state${i}', priority: { gte: 2 } }), owner(), related('next', where({ text${next}: { like: 'a%' } }))),
    create: authenticated(),
    update: anyOf(owner('reviewerId'), role('agent'), check((row) => row.dueAt === null)),
    delete: related('previous', owner('userId')),
  }
}
export async function use${i}(): Promise<number> {
  const made = await Model${i}.create({ title: 'x', nextId: 1 })
  const rows = await Model${i}.query().where('status', 'open').withGraphFetched('next')
  await made.update({ status: 'state${i}' })
  return made.id + made.userId + rows.length + (made.next?.id ?? 0)
}
`
}
