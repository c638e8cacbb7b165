import { AssertionError } from 'node:assert'
import type { Model } from 'objection'
import { actorOf, type UserLike } from '../enforce/perms-mixin.js'
import { policyObserver } from '../enforce/policy-observer.js'
import { formatExplanation } from '../insight/explain/format.js'
import { explain } from '../insight/explain.js'
import type { ActionName } from '../policy/actions.js'
import type { Actor } from '../policy/context.js'
import { classOf, valuesByName } from '../schema/model-class.js'

/**
 * Expects that a user may do an action with a row. Else the error shows which parts of the policy fail, and what would change that.
 *
 * @param user a user with loaded roles, or an actor; null for an anonymous caller
 * @param action 'read', 'update', 'delete', or a key of the policy such as 'publish'
 * @throws AssertionError with the explanation
 * @example await expectAllowed(user, 'read', critter)
 */
export async function expectAllowed(user: UserLike | Actor | null, action: ActionName, row: Model): Promise<void> {
  await expectAnswer(true, user, action, row)
}

/**
 * Expects that a user may not do an action with a row. Else the error shows which parts of the policy allow it.
 *
 * @throws AssertionError with the explanation
 * @example await expectRefused(null, 'update', critter)
 */
export async function expectRefused(user: UserLike | Actor | null, action: ActionName, row: Model): Promise<void> {
  await expectAnswer(false, user, action, row)
}

async function expectAnswer(expected: boolean, user: UserLike | Actor | null, action: ActionName, row: Model): Promise<void> {
  if (policyObserver.asked)
    await policyObserver.asked({
      cls: classOf(row),
      action,
      actor: actorOf(user),
      ...(action === 'create' ? { values: valuesByName(row) } : { id: row.$id() }),
    })
  const explanation = await explain(classOf(row), action, user, row)
  if (explanation.allowed === expected) return
  const message = `Expected ${expected ? 'to be allowed' : 'to be refused'}.\n${formatExplanation(explanation, 'text')}`
  throw new AssertionError({ message, actual: explanation.allowed, expected, operator: 'strictEqual', stackStartFn: expectAnswer })
}
