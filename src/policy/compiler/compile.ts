/** Compiles rules to conditions: SQL for the rows of a statement, or a decision about a row in memory. */
import { ConfigurationError } from '../../core/errors.js'
import { apiKeyAllows, isAble, policyNamesAbilities, rulesOf } from '../abilities.js'
import type { ActionName } from '../actions.js'
import { type GlobalScope, policyOf, ruleOf, type WriteLimit } from '../policy.js'
import { registeredModel } from '../registered-models.js'
import { type AnyRule, type BeforeRule, type RelatedRule, type Rule, usesCheck } from '../rules.js'
import { allowsSession } from '../session-part.js'
import { hasProved, isRecent } from '../session-rules.js'
import { ADMIN, holdsUsers, SUPERADMIN, userTables } from '../user-tables.js'
import { callerOf } from './caller.js'
import { whereCondition } from './column-conditions.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import { recursiveCondition } from './recursive-conditions.js'
import { relatedCondition, relatedRows } from './related-conditions.js'
import {
  colleagueCondition,
  domainAdmin,
  excludesAdmins,
  globalRole,
  grantorCondition,
  memberCondition,
  rankCondition,
  roleCondition,
} from './role-conditions.js'
import { columnSql, type Scope } from './scope.js'
import { ownedOrShared, sharedCondition } from './share-conditions.js'
import { assertSymbolic } from './symbolic-caller.js'

/** Compiles a rule to a condition over the rows of a scope. The condition is true or false, never NULL. */
export function compile(given: Rule, scope: Scope): Condition {
  const rule = given as AnyRule
  const { policy } = scope
  if (scope.user) assertSymbolic(rule, scope)
  switch (rule.kind) {
    case 'constant':
      return rule.value
    case 'authenticated':
      return callerOf(scope).isPresent(scope)
    case 'ability':
      return hasAbility(scope, rule.ability)
    case 'recent':
      return isRecent(callerOf(scope).session(scope), rule.seconds)
    case 'factor':
      return hasProved(callerOf(scope).session(scope), rule.factor)
    case 'owner':
      if (rule.field === undefined && policy.isUserModel && !policy.ownerField) return isOwnAccount(scope)
      return callerOf(scope).idIs(scope, rule.field ?? policy.ownerField ?? 'userId')
    case 'self':
      return isOwnAccount(scope)
    case 'role':
      return roleCondition(rule, scope)
    case 'member':
      return memberCondition(rule, scope)
    case 'colleague':
      return holdsUsers(scope.cls) && colleagueCondition(rule, scope)
    case 'where':
      return whereCondition(rule, scope)
    case 'related':
      return rule.depth === undefined
        ? relatedCondition(rule, scope, conditionInside)
        : recursiveCondition(rule, scope, rule.depth, conditionInside)
    case 'before':
      return earlier(rule, scope)
    case 'allowed':
      return effective(rule.action, { ...scope, policy: policyOf(scope.cls), writes: rule.action !== 'read' }, { withDeleted: false })
    case 'shared':
      return sharedCondition(rule, scope)
    case 'grantor':
      return grantorCondition(scope, true)
    case 'rank':
      return rankCondition(scope, rule.joins)
    case 'delegate':
      return delegateCondition(scope)
    case 'anyOf':
      return ownedOrShared(rule, scope, compile) ?? any(...rule.rules.map((part) => compile(part, scope)))
    case 'allOf':
      return all(...rule.rules.map((part) => compile(part, scope)))
    case 'not': {
      // check() has no SQL form. It compiles to TRUE, also under not(); code decides afterwards.
      const inner = compile(rule.rule, scope)
      return !scope.row && usesCheck(rule.rule) ? true : negate(inner)
    }
    case 'check':
      return scope.row ? (scope.checks?.get(rule) ?? false) : true
  }
}

function hasAbility(scope: Scope, ability: string): boolean {
  const session = callerOf(scope).session(scope)
  return session !== null && (session.abilities === null || isAble(session.abilities, ability))
}

function earlier(rule: BeforeRule, { befores, cls }: Scope): boolean {
  const was = befores?.get(rule)
  // Any other answer would allow something, also under not().
  if (was === undefined) throw new ConfigurationError(`${cls.name}: before() was evaluated without the row as it was.`)
  return was
}

// Returns the condition of an inner rule, with the global scopes of its class.
function conditionInside(rule: Rule, scope: Scope): Condition {
  return all(compile(rule, scope), ...relatedScopes(scope))
}

/** Returns the number of related rows that satisfy the inner rule, as SQL; null if no row can satisfy it. */
export function relatedCount(rule: RelatedRule, scope: Scope): Sql | null {
  const rows = relatedRows(rule, scope, conditionInside)
  return rows === false ? null : sql(`(select count(*) from ${rows.sql})`, ...rows.bindings)
}

function relatedScopes(scope: Scope): Condition[] {
  return globalScopeConditions(scope, { free: false, withDeleted: false })
}

/** Returns the conditions of a class's global scopes, except those that this caller bypasses. */
export function globalScopeConditions(scope: Scope, options: { free: boolean; withDeleted: boolean; not?: string }): Condition[] {
  return scope.policy.globalScopes.filter(({ name }) => name !== options.not).map((one) => globalScopeCondition(one, scope, options))
}

function globalScopeCondition(globalScope: GlobalScope, scope: Scope, options: { free: boolean; withDeleted: boolean }): Condition {
  if (globalScope.liftedFor === 'nobody') return options.withDeleted ? true : compile(globalScope.rule, scope)
  if (options.free) return true
  return any(globalRole(scope, [ADMIN]), compile(globalScope.rule, scope))
}

// -- delegation to the owning user

function delegateCondition(scope: Scope): Condition {
  const field = scope.policy.ownerField
  const caller = callerOf(scope)
  if (!field || !caller.isPresent(scope)) return false
  const User = registeredModel('user')
  const depth = scope.depth + 1
  const alias = `perms_u${depth}`
  const policy = policyOf(User)
  const inner: Scope = { ...scope, cls: User, policy, ref: alias, row: undefined, ids: undefined, depth, checks: undefined }
  if (usesCheck(policy.updateFrom)) {
    throw new ConfigurationError(
      `${scope.cls.name}.delegateToUser: the update rule of ${User.name} uses check(), which has no form in SQL.`,
    )
  }
  const theirs = any(
    compile(policy.updateFrom, inner),
    inner.policy.bypass.write && allowsSession(policy.updateFrom, caller.session(scope))
      ? all(globalRole(inner, [ADMIN]), excludesAdmins({ ...inner, writes: true }))
      : false,
  )
  if (theirs === false) return false
  const column = columnSql(scope, field)
  const condition = all(sql(`?? = ${column.sql}`, `${alias}.${userTables().user.column('id')}`, ...column.bindings), theirs) as Sql
  return {
    sql: `exists (select 1 from ?? as ?? where ${condition.sql})`,
    bindings: [userTables().user.table, alias, ...condition.bindings],
  }
}

function isOwnAccount(scope: Scope): Condition {
  return holdsUsers(scope.cls) && callerOf(scope).idIs(scope, 'id')
}

// -- the whole condition of an action: rule or bypass, global scopes and write limits

export interface Options {
  readonly withDeleted: boolean
  /** Treats rules with check() as false, because it is unknown which grant the code relies on. */
  readonly withoutChecks?: boolean
}

/**
 * Returns the condition under which the scope's actor may act on a row: rule or bypass, global scopes and write limits. Updates and
 * deletes also need the read rule.
 *
 * @param phase for an update: whether the row is checked before or after it
 */
export function effective(action: ActionName, scope: Scope, options: Options, phase: 'before' | 'after' = 'before'): Condition {
  return all(permitted(action, scope, options, phase), limited(action, scope))
}

/** Returns the condition of the write limits of the class, which apply in addition to the policy. */
export function limited(action: ActionName, scope: Scope): Condition {
  if (action === 'read' || scope.policy.limits.length === 0) return true
  // An action that the model adds may change the row in any way, as an update may.
  const kind: 'create' | 'update' | 'delete' = action === 'create' ? 'create' : action === 'delete' ? 'delete' : 'update'
  const isAsked = ({ on, columns }: WriteLimit) =>
    (on.includes(kind) && (kind !== 'update' || columns === undefined)) ||
    // A restoration undoes a deletion, so the limits of deletions apply.
    (action === 'restore' && on.includes('delete'))
  return all(...scope.policy.limits.filter(isAsked).map((limit) => limit.condition(scope, action, scope.row ?? {})))
}

/** Returns the same condition as effective(), without write limits. */
export function permitted(action: ActionName, scope: Scope, options: Options, phase: 'before' | 'after' = 'before'): Condition {
  if (phase === 'before' && !apiKeyAllows(action, scope.cls, policyOf(scope.cls), scope.actor)) return false
  const always = globalScopeConditions(scope, { free: false, withDeleted: options.withDeleted || phase === 'after' || action === 'create' })
  const policy = policyOf(scope.cls)
  const ruled = (rule: Rule): Condition => !(options.withoutChecks && usesCheck(rule)) && compile(rule, scope)
  if (action === 'read') return all(...always, any(bypass('read', scope), compile(policy.read, scope)))
  if (action === 'create') return all(...always, any(bypass('create', scope), ruled(policy.create)), requireActiveCaller(scope))
  const rule = phase === 'after' ? policy.updateTo : ruleOf(policy, action)
  const may = any(bypass(action, scope), ruled(rule))
  if (phase === 'after') return all(...always, may)
  const read = any(bypass('read', { ...scope, writes: false }), compile(policy.read, { ...scope, writes: false }))
  return all(...always, read, may, requireActiveCaller(scope))
}

/** Returns the condition under which admins bypass the rule of an action. */
export function bypass(action: ActionName, scope: Scope): Condition {
  const policy = policyOf(scope.cls)
  const session = callerOf(scope).session(scope)
  if (session === null) return false
  // Rules that name abilities also apply to the API keys of admins.
  if (session.abilities && policyNamesAbilities(action, policy)) return false
  if (!rulesOf(action, policy).every((rule) => allowsSession(rule, session))) return false
  if (action === 'read') return policy.bypass.read ? any(globalRole(scope, [ADMIN]), domainAdmin(scope)) : false
  if (!policy.bypass.write) return false
  const admin = any(globalRole(scope, [ADMIN]), domainAdmin(scope))
  if (admin === false) return false
  return any(globalRole(scope, [SUPERADMIN]), all(admin, excludesAdmins({ ...scope, writes: true })))
}

/** Returns the condition that, when a write runs, the caller is enabled and not deleted, and the session is not revoked. */
export function requireActiveCaller(scope: Scope): Condition {
  const { actor } = scope
  if (!scope.live || !actor) return true
  const tables = userTables()
  const yes = scope.dialect === 'sqlite' ? 1 : true
  const no = scope.dialect === 'sqlite' ? 0 : false
  const { hasIsEnabled, hasDeletedAt } = tables.user
  const user = sql(
    `exists (select 1 from ?? as ?? where ?? = ?${hasIsEnabled ? ' and ?? = ?' : ''}${hasDeletedAt ? ' and ?? is null' : ''})`,
    tables.user.table,
    'perms_me',
    `perms_me.${tables.user.column('id')}`,
    actor.id,
    ...(hasIsEnabled ? [`perms_me.${tables.user.column('isEnabled')}`, yes] : []),
    ...(hasDeletedAt ? [`perms_me.${tables.user.column('deletedAt')}`] : []),
  )
  if (!actor.sessionId) return user
  const session = sql(
    'exists (select 1 from ?? as ?? where ?? = ? and ?? = ?)',
    tables.token.table,
    'perms_session',
    `perms_session.${tables.token.column('id')}`,
    actor.sessionId,
    `perms_session.${tables.token.column('revoked')}`,
    no,
  )
  return all(user, session)
}
