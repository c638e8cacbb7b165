/** Returns the rights of a caller on the rows of a model, without reading rows. */
import type { Model } from 'objection'
import { type ActionName, crudActions } from '../policy/actions.js'
import { all, any, type Condition } from '../policy/compiler/condition.js'
import { equals, type Scope, scopeOf } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { bypass, effective } from '../policy/effective.js'
import { policyOf, type Resolved, ruleOf } from '../policy/policy.js'
import { type Rule, usesCheck } from '../policy/rules.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'

/** The rows with which a caller can do an action. */
export interface ActionPermission {
  readonly action: ActionName
  /** 'all': with every row; 'none': with no row; 'some': it depends on the row. */
  readonly rows: 'all' | 'none' | 'some'
  /** The rows, as far as SQL can tell: check() counts as true, and the rule after an update is left out. */
  readonly condition: Condition
  readonly rule: Rule
}

/** Returns what a caller can do with the rows of a model, for each action of its policy. */
export function permissionsOf(cls: typeof Model, actor: Actor | null): readonly ActionPermission[] {
  const policy = policyOf(cls)
  return [...crudActions, ...policy.named.keys()].map((action) => permissionOf(cls, policy, action, actor))
}

function permissionOf(cls: typeof Model, policy: Resolved, action: ActionName, actor: Actor | null): ActionPermission {
  const scope = scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: tableOf(cls), writes: action !== 'read' })
  const condition = all(effective(action, scope, { withDeleted: false }), isOwnRow(policy, action, scope))
  return { action, rows: rowsOf(condition, dependsOnMore(policy, action)), condition, rule: ruleOf(policy, action) }
}

// A new row belongs to its creator, unless a rule lets the caller create rows for others.
function isOwnRow({ ownerField, createForOthers, isUserModel }: Resolved, action: ActionName, scope: Scope): Condition {
  const { actor } = scope
  if (action !== 'create' || ownerField === undefined || createForOthers || isUserModel || actor === null) return true
  return any(bypass('create', scope), equals(scope, ownerField, actor.id))
}

// The condition does not cover check(), which is code, and the rule about the row after an update.
function dependsOnMore(policy: Resolved, action: ActionName): boolean {
  return usesCheck(ruleOf(policy, action)) || (action === 'update' && policy.updateTo !== policy.updateFrom)
}

function rowsOf(condition: Condition, dependsOnMore: boolean): ActionPermission['rows'] {
  if (condition === true) return dependsOnMore ? 'some' : 'all'
  return condition === false ? 'none' : 'some'
}
