import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { lineage, ownStatic, structureOf } from '../schema/definition.js'
import type { Scope } from './compile.js'
import type { Condition } from './condition.js'
import { type AnyRule, delegate, everyone, isComparison, nobody, type Policy, type Rule, usesCheck, walk } from './rules.js'

export type Action = 'read' | 'create' | 'update' | 'delete'

/** A condition that is ANDed to every rule of a class and that its policy cannot replace. */
export interface GlobalScope {
  readonly name: string
  readonly rule: Rule
  /** Who is past it: `'admin'` global admins and code without rules; `'nobody'` only a query that asks for it. */
  readonly liftedFor: 'admin' | 'nobody'
}

/** A condition on writes that is ANDed to the policy and to the bypass of admins, and that no subclass replaces. */
export interface WriteLimit {
  readonly on: readonly Exclude<Action, 'read'>[]
  /** Limits only updates that set one of these columns. Default: every update. */
  readonly columns?: readonly string[]
  /** The columns that the condition reads: an update that sets one is checked again after the statement. */
  readonly reads?: readonly string[]
  /** For the error message: what the write takes. */
  readonly takes: string
  /** @param set the values of an update, or of a new row */
  condition(scope: Scope, action: Action, set: Readonly<Record<string, unknown>>): Condition
}

/** What the statics and mixins of a class say about permissions beside its rules. */
export interface PolicyFrame {
  readonly guards: readonly GlobalScope[]
  readonly limits: readonly WriteLimit[]
  /** Whether global admins are past the rules: of reads, and of writes. */
  readonly bypass: { readonly read: boolean; readonly write: boolean }
  readonly ownerField: string | undefined
  readonly domainField: string | undefined
  readonly isUserModel: boolean
  readonly isDelegated: boolean
}

/** The policy of a class with bases merged and gaps filled. */
export interface Resolved extends PolicyFrame {
  readonly read: Rule
  readonly create: Rule
  readonly updateFrom: Rule
  readonly updateTo: Rule
  readonly delete: Rule
}

/** The statics by which a class says who may do what. */
export interface PermsStatics {
  readonly policy?: Policy
  readonly adminBypass?: boolean | 'read'
  readonly unguarded?: readonly string[]
  readonly userField?: string
  readonly domainField?: string
  readonly delegateToUser?: boolean
  readonly publicRegistration?: boolean
}

const ownGuards = new WeakMap<object, GlobalScope>()
const ownLimits = new WeakMap<object, readonly WriteLimit[]>()
const resolved = new WeakMap<object, Resolved>()
const userModels = new WeakSet<object>()

/** Adds a guard to a class that a mixin made. */
export function declareGlobalScope(cls: object, guard: GlobalScope): void {
  ownGuards.set(cls, guard)
}

/** Adds limits on writes to a class; its subclasses have them too. */
export function declareWriteLimits(cls: object, ...limits: readonly WriteLimit[]): void {
  ownLimits.set(cls, limits)
}

/** The limits of an update that sets these columns: those of single columns. */
export function columnLimits({ limits }: PolicyFrame, names: readonly string[]): WriteLimit[] {
  return limits.filter(({ on, columns }) => on.includes('update') && columns?.some((name) => names.includes(name)))
}

/** Marks a class whose rows are users; its subclasses are too. */
export function markUserModel(cls: object): void {
  userModels.add(cls)
}

/** Whether the rows of a class are users. */
export function isUserModel(cls: object): boolean {
  return lineage(cls).some((c) => userModels.has(c))
}

const actions: readonly Action[] = ['read', 'create', 'update', 'delete']

/** @throws ConfigurationError naming model, action and what to write */
export function policyOf(cls: typeof Model): Resolved {
  let known = resolved.get(cls)
  if (!known) {
    known = resolve(cls)
    resolved.set(cls, known)
  }
  return known
}

const frames = new WeakMap<object, PolicyFrame>()

/** Returns what holds for a class beside its rules. It is known of a class whose rules are wrong, too. */
export function policyFrameOf(cls: typeof Model): PolicyFrame {
  return memoize(frames, cls, () => {
    const statics = cls as unknown as PermsStatics
    const adminBypass = statics.adminBypass ?? true
    const unguarded = statics.unguarded ?? []
    return {
      guards: lineage(cls).flatMap((c) => {
        const guard = ownGuards.get(c)
        return guard && !unguarded.includes(guard.name) ? [guard] : []
      }),
      limits: lineage(cls).flatMap((c) => ownLimits.get(c) ?? []),
      bypass: { read: adminBypass !== false, write: adminBypass === true },
      ownerField: statics.userField,
      domainField: statics.domainField,
      isUserModel: isUserModel(cls),
      isDelegated: statics.delegateToUser === true,
    }
  })
}

function resolve(cls: typeof Model): Resolved {
  const merged: { -readonly [K in keyof Policy]: Policy[K] } = {}
  for (const c of lineage(cls)) {
    const said = ownStatic(c, 'policy') as Policy | undefined
    for (const [action, rule] of Object.entries(said ?? {})) {
      if (!actions.includes(action as Action)) {
        throw new ConfigurationError(`${cls.name}.policy.${action}: there is no such action; write read, create, update or delete.`)
      }
      if (rule === undefined)
        throw new ConfigurationError(`${cls.name}.policy.${action} is undefined: write a rule, for example owner() or nobody().`)
      Object.assign(merged, { [action]: rule })
    }
  }
  const statics = cls as unknown as PermsStatics
  if (statics.delegateToUser === true) for (const action of actions) merged[action] = delegate()
  const update = merged.update ?? nobody()
  const [updateFrom, updateTo] = 'from' in update ? [update.from, update.to] : [update, update]
  const known: Resolved = {
    ...policyFrameOf(cls),
    read: merged.read ?? updateFrom,
    create: merged.create ?? (statics.publicRegistration === true && isUserModel(cls) ? everyone() : nobody()),
    updateFrom,
    updateTo,
    delete: merged.delete ?? updateFrom,
  }
  if (usesCheck(known.read)) {
    const why = merged.read ? '' : ' (it has none, so update is taken)'
    throw new ConfigurationError(
      `${cls.name}.policy.read${why} uses check(), which lists could not obey: write a read rule that has a form in SQL, for example owner().`,
    )
  }
  checkRules(cls, known)
  return known
}

function checkRules(cls: typeof Model, policy: Resolved): void {
  const rules: [string, Rule][] = [
    ['read', policy.read],
    ['create', policy.create],
    ['update', policy.updateFrom],
    ['update', policy.updateTo],
    ['delete', policy.delete],
  ]
  for (const [action, rule] of rules) {
    if (typeof rule !== 'object' || rule === null || typeof rule.kind !== 'string') {
      throw new ConfigurationError(`${cls.name}.policy.${action} is no rule: write one such as owner(), role('admin') or anyOf(...).`)
    }
    for (const part of walk(rule)) checkRule(cls, `${cls.name}.policy.${action}`, part, [])
  }
}

/**
 * Refuses a rule that names a column or relation that the model lacks, before any query.
 *
 * @param at where the rule is written: the related model of a related() is another
 */
function checkRule(cls: typeof Model, at: string, rule: AnyRule, path: readonly string[]): void {
  const { specs, isStrict } = structureOf(cls)
  if (rule.kind === 'where') {
    for (const [name, value] of Object.entries(rule.conditions)) {
      const spec = specs[name]
      if (!spec && isStrict)
        throw new ConfigurationError(`${at}: where({ ${name} }) names no column of ${cls.name}; it has ${Object.keys(specs).join(', ')}.`)
      if (spec?.type === 'json')
        throw new ConfigurationError(`${at}: where({ ${name} }) compares a json column; keep what rules need in a column of its own.`)
      if (isComparison(value) && 'like' in value && spec && !['string', 'text', 'enum'].includes(spec.type)) {
        throw new ConfigurationError(`${at}: where({ ${name}: { like } }) is for text; ${name} is a ${spec.type} column.`)
      }
      if (isComparison(value)) {
        for (const operator of Object.keys(value)) {
          if (!['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'notIn', 'like', 'null'].includes(operator)) {
            throw new ConfigurationError(
              `${at}: where({ ${name}: { ${operator} } }): the operators are eq, ne, gt, gte, lt, lte, in, notIn, like and null.`,
            )
          }
        }
      }
    }
  }
  if (rule.kind === 'owner') {
    const field = rule.field ?? (cls as unknown as PermsStatics).userField
    if (!isUserModel(cls) && (!field || (isStrict && !specs[field]))) {
      throw new ConfigurationError(
        `${at}: owner() needs a column of ${cls.name} with the owner's id: add HasUserMixin, or name the column with owner('column').`,
      )
    }
  }
  if (rule.kind === 'self' && !isUserModel(cls)) {
    throw new ConfigurationError(`${at}: self() is for user models, and ${cls.name} is none. Write owner() for rows that belong to a user.`)
  }
  if (rule.kind === 'member' && !specs[rule.field])
    throw new ConfigurationError(`${at}: ${cls.name} has no column ${rule.field}; add HasDomainMixin.`)
  if (rule.kind === 'related') {
    const names = (cls as unknown as { getRelationNames(): string[] }).getRelationNames()
    if (!names.includes(rule.relation)) {
      throw new ConfigurationError(
        `${at}: related('${rule.relation}') names no relation of ${cls.name}; it has ${names.join(', ') || 'none'}.`,
      )
    }
    const step = `${cls.name}.${rule.relation}`
    if (path.includes(step) || path.length > 5)
      throw new ConfigurationError(`${at}: related('${rule.relation}') comes round to itself; break the cycle.`)
    const { relatedModelClass } = cls.getRelation(rule.relation) as unknown as { relatedModelClass: typeof Model }
    for (const part of walk(rule.rule)) {
      if (part.kind === 'check') throw new ConfigurationError(`${at}: related() cannot hold check(), which has no form in SQL.`)
      checkRule(relatedModelClass, `${at}, in related('${rule.relation}')`, part, [...path, step])
    }
  }
}

/** The properties that a rule reads; `'*'` where code may read any. */
export function columnsRead(cls: typeof Model, rule: Rule, policy: PolicyFrame = policyOf(cls)): Set<string> {
  const names = new Set<string>()
  for (const part of walk(rule)) {
    if (part.kind === 'where') for (const name of Object.keys(part.conditions)) names.add(name)
    else if (part.kind === 'owner') names.add(part.field ?? policy.ownerField ?? 'id')
    else if (part.kind === 'self') names.add('id')
    else if (part.kind === 'member') names.add(part.field)
    else if (part.kind === 'role' && policy.domainField) names.add(policy.domainField)
    else if (part.kind === 'check') names.add('*')
    else if (part.kind === 'rank') for (const name of ['role', 'domainId', 'userId']) names.add(name)
    else if (part.kind === 'delegate' && policy.ownerField) names.add(policy.ownerField)
    else if (part.kind === 'related') {
      const { ownerProp } = cls.getRelation(part.relation) as unknown as { ownerProp: { props: string[] } }
      for (const name of ownerProp.props) names.add(name)
    }
  }
  return names
}
