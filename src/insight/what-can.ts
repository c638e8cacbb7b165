import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { actorOf, type UserLike } from '../enforce/perms-mixin.js'
import { type ActionName, crudActions } from '../policy/actions.js'
import { all, any, type Condition } from '../policy/compiler/condition.js'
import { equals, type Scope, scopeOf } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { bypass, effective } from '../policy/effective.js'
import { type Resolved, ruleOf } from '../policy/policy.js'
import { usesCheck } from '../policy/rules.js'
import { words } from '../policy/words.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'
import { modelClass } from '../schema/model-class.js'
import { policiesOf } from './leaves.js'

/** Whether a user can do an action with the rows of a model. */
export interface Permission {
  readonly model: string
  /** 'read', 'create', 'update', 'delete', or a key of the policy such as 'publish'. */
  readonly action: string
  /** 'all': with every row; 'none': with no row; 'some': it depends on the row. */
  readonly rows: 'all' | 'none' | 'some'
  /** The condition in SQL for 'some'. check() has none and counts as true in it. */
  readonly sql: string | undefined
  /** The rule in words. */
  readonly words: string
}

/**
 * Returns what a user can do with the rows of models: for each action all, none, or those that satisfy a condition. It evaluates the
 * policies with the loaded roles of the user and reads no rows.
 *
 * It is for developers and operators: it checks no caller, and shows the rules to whoever reads its result.
 *
 * @param user a user with loaded roles, or the actor that perms.authenticate() returned; null for an anonymous caller
 * @throws RolesNotLoadedError, ConfigurationError before initPerms
 * @example console.table(whatCan(user, [Critter, User]))
 */
export function whatCan(
  user: UserLike | Actor | null,
  models: readonly (abstract new (...args: never[]) => Model)[],
): readonly Permission[] {
  const actor = actorOf(user)
  return [...policiesOf(models)].flatMap(([cls, policy]) =>
    [...crudActions, ...policy.named.keys()].map((action) => permissionOf(cls, policy, action, actor)),
  )
}

function permissionOf(cls: typeof Model, policy: Resolved, action: ActionName, actor: Actor | null): Permission {
  const knex = cls.knex()
  if (!knex) throw new ConfigurationError('whatCan() needs a database. Call initPerms({ knex, ... }) first.')
  const scope = scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: tableOf(cls), writes: action !== 'read' })
  const rule = ruleOf(policy, action)
  const condition = all(effective(action, scope, { withDeleted: false }), isOwnRow(policy, action, scope))
  return { model: modelClass(cls).name, action, ...rowsOf(condition, dependsOnMore(policy, action), knex), words: words(rule) }
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

function rowsOf(condition: Condition, dependsOnMore: boolean, knex: Knex): Pick<Permission, 'rows' | 'sql'> {
  if (condition === false) return { rows: 'none', sql: undefined }
  if (condition === true) return dependsOnMore ? { rows: 'some', sql: 'true' } : { rows: 'all', sql: undefined }
  return { rows: 'some', sql: knex.raw(condition.sql, condition.bindings as Knex.RawBinding[]).toString() }
}
