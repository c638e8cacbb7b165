import type { Condition } from './compiler/condition.js'
import { domainAdmin, globalRole } from './compiler/role-conditions.js'
import type { Scope } from './compiler/scope.js'
import type { Rule } from './rules.js'
import { allowsSession } from './session-part.js'
import { ADMIN } from './user-tables.js'

export { bypass, effective, limited, type Options, permitted, requireActiveCaller } from './compiler/compile.js'

/** Returns whether the actor bypasses the limits of the library as a global admin. */
export function isAdminHere(scope: Scope): boolean {
  return scope.policy.bypass.write && !scope.actor?.abilities && isGlobalAdmin(scope)
}

/**
 * Returns the condition under which an admin bypasses the rule of a column: in every row as a global admin, and in the rows of the domain
 * as an admin of it. These are the rows in which the rule of the model is bypassed too.
 */
export function fieldBypass(scope: Scope, rule: Rule, action: 'read' | 'write'): Condition {
  if (!scope.policy.bypass[action] || scope.actor?.abilities || !allowsSession(rule, scope.actor)) return false
  return isGlobalAdmin(scope) || domainAdmin(scope)
}

const isGlobalAdmin = (scope: Scope): boolean => globalRole({ ...scope, live: false }, [ADMIN]) === true
