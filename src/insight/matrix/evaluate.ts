/** Evaluates rules for a kind of caller: what remains is a condition on the row. */
import type { Model } from 'objection'
import { rulesOf } from '../../policy/abilities.js'
import type { ActionName } from '../../policy/actions.js'
import { rolesGrantedBy } from '../../policy/declared-roles.js'
import { type PolicyFrame, policyFrameOf, policyOf, type Resolved, ruleOf } from '../../policy/policy.js'
import { registeredModel } from '../../policy/registered-models.js'
import type { AnyRule, RelatedRule, RoleRule, Rule } from '../../policy/rules.js'
import { decidingRule, sessionRulesIn } from '../../policy/session-part.js'
import { relationOf } from '../../query/objection-internals.js'
import { and, condition, type Expression, not, or, wordsOf } from '../expression.js'
import { ruleWords } from '../leaves.js'
import { holdsOne, type MatrixCaller } from './callers.js'

/** The place of a rule: for whom, and about which rows. */
interface Place {
  readonly cls: typeof Model
  readonly policy: PolicyFrame
  readonly caller: MatrixCaller
  /** Whether the rule is about the row of the matrix itself, rather than about a related row. */
  readonly isRow: boolean
  /** Whether the action changes the row: admins do not change other admins. */
  readonly writes: boolean
}

/** Returns the condition under which a caller may do an action with a row of a class. */
export function accessOf(cls: typeof Model, policy: Resolved, action: ActionName, caller: MatrixCaller): Expression {
  return permitted(policy, action, { cls, policy, caller, isRow: true, writes: action !== 'read' })
}

function permitted(policy: Resolved, action: ActionName, place: Place): Expression {
  const scopes = and(...policy.globalScopes.filter(({ liftedFor }) => liftedFor === 'admin').map(({ rule }) => scoped(rule, place)))
  if (action === 'read') return and(scopes, or(bypass(policy, 'read', place), evaluate(policy.read, place)))
  const ruled = or(bypass(policy, action, place), writeRule(policy, action, place))
  const limits = limitsOf(policy, action, place)
  if (action === 'create') return and(scopes, ruled, limits)
  return and(scopes, or(bypass(policy, 'read', place), evaluate(policy.read, { ...place, writes: false })), ruled, limits)
}

// Global admins are inside of every domain.
const scoped = (rule: Rule, place: Place): Expression => or(isGlobalAdmin(place), evaluate(rule, place))

function writeRule(policy: Resolved, action: ActionName, place: Place): Expression {
  if (action === 'create') return and(evaluate(policy.create, place), inOwnName(policy, place))
  const from = evaluate(ruleOf(policy, action), place)
  if (action !== 'update' || policy.updateTo === policy.updateFrom) return from
  const to = evaluate(policy.updateTo, place)
  return and(from, typeof to === 'boolean' ? to : condition(`afterwards (${wordsOf(to)})`))
}

// Without a rule for other users, a new row belongs to its creator.
function inOwnName({ ownerField, createForOthers, isUserModel }: Resolved, { caller }: Place): Expression {
  if (ownerField === undefined || createForOthers || isUserModel || caller.isOwner || !caller.isSignedIn) return true
  return condition('rows of which they are the owner')
}

function limitsOf(policy: Resolved, action: ActionName, { caller }: Place): Expression {
  if (caller.isOwner || holdsOne(caller.globalRoles, ['superadmin'])) return true
  const kind = action === 'create' ? 'create' : action === 'delete' ? 'delete' : 'update'
  return and(
    ...policy.limits
      .filter(({ on, columns }) => on.includes(kind) && columns === undefined)
      .map(({ takes }) => condition(`the limit of the library: ${String(takes)}`)),
  )
}

const isGlobalAdmin = ({ caller }: Place): boolean => holdsOne(caller.globalRoles, ['admin'])

function bypass(policy: Resolved, action: ActionName, place: Place): Expression {
  const { caller } = place
  const isDomainAdmin = policy.domainField !== undefined && holdsOne(caller.domainRoles ?? [], ['admin'])
  if (!isGlobalAdmin(place) && !isDomainAdmin) return false
  if (!(action === 'read' ? policy.bypass.read : policy.bypass.write)) return false
  const needsSession = rulesOf(action, policy).some((rule) => sessionRulesIn(decidingRule(rule)).length > 0)
  return and(needsSession ? condition('with a session that the rule asks for') : true, action === 'read' || noOtherAdmins(policy, place))
}

function noOtherAdmins({ ownerField, isUserModel }: PolicyFrame, { caller }: Place): Expression {
  if (holdsOne(caller.globalRoles, ['superadmin']) || (!isUserModel && (ownerField === undefined || caller.isOwner))) return true
  return condition(isUserModel ? 'users who are no admins' : 'rows of no other admin')
}

/** Evaluates a rule. A kind that is not known remains as a condition. */
function evaluate(given: Rule, place: Place): Expression {
  const rule = given as AnyRule
  const { caller, policy, isRow } = place
  const asCondition = condition(ruleWords(rule))
  const ifSignedIn = caller.isSignedIn && asCondition
  switch (rule.kind) {
    case 'constant':
      return rule.value
    case 'authenticated':
    case 'ability':
      return caller.isSignedIn
    case 'recent':
    case 'factor':
    case 'shared':
      return ifSignedIn
    case 'owner': {
      const field = rule.field ?? policy.ownerField
      if (caller.isOwner && isRow && field === policy.ownerField) return true
      return caller.isSignedIn && condition(`the owner (${field ?? 'id'})`)
    }
    case 'self':
      return caller.isOwner && isRow ? true : ifSignedIn
    case 'role':
      return hasRole(rule, place)
    case 'member':
      return isMember(rule.roles, rule.field === policy.domainField && isRow, place, asCondition)
    case 'colleague':
      return caller.domainRoles === null || holdsOne(caller.domainRoles, rule.roles) ? ifSignedIn : false
    case 'related':
      return hasRelated(rule, place)
    case 'allowed':
      return permitted(policyOf(place.cls), rule.action, { ...place, policy: policyOf(place.cls), writes: rule.action !== 'read' })
    case 'delegate':
      return mayUpdateOwner(place)
    case 'rank':
      return holdsOne(caller.globalRoles, ['superadmin']) || (grantsRoles(caller) ? asCondition : false)
    case 'grantor':
      return grantsRoles(caller) && asCondition
    case 'before': {
      const inner = evaluate(rule.rule, place)
      return typeof inner === 'boolean' ? inner : condition(`before the change (${wordsOf(inner)})`)
    }
    case 'anyOf':
      return or(...rule.rules.map((part) => evaluate(part, place)))
    case 'allOf':
      return and(...rule.rules.map((part) => evaluate(part, place)))
    case 'not':
      return not(evaluate(rule.rule, place))
    default:
      return asCondition
  }
}

function hasRole(rule: RoleRule, place: Place): Expression {
  const limit = place.writes && rule.roles.includes('admin') ? noOtherAdmins(place.policy, place) : true
  return and(holdsRole(rule, place), limit)
}

function holdsRole(rule: RoleRule, { caller, policy, isRow }: Place): Expression {
  if (holdsOne(caller.globalRoles, rule.roles)) return true
  const mayHold = caller.domainRoles === null || holdsOne(caller.domainRoles, rule.roles)
  if (!mayHold) return false
  const asCondition = condition(ruleWords(rule))
  if (rule.domain !== undefined) return rule.domain === 'any' && caller.domainRoles !== null ? true : asCondition
  if (policy.domainField === undefined) return false
  return isRow && caller.domainRoles !== null ? true : asCondition
}

function isMember(roles: readonly string[] | undefined, isDomainOfRow: boolean, { caller }: Place, asCondition: Expression): Expression {
  if (caller.domainRoles === null) return asCondition
  if (!holdsOne(caller.domainRoles, roles)) return false
  return isDomainOfRow ? true : asCondition
}

function hasRelated(rule: RelatedRule, place: Place): Expression {
  const target = relationOf(place.cls, rule.relation).relatedModelClass
  const inner = evaluate(rule.rule, { ...place, cls: target, policy: policyFrameOf(target), isRow: false, writes: false })
  if (inner === false) return false
  const rows = `rows with a ${rule.relation}${rule.depth === undefined ? '' : `, at up to ${rule.depth} levels,`}`
  return condition(inner === true ? rows : `${rows} for which: ${wordsOf(inner)}`)
}

function mayUpdateOwner({ caller }: Pick<Place, 'caller'>): Expression {
  if (!caller.isSignedIn) return false
  const User = registeredModel('user')
  const policy = policyOf(User)
  const place: Place = { cls: User, policy, caller, isRow: true, writes: true }
  const theirs = or(evaluate(policy.updateFrom, place), bypass(policy, 'update', place))
  return typeof theirs === 'boolean' ? theirs : condition(`callers who may update the owner: ${wordsOf(theirs)}`)
}

const grantsRoles = ({ globalRoles, domainRoles }: MatrixCaller): boolean => {
  const held = [...globalRoles, ...(domainRoles ?? [])]
  return domainRoles === null || holdsOne(held, ['admin']) || held.some((role) => rolesGrantedBy(role).length > 0)
}
