// Policies and relations that name their model: misspelled columns and relations do not compile.
import {
  allOf,
  allowed,
  anyOf,
  authenticated,
  BasePermsModel,
  before,
  belongsTo,
  check,
  column,
  everyone,
  HasUserMixin,
  hasMany,
  not,
  owner,
  type Policy,
  type Relations,
  related,
  role,
  where,
} from 'objection-perms'

// Two models that refer to each other, each with a typed policy over the other's columns.
export class Project extends HasUserMixin(BasePermsModel).withColumns({
  id: column.integer(),
  isPublic: column.boolean(),
  reviewerId: column.uuid(),
}) {
  declare tickets?: Ticket[]
  static override relationMappings = { tickets: hasMany(() => Ticket, 'projectId') }
  static override policy: Policy<Project> = {
    read: anyOf(where({ isPublic: true }), owner('reviewerId'), related('tickets', where({ status: 'open' }))),
    create: authenticated(),
    update: { from: owner(), to: allOf(owner('userId'), not(where({ isPublic: { ne: true } }))) },
  }
}

export class Ticket extends HasUserMixin(BasePermsModel).withColumns({
  status: column.enum(['open', 'closed']),
  projectId: column.integer().references('project.id'),
  hours: column.integer().nullable(),
}) {
  declare project?: Project | null
  static override relationMappings: Relations<Ticket> = { project: belongsTo(() => Project, 'projectId') }
  get isLate(): boolean {
    return this.status === 'open' && (this.project?.isPublic ?? false)
  }
  static override policy: Policy<Ticket> = {
    read: anyOf(owner(), related('project', anyOf(where({ isPublic: true }), owner('reviewerId')))),
    create: anyOf(
      role('agent'),
      check((ticket) => ticket.hours === null),
    ),
    update: anyOf(owner('userId'), related('project', related('tickets', owner()))),
    delete: where({ status: ['open', 'closed'], hours: { gt: 1 } }),
  }
}

// @ts-expect-error no such column
export const misspelledColumn: Policy<Project> = { read: where({ isPubic: true }) }
// @ts-expect-error a value of another type
export const otherType: Policy<Project> = { read: where({ isPublic: 'yes' }) }
// @ts-expect-error no such value of the enum
export const otherValue: Policy<Ticket> = { read: where({ status: 'opened' }) }
// @ts-expect-error a relation is no column
export const relationAsColumn: Policy<Ticket> = { read: where({ project: null }) }
// @ts-expect-error no such column
export const misspelledOwner: Policy<Project> = { update: owner('reviewrId') }
// @ts-expect-error a boolean is no id
export const ownerOfBoolean: Policy<Project> = { update: owner('isPublic') }
// @ts-expect-error no such relation
export const misspelledRelation: Policy<Ticket> = { read: related('projekt', everyone()) }
// @ts-expect-error no such column of the related model
export const misspelledInside: Policy<Ticket> = { read: related('project', where({ isPubic: true })) }
// @ts-expect-error no such column of the related model
export const ownerInside: Policy<Ticket> = { read: related('project', owner('reviewrId')) }
// @ts-expect-error no such column, in a combination
export const combined: Policy<Ticket> = { read: anyOf(owner(), allOf(not(where({ stauts: 'open' })))) }
// @ts-expect-error no such column, in an update with two rules
export const fromTo: Policy<Ticket> = { update: { from: owner(), to: owner('usrId') } }
// @ts-expect-error no such property of the row
export const checked: Policy<Ticket> = { update: check((ticket) => ticket.stauts === 'open') }
// @ts-expect-error a rule that only code can decide cannot filter a list
export const unlistable: Policy<Ticket> = { read: check((ticket) => ticket.isLate) }
// Other keys are actions of the application. Misspelled names such as 'raed' are refused at start.
export const action: Policy<Ticket> = { publish: allOf(owner(), where({ status: 'open' })) }
// @ts-expect-error no such column, in an action
export const misspelledInAction: Policy<Ticket> = { publish: where({ stauts: 'open' }) }
export const others: Policy<Ticket> = { create: { own: authenticated(), others: role('agent') }, read: related('project', allowed('read')) }
// @ts-expect-error no such column of the row before the update
export const misspelledBefore: Policy<Ticket> = { update: { from: authenticated(), to: before(owner('usrId')) } }

export async function flags(): Promise<boolean> {
  const tickets = await Ticket.query().where('status', 'open').withAllowed('update', 'publish')
  const one = await Ticket.query().withAllowed('delete').findById('1')
  const isAllowed: boolean =
    (tickets[0]?.allowed.update ?? false) && (one?.allowed.delete ?? false) && (await tickets[0]?.can('publish')) === true
  // @ts-expect-error a flag that the query does not ask for
  return isAllowed && tickets[0]?.allowed.delete
}

// @ts-expect-error no such column of this model
export const misspelledKey: Relations<Ticket> = { project: belongsTo(() => Project, 'projetcId') }
// @ts-expect-error no such relation of this model
export const misspelledName: Relations<Ticket> = { projcet: belongsTo(() => Project, 'projectId') }
// @ts-expect-error no such column of the other model
hasMany(() => Ticket, 'projetcId')
// @ts-expect-error no such column of the other model, which is given as a class
hasMany(Ticket, 'projetcId')
// @ts-expect-error no such column
belongsTo<Ticket>(() => Project, 'projetcId')

// Outside of a policy, the type argument names the model.
export const rules = [where<Ticket>({ hours: null }), owner<Project>('reviewerId'), related<Ticket>('project', where({ isPublic: true }))]
// @ts-expect-error no such column
where<Ticket>({ hour: null })
// @ts-expect-error no such column
owner<Project>('reviewrId')
// @ts-expect-error no such relation
related<Ticket>('projekt', everyone())
// @ts-expect-error a rule for another model
export const foreignRule: Policy<Ticket> = { read: where<Project>({ isPublic: true }) }

// Rules without a model fit every policy, and are checked when the model is first used.
export const ownerOrEditor = anyOf(owner(), role('editor'))
export const shared: Policy<Ticket> = { read: ownerOrEditor, update: ownerOrEditor }
export const untyped = { read: anyOf(where({ anything: 1 }), owner('anyColumn'), related('anyRelation', owner('anyColumn'))) }
