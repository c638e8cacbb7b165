import { globalRole } from './compiler/role-conditions.js'
import type { Scope } from './compiler/scope.js'
import type { Rule } from './rules.js'
import { allowsSession } from './session-part.js'
import { ADMIN } from './user-tables.js'

export { bypass, effective, limited, type Options, permitted, requireActiveCaller } from './compiler/compile.js'

/** Returns whether the actor bypasses field rules as a global admin. @param rule the field rule; without it, a limit of the library */
export function isAdminHere(scope: Scope, rule?: Rule): boolean {
  return (
    (!rule || allowsSession(rule, scope.actor)) &&
    scope.policy.bypass.write &&
    !scope.actor?.abilities &&
    globalRole({ ...scope, live: false }, [ADMIN]) === true
  )
}
