import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import type { Message } from '../core/messages/message.js'
import { nearestNames } from '../core/nearest-names.js'
import { relationNamesOf, relationOf } from '../query/objection-internals.js'
import { lineage, ownStatic, tableOf } from '../schema/class-statics.js'
import { idProperties, structureOf } from '../schema/definition/definition.js'
import { type Action, type ActionName, assertNewAction, crudActions, isCrudAction } from './actions.js'
import type { Condition } from './compiler/condition.js'
import type { Scope } from './compiler/scope.js'
import { assertKnownRoles } from './declared-roles.js'
import {
  type AnyRule,
  allOf,
  anyOf,
  delegate,
  everyone,
  isComparison,
  mentions,
  nobody,
  not,
  owner,
  type Policy,
  type RelatedRule,
  type Rule,
  usesCheck,
  walk,
  where,
} from './rules.js'
import { assertShareRelation, isShareable } from './share-relations.js'

/** A condition that is always combined with the rules of a class by AND. The policy cannot replace it. */
export interface GlobalScope {
  readonly name: string
  readonly rule: Rule
  /** Who bypasses it: `'admin'`: global admins and code without rules; `'nobody'`: only queries that ask for it, as withDeleted(). */
  readonly liftedFor: 'admin' | 'nobody'
}

/** A condition on writes, combined by AND with the policy and the admin bypass. Subclasses cannot replace it. */
export interface WriteLimit {
  readonly on: readonly Exclude<Action, 'read'>[]
  /** Limits only updates that set one of these columns. Default: every update. */
  readonly columns?: readonly string[]
  /** The columns that the condition reads. An update that sets one is checked again after the statement. */
  readonly reads?: readonly string[]
  /** The requirements of the write, for the error message. */
  readonly takes: Message
  /** Returns the condition. @param set the values of an update or of a new row */
  condition(scope: Scope, action: ActionName, set: Readonly<Record<string, unknown>>): Condition
}

/** A limit of a class and its subclasses. The columns may depend on the subclass. */
export interface DeclaredWriteLimit extends Omit<WriteLimit, 'columns'> {
  readonly columns?: readonly string[] | ((cls: object) => readonly string[])
}

/** Settings of a class besides its rules, from its statics and mixins. */
export interface PolicyFrame {
  readonly globalScopes: readonly GlobalScope[]
  readonly limits: readonly WriteLimit[]
  /** Whether global admins bypass the rules of reads and of writes. */
  readonly bypass: { readonly read: boolean; readonly write: boolean }
  readonly ownerField: string | undefined
  readonly domainField: string | undefined
  readonly isUserModel: boolean
  readonly isDelegated: boolean
}

/** The policy of a class, merged with its base classes and with a rule for each action. */
export interface Resolved extends PolicyFrame {
  readonly read: Rule
  readonly create: Rule
  /** The rule for new rows that belong to another user. Undefined: only admins create them. */
  readonly createForOthers: Rule | undefined
  readonly updateFrom: Rule
  readonly updateTo: Rule
  readonly delete: Rule
  /** The rules of the actions that the model adds. */
  readonly named: ReadonlyMap<string, Rule>
}

/** The statics of a class that concern permissions. */
export interface PermsStatics {
  readonly policy?: Policy
  readonly adminBypass?: boolean | 'read'
  readonly unguarded?: readonly string[]
  readonly userField?: string
  readonly domainField?: string
  readonly delegateToUser?: boolean
  readonly publicRegistration?: boolean
}

const ownGlobalScopes = new WeakMap<object, GlobalScope>()
const ownLimits = new WeakMap<object, readonly DeclaredWriteLimit[]>()
const resolved = new WeakMap<object, Resolved>()
const userModels = new WeakSet<object>()

/** Adds a global scope to a class that a mixin creates. */
export function declareGlobalScope(cls: object, globalScope: GlobalScope): void {
  ownGlobalScopes.set(cls, globalScope)
}

/** Adds limits on writes to a class and its subclasses. */
export function declareWriteLimits(cls: object, ...limits: readonly DeclaredWriteLimit[]): void {
  ownLimits.set(cls, limits)
}

function limitFor(cls: object, { columns, ...limit }: DeclaredWriteLimit): WriteLimit {
  if (columns === undefined) return limit
  return { ...limit, columns: typeof columns === 'function' ? columns(cls) : columns }
}

/** Returns the column limits that apply to an update of these columns. */
export function columnLimits({ limits }: PolicyFrame, names: readonly string[]): WriteLimit[] {
  return limits.filter(({ on, columns }) => on.includes('update') && columns?.some((name) => names.includes(name)))
}

/** Marks a class and its subclasses as user models. */
export function markUserModel(cls: object): void {
  userModels.add(cls)
}

/** Returns whether a class is a user model. */
export function isUserModel(cls: object): boolean {
  return lineage(cls).some((c) => userModels.has(c))
}

/** Returns the resolved policy of a class. @throws ConfigurationError if a rule is invalid */
export function policyOf(cls: typeof Model): Resolved {
  let known = resolved.get(cls)
  if (!known) {
    known = resolve(cls)
    resolved.set(cls, known)
  }
  return known
}

const frames = new WeakMap<object, PolicyFrame>()

/** Returns the settings of a class besides its rules. Does not throw for invalid rules. */
export function policyFrameOf(cls: typeof Model): PolicyFrame {
  return memoize(frames, cls, () => {
    const statics = cls as PermsStatics
    const adminBypass = statics.adminBypass ?? true
    const unguarded = statics.unguarded ?? []
    return {
      globalScopes: lineage(cls).flatMap((c) => {
        const globalScope = ownGlobalScopes.get(c)
        return globalScope && !unguarded.includes(globalScope.name) ? [globalScope] : []
      }),
      limits: lineage(cls).flatMap((c) => (ownLimits.get(c) ?? []).map((limit) => limitFor(cls, limit))),
      bypass: { read: adminBypass !== false, write: adminBypass === true },
      ownerField: statics.userField,
      domainField: statics.domainField,
      isUserModel: isUserModel(cls),
      isDelegated: statics.delegateToUser === true,
    }
  })
}

function resolve(cls: typeof Model): Resolved {
  const known = mergedPolicyOf(cls)
  checkRules(cls, known)
  return known
}

const mergedPolicies = new WeakMap<object, Resolved>()

// Returns the policy before its rules are checked: a check may lead through the policies of related models.
const mergedPolicyOf = (cls: typeof Model): Resolved => memoize(mergedPolicies, cls, () => merge(cls))

function merge(cls: typeof Model): Resolved {
  const merged: { -readonly [K in keyof Policy]: Policy[K] } = {}
  for (const c of lineage(cls)) {
    const said = ownStatic(c, 'policy') as Policy | undefined
    for (const [action, rule] of Object.entries(said ?? {})) {
      if (!isCrudAction(action)) assertNewAction(`${cls.name}.policy`, action)
      if (rule === undefined)
        throw new ConfigurationError(`${cls.name}.policy.${action} is undefined. Set a rule, for example owner() or nobody().`)
      Object.assign(merged, { [action]: rule })
    }
  }
  const statics = cls as PermsStatics
  // The owner of a row decides with whom it is shared, unless the policy says otherwise.
  if (isShareable(cls)) merged.share ??= statics.userField === undefined ? nobody() : owner()
  if (statics.delegateToUser === true) for (const action of [...crudActions, ...Object.keys(merged)]) merged[action] = delegate()
  const update = merged.update ?? nobody()
  const [updateFrom, updateTo] = 'from' in update ? [update.from, update.to] : [update, update]
  const known: Resolved = {
    ...policyFrameOf(cls),
    read: merged.read ?? updateFrom,
    ...createRules(cls, merged.create),
    updateFrom,
    updateTo,
    delete: merged.delete ?? updateFrom,
    named: new Map(Object.entries(merged).flatMap(([name, rule]) => (isCrudAction(name) ? [] : [[name, rule as Rule]]))),
  }
  if (usesCheck(known.read)) {
    const why = merged.read ? '' : ' (taken from update, because read is missing)'
    throw new ConfigurationError(
      `${cls.name}.policy.read${why} uses check(), which cannot restrict lists. Set a read rule that has a form in SQL, for example owner().`,
    )
  }
  return known
}

function checkRules(cls: typeof Model, policy: Resolved): void {
  const rules: [string, Rule][] = [
    ['read', policy.read],
    ['create', policy.create],
    ['update', policy.updateFrom],
    ['update', policy.updateTo],
    ['delete', policy.delete],
    ...policy.named,
  ]
  for (const [action, rule] of rules) {
    if (typeof rule !== 'object' || rule === null || typeof rule.kind !== 'string') {
      throw new ConfigurationError(`${cls.name}.policy.${action} is not a rule. Set one such as owner(), role('admin') or anyOf(...).`)
    }
    checkBefore(`${cls.name}.policy.${action}`, rule, rule === policy.updateTo && rule !== policy.updateFrom)
    if (action === 'create' && mentions(rule, 'shared'))
      throw new ConfigurationError(
        `${cls.name}.policy.create: shared() is false for every new row, which nobody has shared yet. Use another rule.`,
      )
    const place: RulePlace = { at: `${cls.name}.policy.${action}`, path: [] }
    for (const part of walk(rule)) checkRule(cls, part, place)
  }
}

// The row as it was is known only while an update is checked.
function checkBefore(at: string, rule: Rule, isUpdateTo: boolean): void {
  for (const part of walk(rule)) {
    if (part.kind !== 'before') continue
    if (!isUpdateTo)
      throw new ConfigurationError(`${at}: before() works only in update.to. Write update: { from: rule, to: before(rule) }.`)
    if (mentions(part.rule, 'check') || mentions(part.rule, 'before'))
      throw new ConfigurationError(`${at}: before() can hold neither check() nor before().`)
  }
}

// A rule for new rows of other users stands beside the one for the caller's own.
function createRules(cls: typeof Model, said: Policy['create']): Pick<Resolved, 'create' | 'createForOthers'> {
  if (said === undefined || !('own' in said)) {
    const isOpen = (cls as PermsStatics).publicRegistration === true && isUserModel(cls)
    return { create: said ?? (isOpen ? everyone() : nobody()), createForOthers: undefined }
  }
  const { own, others } = said
  const at = `${cls.name}.policy.create`
  const field = (cls as PermsStatics).userField
  if (field === undefined)
    throw new ConfigurationError(`${at}: { own, others } needs a model with an owner. Add HasUserMixin, or write one rule.`)
  if (![own, others].every((rule) => typeof rule === 'object' && rule !== null && typeof rule.kind === 'string'))
    throw new ConfigurationError(`${at}: { own, others } needs two rules, such as { own: authenticated(), others: role('agent') }.`)
  const isOwn = anyOf(owner(field), where({ [field]: null }))
  return { create: anyOf(allOf(isOwn, own), allOf(not(isOwn), others)), createForOthers: others }
}

/** The place of a rule inside a policy. */
interface RulePlace {
  /** For messages. Inside related(), it belongs to another model than the rule. */
  readonly at: string
  /** The relations that lead to it. */
  readonly path: readonly string[]
  /** The number of parts so far of the policies that allowed() names. Undefined outside of them. */
  readonly parts?: { count: number } | undefined
}

/** The most relations on the way to a rule, and the most parts of the policies that allowed() names in one rule. */
const MAX_RELATIONS = 6
const MAX_PARTS = 300

/** Checks before any query that the columns and relations of a rule exist, and that the rule ends and is not too large. */
function checkRule(cls: typeof Model, rule: AnyRule, place: RulePlace): void {
  const { at, path, parts } = place
  if (parts) parts.count += 1
  assertKnownRoles(at, rule)
  if (parts && parts.count > MAX_PARTS)
    throw new ConfigurationError(`${at}: the policies that allowed() names have more than ${MAX_PARTS} parts. Write shorter rules.`)
  const { specs, isStrict } = structureOf(cls)
  if (rule.kind === 'where') {
    for (const [name, value] of Object.entries(rule.conditions)) {
      const spec = specs[name]
      if (!spec && isStrict)
        throw new ConfigurationError(
          `${at}: where({ ${name} }): ${cls.name} has no column '${name}'. ${nearestNames(name, Object.keys(specs), 'Its columns')}`,
        )
      if (spec?.type === 'json')
        throw new ConfigurationError(
          `${at}: where({ ${name} }) compares a json column. Store the values that rules need in columns of their own.`,
        )
      if (isComparison(value) && 'like' in value && spec && !['string', 'text', 'enum'].includes(spec.type)) {
        throw new ConfigurationError(`${at}: where({ ${name}: { like } }) needs a text column, and ${name} is a ${spec.type} column.`)
      }
      if (isComparison(value)) {
        for (const operator of Object.keys(value)) {
          if (!['eq', 'ne', 'gt', 'gte', 'lt', 'lte', 'in', 'notIn', 'like', 'null'].includes(operator)) {
            throw new ConfigurationError(
              `${at}: where({ ${name}: { ${operator} } }): unknown operator. Use eq, ne, gt, gte, lt, lte, in, notIn, like or null.`,
            )
          }
        }
      }
    }
  }
  if (rule.kind === 'owner') {
    const field = rule.field ?? (cls as PermsStatics).userField
    if (!isUserModel(cls) && (!field || (isStrict && !specs[field]))) {
      throw new ConfigurationError(
        `${at}: owner() needs a column of ${cls.name} with the owner's id. Add HasUserMixin, or name the column: owner('column').` +
          (rule.field === undefined ? '' : ` It has no '${rule.field}'. ${nearestNames(rule.field, Object.keys(specs), 'Its columns')}`),
      )
    }
  }
  if ((rule.kind === 'self' || rule.kind === 'colleague') && !isUserModel(cls)) {
    throw new ConfigurationError(
      `${at}: ${rule.kind}() needs a user model, and ${cls.name} is not one. Use owner() for rows that belong to a user.`,
    )
  }
  if (rule.kind === 'member' && !specs[rule.field])
    throw new ConfigurationError(`${at}: ${cls.name} has no column ${rule.field}. Add HasDomainMixin.`)
  if (rule.kind === 'related') {
    const names = relationNamesOf(cls)
    if (!names.includes(rule.relation)) {
      throw new ConfigurationError(
        `${at}: related('${rule.relation}'): ${cls.name} has no such relation. ${nearestNames(rule.relation, names, 'Its relations')}`,
      )
    }
    const step = `${cls.name}.${rule.relation}`
    if (path.includes(step) || path.length >= MAX_RELATIONS)
      throw new ConfigurationError(`${at}: related('${rule.relation}') refers to itself. Break the cycle.`)
    const { relatedModelClass } = relationOf(cls, rule.relation)
    if (rule.depth !== undefined) checkRecursion(cls, rule, at)
    for (const part of walk(rule.rule)) {
      if (part.kind === 'check') throw new ConfigurationError(`${at}: related() cannot hold check(), which has no form in SQL.`)
      if (part.kind === 'before') throw new ConfigurationError(`${at}: related() cannot hold before(). Write before(related(...)).`)
      checkRule(relatedModelClass, part, { at: `${at}, in related('${rule.relation}')`, path: [...path, step], parts })
    }
  }
  if (rule.kind === 'shared') assertShareRelation(at, cls, rule.relation)
  if (rule.kind === 'allowed') checkAllowed(cls, rule.action, place)
}

// The rows on the way are those of one table, and one column leads from each to the next.
function checkRecursion(cls: typeof Model, { relation: name, rule }: RelatedRule, at: string): void {
  const here = `${at}: related('${name}', ..., { recursive: true })`
  const { relatedModelClass: target, ownerProp } = relationOf(cls, name)
  if (tableOf(target) !== tableOf(cls))
    throw new ConfigurationError(
      `${here}: the relation leads to ${target.name}, not to ${cls.name}. Leave recursive out, or nest related().`,
    )
  if (ownerProp.cols.length > 1 || idProperties(cls).length > 1)
    throw new ConfigurationError(`${here}: a relation or id of several columns cannot be followed. Nest related() instead.`)
  if (mentions(rule, 'allowed'))
    throw new ConfigurationError(
      `${here} cannot hold allowed(), because the policy would refer to itself. Write the rule of the rows above, such as owner().`,
    )
}

// allowed() brings the rules of another policy, which may lead back to this one.
function checkAllowed(cls: typeof Model, action: ActionName, { at, path, parts = { count: 0 } }: RulePlace): void {
  const here = `${at}, in allowed('${action}')`
  if (path.length === 0)
    throw new ConfigurationError(`${at}: allowed() belongs inside related(), such as related('ticket', allowed('read')).`)
  if (!('policy' in cls)) throw new ConfigurationError(`${here}: ${cls.name} has no policy. Use another rule, such as everyone().`)
  const policy = mergedPolicyOf(cls)
  if (action === 'create' || (!isCrudAction(action) && !policy.named.has(action)))
    throw new ConfigurationError(`${here}: ${cls.name}.policy has no such action on its rows.`)
  for (const rule of new Set([policy.read, ruleOf(policy, action)])) {
    for (const part of walk(rule)) {
      if (part.kind === 'check' || part.kind === 'recent' || part.kind === 'factor')
        throw new ConfigurationError(
          `${here}: the rule of ${cls.name} uses ${part.kind}(). Write a rule without it here, instead of allowed('${action}').`,
        )
      checkRule(cls, part, { at: here, path, parts })
    }
  }
}

/** Checks the roles that the rules of a class name, also if the class was used before the roles were declared. @throws ConfigurationError */
export function assertRolesOf(cls: typeof Model): void {
  if ('policy' in cls) checkRules(cls, policyOf(cls))
  for (const [name, { readable, writable }] of Object.entries(structureOf(cls).specs)) {
    for (const rule of [readable, writable]) if (rule) for (const part of walk(rule as Rule)) assertKnownRoles(`${cls.name}.${name}`, part)
  }
}

/** Returns the rule of an action, for an update the one that must hold before it. An action without a rule is denied. */
export function ruleOf(policy: Resolved, action: ActionName): Rule {
  if (!isCrudAction(action)) return policy.named.get(action) ?? nobody()
  return action === 'update' ? policy.updateFrom : policy[action]
}

/** Returns whether deleted rows of a class stay in its table. */
export function isSoftDeleting({ globalScopes }: PolicyFrame): boolean {
  return globalScopes.some(({ liftedFor }) => liftedFor === 'nobody')
}

/** Returns the action whose rule decides who restores soft-deleted rows: 'restore', or 'delete' if the policy has no such rule. */
export function restoreAction({ named }: Pick<Resolved, 'named'>): 'restore' | 'delete' {
  return named.has('restore') ? 'restore' : 'delete'
}

/** Returns the action whose rule decides about an action: another one only for restore(). */
export function decidingAction(policy: Resolved, action: ActionName): ActionName {
  return action === 'restore' && isSoftDeleting(policy) ? restoreAction(policy) : action
}

/**
 * Checks the name of an action on the rows of a class.
 *
 * @throws ConfigurationError for an action that the policy of the class does not have, with similar names
 */
export function assertAction(cls: typeof Model, action: string): void {
  const policy = policyOf(cls)
  const { named } = policy
  if (isCrudAction(action) || named.has(action) || (action === 'restore' && isSoftDeleting(policy))) return
  const names = [...crudActions, ...named.keys()]
  throw new ConfigurationError(
    `${cls.name}.policy has no action '${action}'. ${nearestNames(action, names, 'Its actions')} Add the rule: static policy = { ${action}: ... }.`,
  )
}

/** Returns the properties that a rule reads; `'*'` for check(), which may read any. */
export function columnsRead(cls: typeof Model, rule: Rule, policy: PolicyFrame = policyOf(cls)): Set<string> {
  const names = new Set<string>()
  for (const part of walk(rule)) {
    if (part.kind === 'where') for (const name of Object.keys(part.conditions)) names.add(name)
    else if (part.kind === 'owner') names.add(part.field ?? policy.ownerField ?? 'id')
    else if (part.kind === 'self' || part.kind === 'colleague') names.add('id')
    else if (part.kind === 'shared') for (const name of idProperties(cls)) names.add(name)
    else if (part.kind === 'member') names.add(part.field)
    else if (part.kind === 'role' && policy.domainField) names.add(policy.domainField)
    else if (part.kind === 'check' || part.kind === 'before') names.add('*')
    else if (part.kind === 'rank' || part.kind === 'grantor') for (const name of ['role', 'domainId', 'userId']) names.add(name)
    else if (part.kind === 'delegate' && policy.ownerField) names.add(policy.ownerField)
    else if (part.kind === 'related') {
      const { ownerProp } = relationOf(cls, part.relation)
      for (const name of ownerProp.props) names.add(name)
    }
  }
  return names
}
