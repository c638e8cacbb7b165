import { apiKeyAllows, policyNamesAbilities, rulesOf } from './abilities.js'
import type { ActionName } from './actions.js'
import { compile, globalScopeConditions } from './compiler/compile.js'
import { all, any, type Condition, sql } from './compiler/condition.js'
import { domainAdmin, excludesAdmins, globalRole } from './compiler/role-conditions.js'
import type { Scope } from './compiler/scope.js'
import { policyOf, ruleOf, type WriteLimit } from './policy.js'
import { type Rule, usesCheck } from './rules.js'
import { allowsSession } from './session-part.js'
import { ADMIN, SUPERADMIN, userTables } from './user-tables.js'

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
  const isAsked = ({ on, columns }: WriteLimit) => on.includes(kind) && (kind !== 'update' || columns === undefined)
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
  if (!scope.actor) return false
  // Rules that name abilities also apply to the API keys of admins.
  if (scope.actor.abilities && policyNamesAbilities(action, policy)) return false
  if (!rulesOf(action, policy).every((rule) => allowsSession(rule, scope.actor))) return false
  if (action === 'read') return policy.bypass.read ? any(globalRole(scope, [ADMIN]), domainAdmin(scope)) : false
  if (!policy.bypass.write) return false
  const admin = any(globalRole(scope, [ADMIN]), domainAdmin(scope))
  if (admin === false) return false
  return any(globalRole(scope, [SUPERADMIN]), all(admin, excludesAdmins({ ...scope, writes: true })))
}

/** Returns whether the actor bypasses field rules as a global admin. @param rule the field rule; without it, a limit of the library */
export function isAdminHere(scope: Scope, rule?: Rule): boolean {
  return (
    (!rule || allowsSession(rule, scope.actor)) &&
    scope.policy.bypass.write &&
    !scope.actor?.abilities &&
    globalRole({ ...scope, live: false }, [ADMIN]) === true
  )
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
