import { apiKeyAllows, policyNamesAbilities } from './abilities.js'
import { compile, domainAdmin, excludesAdmins, globalRole, globalScopeConditions, type Scope } from './compile.js'
import { all, any, type Condition, sql } from './condition.js'
import { type Action, policyOf, type WriteLimit } from './policy.js'
import { type Rule, usesCheck } from './rules.js'
import { ADMIN, SUPERADMIN, userTables } from './user-tables.js'

export interface Options {
  readonly withDeleted: boolean
  /** Takes rules with check() for false, since nobody knows what the code goes by. */
  readonly withoutChecks?: boolean
}

/**
 * What must hold for a row so that the scope's actor may do this with it: rule or bypass, and every guard; for update
 * and delete also that the row may be read.
 *
 * @param phase of an update: the row as it is, or as it will be
 */
export function effective(action: Action, scope: Scope, options: Options, phase: 'before' | 'after' = 'before'): Condition {
  return all(permitted(action, scope, options, phase), limited(action, scope))
}

/** What the limits of the class ask of every such write, whatever the policy says. */
export function limited(action: Action, scope: Scope): Condition {
  if (action === 'read' || scope.policy.limits.length === 0) return true
  const isAsked = ({ on, columns }: WriteLimit) => on.includes(action) && (action !== 'update' || columns === undefined)
  return all(...scope.policy.limits.filter(isAsked).map((limit) => limit.condition(scope, action, scope.row ?? {})))
}

/** The same without the limits: policy, bypass and guards. */
export function permitted(action: Action, scope: Scope, options: Options, phase: 'before' | 'after' = 'before'): Condition {
  if (phase === 'before' && !apiKeyAllows(action, scope.cls, policyOf(scope.cls), scope.actor)) return false
  const guards = globalScopeConditions(scope, { free: false, withDeleted: options.withDeleted || phase === 'after' || action === 'create' })
  const policy = policyOf(scope.cls)
  const ruled = (rule: Rule): Condition => !(options.withoutChecks && usesCheck(rule)) && compile(rule, scope)
  if (action === 'read') return all(...guards, any(bypass('read', scope), compile(policy.read, scope)))
  if (action === 'create') return all(...guards, any(bypass('create', scope), ruled(policy.create)), requireActiveCaller(scope))
  const rule = action === 'delete' ? policy.delete : phase === 'after' ? policy.updateTo : policy.updateFrom
  const may = any(bypass(action, scope), ruled(rule))
  if (phase === 'after') return all(...guards, may)
  const read = any(bypass('read', { ...scope, writes: false }), compile(policy.read, { ...scope, writes: false }))
  return all(...guards, read, may, requireActiveCaller(scope))
}

/** What lets admins past the rule of an action. */
export function bypass(action: Action, scope: Scope): Condition {
  const policy = policyOf(scope.cls)
  if (!scope.actor) return false
  // What a policy says of keys binds an admin's key too.
  if (scope.actor.abilities && policyNamesAbilities(action, policy)) return false
  if (action === 'read') return policy.bypass.read ? any(globalRole(scope, [ADMIN]), domainAdmin(scope)) : false
  if (!policy.bypass.write) return false
  const admin = any(globalRole(scope, [ADMIN]), domainAdmin(scope))
  if (admin === false) return false
  return any(globalRole(scope, [SUPERADMIN]), all(admin, excludesAdmins({ ...scope, writes: true })))
}

/** Whether the actor is past every rule of a kind of action as a global admin, for field rules. */
export function isAdminHere(scope: Scope): boolean {
  return scope.policy.bypass.write && !scope.actor?.abilities && globalRole({ ...scope, live: false }, [ADMIN]) === true
}

/** In a write: the caller is still enabled and alive, and the session not revoked, when the statement runs. */
export function requireActiveCaller(scope: Scope): Condition {
  const { actor } = scope
  if (!scope.live || !actor) return true
  const tables = userTables()
  const yes = scope.dialect === 'sqlite' ? 1 : true
  const no = scope.dialect === 'sqlite' ? 0 : false
  const user = sql(
    `exists (select 1 from ?? as ?? where ?? = ? and ?? = ?${tables.user.hasDeletedAt ? ' and ?? is null' : ''})`,
    tables.user.table,
    'perms_me',
    'perms_me.id',
    actor.id,
    'perms_me.is_enabled',
    yes,
    ...(tables.user.hasDeletedAt ? ['perms_me.deleted_at'] : []),
  )
  if (!actor.sessionId) return user
  const session = sql(
    'exists (select 1 from ?? as ?? where ?? = ? and ?? = ?)',
    tables.token.table,
    'perms_session',
    'perms_session.id',
    actor.sessionId,
    'perms_session.revoked',
    no,
  )
  return all(user, session)
}
