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
import { explainRow, type RowExplanation } from './explain/explain-row.js'
import type { Explanation } from './explain/explanation.js'

/**
 * Returns the effect of a policy for a user: the SQL that the database gets, and the rule in words. With a row, returns a promise of
 * the answer for that row as well: which parts of the policy hold, and the smallest changes that would change the answer.
 *
 * It is for developers and operators: it shows grants, columns and related rows to whoever reads its result.
 *
 * @param action one of the four, or a key of the policy such as 'publish'
 * @param actor a user with loaded roles, or the actor that perms.authenticate() returned; null for an anonymous caller
 * @param row a row of the model, by its id: the values in the database decide. For 'create', the new row that is not saved yet.
 * @example console.log(explain(Critter, 'read', user).statement)
 * @example console.log(formatExplanation(await explain(Critter, 'update', user, critter), 'text'))
 * @throws RolesNotLoadedError, ConfigurationError before initPerms, for a row without an id and for a row of another model
 */
export function explain(model: abstract new (...args: never[]) => Model, action: ActionName, actor: UserLike | null): Explanation
export function explain<M extends Model>(
  model: abstract new (...args: never[]) => M,
  action: ActionName,
  actor: UserLike | Actor | null,
  row: M,
): Promise<RowExplanation>
export function explain(
  model: abstract new (...args: never[]) => Model,
  action: ActionName,
  actor: UserLike | Actor | null,
  row?: Model,
): Explanation | Promise<RowExplanation> {
  const cls = model as typeof Model
  assertAction(cls, action)
  const effect = effectOf(cls, action, actorOf(actor))
  return row === undefined ? effect : explainRow(effect, { cls, action }, actor, row)
}

function effectOf(cls: typeof Model, action: ActionName, caller: Actor | null): Explanation {
  const policy = policyOf(cls)
  const table = tableOf(cls)
  const knex = cls.knex()
  if (!knex) throw new ConfigurationError('explain() needs a database. Call initPerms({ knex, ... }) first.')
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
