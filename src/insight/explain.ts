import type { Knex } from 'knex'
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { actorOf, type UserLike } from '../enforce/perms-mixin.js'
import type { ActionName } from '../policy/actions.js'
import type { Condition } from '../policy/compiler/condition.js'
import { scopeOf } from '../policy/compiler/scope.js'
import { type Actor, enterAsActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { assertAction, policyOf, type Resolved, ruleOf } from '../policy/policy.js'
import { decidingRule, sessionRulesIn } from '../policy/session-part.js'
import { words } from '../policy/words.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'

/** A policy for one action and caller, in SQL and in words. */
export interface Explanation {
  /** The condition in SQL with its values; 'true' for all rows, 'false' for none. */
  readonly sql: string
  /** For reads, the whole statement of the caller's `Model.query()`; else a select of the rows that satisfy the condition. */
  readonly statement: string
  readonly words: string
}

/**
 * Returns the effect of a policy for a user: the SQL that the database gets, and the rule in words.
 *
 * @param action one of the four, or a key of the policy such as 'publish'
 * @param actor a user with loaded roles, or the actor that perms.authenticate() returned; null for an anonymous caller
 * @example console.log(explain(Critter, 'read', user).statement)
 * @throws RolesNotLoadedError, ConfigurationError before initPerms
 */
export function explain(model: abstract new (...args: never[]) => Model, action: ActionName, actor: UserLike | null): Explanation {
  const cls = model as typeof Model
  assertAction(cls, action)
  const policy = policyOf(cls)
  const table = tableOf(cls)
  const knex = cls.knex()
  if (!knex) throw new ConfigurationError('explain() needs a database. Call initPerms({ knex, ... }) first.')
  const caller = actorOf(actor)
  const scope = scopeOf(cls, caller, {
    dialect: dialectOfClass(cls),
    ref: table,
    live: action !== 'read',
    writes: action !== 'read',
  })
  const condition = effective(action, scope, { withDeleted: false })
  const sql =
    typeof condition === 'boolean' ? String(condition) : knex.raw(condition.sql, condition.bindings as Knex.RawBinding[]).toString()
  return { sql, statement: statementOf(cls, table, action, caller, condition), words: inWords(cls, action, policy) }
}

function statementOf(cls: typeof Model, table: string, action: ActionName, caller: Actor | null, condition: Condition): string {
  // Builds the query like the caller's own.
  if (action === 'read') return enterAsActor(caller, () => cls.query().toKnexQuery().toString())
  const rows = cls.knex().queryBuilder().from(table).select('*')
  if (typeof condition !== 'boolean') return rows.whereRaw(condition.sql, condition.bindings as Knex.RawBinding[]).toString()
  return (condition ? rows : rows.whereRaw('1 = 0')).toString()
}

function inWords(cls: typeof Model, action: ActionName, policy: Resolved): string {
  const rule = ruleOf(policy, action)
  const parts = [`${action} ${cls.name}: ${words(rule)}`]
  if (action === 'update' && policy.updateTo !== policy.updateFrom) parts.push(`afterwards ${words(policy.updateTo)}`)
  for (const globalScope of policy.globalScopes) parts.push(`and always (${globalScope.name}) ${words(globalScope.rule)}`)
  if (action === 'read' ? policy.bypass.read : policy.bypass.write)
    parts.push(sessionRulesIn(decidingRule(rule)).length > 0 ? 'or a global admin with such a session' : 'or a global admin')
  return parts.join('; ')
}
