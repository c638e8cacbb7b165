import type { Model } from 'objection'
import { holds } from '../policy/compiler/condition.js'
import { scopeOf } from '../policy/compiler/scope.js'
import { authorityFor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { assertAction, policyOf, ruleOf } from '../policy/policy.js'
import { usesCheck } from '../policy/rules.js'
import { filterReadable } from '../query/query-builder.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'
import { modelClass, valuesByName } from '../schema/model-class.js'
import { allows, scopeFor } from './evaluate.js'

/**
 * Locks a row for an action of its policy, inside the transaction of the caller: no right is withdrawn between check and action.
 *
 * @returns the row as it is now, or null if the caller may not do the action with it
 */
export async function lockForAction(row: Model, action: string): Promise<Model | null> {
  const cls = modelClass(row.constructor)
  assertAction(cls, action)
  const authority = authorityFor(cls)
  const query = cls.query().findById(row.$id()).forUpdate()
  if (authority === 'free') return (await query) ?? null
  const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls), ref: tableOf(cls), live: true, writes: true })
  const condition = effective(action, scope, { withDeleted: false })
  if (condition === false) return null
  if (condition !== true) filterReadable(query, condition)
  const locked = await query
  const rule = ruleOf(policyOf(cls), action)
  if (!locked || !usesCheck(rule)) return locked ?? null
  const db = cls.knex()
  const decided = await allows({ cls, db }, rule, valuesByName(locked), scopeFor({ cls, ref: scope.ref }, authority), action)
  return (await holds(db, decided)) ? locked : null
}
