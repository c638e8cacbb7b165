/** Compiles rules to conditions: SQL for the rows of a statement, or a decision about a row in memory. */
import { ConfigurationError } from '../../core/errors.js'
import { isAble } from '../abilities.js'
import { type GlobalScope, policyOf } from '../policy.js'
import { registeredModel } from '../registered-models.js'
import { type AnyRule, type Rule, usesCheck } from '../rules.js'
import { allowsSession } from '../session-part.js'
import { hasProved, isRecent } from '../session-rules.js'
import { ADMIN, holdsUsers, userTables } from '../user-tables.js'
import { whereCondition } from './column-conditions.js'
import { all, any, type Condition, negate, type Sql, sql } from './condition.js'
import { relatedCondition } from './related-conditions.js'
import { excludesAdmins, globalRole, memberCondition, rankCondition, roleCondition } from './role-conditions.js'
import { columnSql, equals, type Scope } from './scope.js'

/** Compiles a rule to a condition over the rows of a scope. The condition is true or false, never NULL. */
export function compile(given: Rule, scope: Scope): Condition {
  const rule = given as AnyRule
  const { actor, policy } = scope
  switch (rule.kind) {
    case 'constant':
      return rule.value
    case 'authenticated':
      return actor !== null
    case 'ability':
      return actor !== null && (actor.abilities === null || isAble(actor.abilities, rule.ability))
    case 'recent':
      return isRecent(actor, rule.seconds)
    case 'factor':
      return hasProved(actor, rule.factor)
    case 'owner':
      if (rule.field === undefined && policy.isUserModel && !policy.ownerField) return isOwnAccount(scope)
      return actor !== null && equals(scope, rule.field ?? policy.ownerField ?? 'userId', actor.id)
    case 'self':
      return isOwnAccount(scope)
    case 'role':
      return roleCondition(rule, scope)
    case 'member':
      return memberCondition(rule, scope)
    case 'where':
      return whereCondition(rule, scope)
    case 'related':
      return relatedCondition(rule, scope, conditionInside)
    case 'rank':
      return rankCondition(scope, rule.joins)
    case 'delegate':
      return delegateCondition(scope)
    case 'anyOf':
      return any(...rule.rules.map((part) => compile(part, scope)))
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

// Returns the condition of an inner rule, with the global scopes of its class.
function conditionInside(rule: Rule, scope: Scope): Condition {
  return all(compile(rule, scope), ...relatedScopes(scope))
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
  if (!field || !scope.actor) return false
  const User = registeredModel('user')
  const depth = scope.depth + 1
  const alias = `perms_u${depth}`
  const policy = policyOf(User)
  const inner: Scope = { ...scope, cls: User, policy, ref: alias, row: undefined, depth, checks: undefined }
  if (usesCheck(policy.updateFrom)) {
    throw new ConfigurationError(
      `${scope.cls.name}.delegateToUser: the update rule of ${User.name} uses check(), which has no form in SQL.`,
    )
  }
  const theirs = any(
    compile(policy.updateFrom, inner),
    inner.policy.bypass.write && allowsSession(policy.updateFrom, scope.actor)
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
  const { actor, cls } = scope
  return actor !== null && holdsUsers(cls) && equals(scope, 'id', actor.id)
}
