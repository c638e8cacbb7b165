/** Decides which actions a caller may do with the rows of a query. */
import type { Model } from 'objection'
import { ForbiddenError } from '../core/errors.js'
import { authorityFor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { assertAction, decidingAction, policyOf, ruleOf } from '../policy/policy.js'
import { usesCheck } from '../policy/rules.js'
import type { AllowedFlag, QueryHandle } from '../query/policy-enforcer.js'
import { valuesByName } from '../schema/model-class.js'
import { allows, scopeFor } from './evaluate.js'

/** Checks the names of actions. @throws ConfigurationError */
export function assertRowActions(cls: typeof Model, actions: readonly string[]): void {
  for (const action of actions) assertAction(cls, action)
}

/** Returns for which rows of a statement the caller may do each action. The same conditions decide as in `row.can()`. */
export function allowedFlags(builder: QueryHandle, actions: readonly string[]): AllowedFlag[] {
  const { cls } = builder
  const authority = authorityFor(cls)
  const policy = policyOf(cls)
  return actions.map((asked) => {
    const action = decidingAction(policy, asked)
    if (authority === 'free') return { action: asked, condition: true, usesCheck: false }
    const scope = scopeFor(builder, authority, { writes: action !== 'read' })
    const condition = effective(action, scope, { withDeleted: (asked === 'read' || asked === 'restore') && builder.withDeleted })
    return { action: asked, condition, usesCheck: action !== 'read' && usesCheck(ruleOf(policy, action)) }
  })
}

/** Returns whether the check() rules of an action allow it for a row. A check() that throws denies it. */
export async function passesChecks(builder: QueryHandle, asked: string, row: Model): Promise<boolean> {
  const { cls, db } = builder
  const action = decidingAction(policyOf(cls), asked)
  const authority = authorityFor(cls)
  if (authority === 'free') return true
  const scope = scopeFor(builder, authority, { writes: true })
  try {
    return (await allows({ cls, db }, ruleOf(policyOf(cls), action), valuesByName(row), scope, action)) !== false
  } catch (error) {
    if (error instanceof ForbiddenError) return false
    throw error
  }
}
