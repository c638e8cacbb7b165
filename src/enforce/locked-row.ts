import type { Model, TransactionOrKnex } from 'objection'
import { ForbiddenError, NotFoundError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { rulesOf } from '../policy/abilities.js'
import { holds } from '../policy/compiler/condition.js'
import { scopeOf } from '../policy/compiler/scope.js'
import { authorityFor, currentActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { assertAction, policyOf, ruleOf } from '../policy/policy.js'
import { refusedBy } from '../policy/refusal.js'
import { usesCheck } from '../policy/rules.js'
import { filterReadable } from '../query/query-builder.js'
import { dialectOfClass } from '../record/codec.js'
import { tableOf } from '../schema/class-statics.js'
import { modelClass, valuesByName } from '../schema/model-class.js'
import { allows, scopeFor } from './evaluate.js'
import { mayAct } from './perms-mixin.js'
import { policyObserver } from './policy-observer.js'
import { orStepUp } from './step-up.js'

/** Returns the locked row, or null if the caller may not do the action with it. */
async function lockForAction(row: Model, action: string): Promise<Model | null> {
  const cls = modelClass(row.constructor)
  assertAction(cls, action)
  const authority = authorityFor(cls)
  const query = cls.query().findById(row.$id()).forUpdate()
  if (authority === 'free') return (await query) ?? null
  if (policyObserver.asked) await policyObserver.asked({ cls, action, actor: authority, id: row.$id() })
  const ids = [row.$id()]
  const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls), ref: tableOf(cls), ids, live: true, writes: true })
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

/**
 * Locks a row for an action of its policy, inside the transaction of the caller: no right is withdrawn between check and action.
 *
 * @returns the row as it is now
 * @throws NotFoundError if the caller may not read the row
 * @throws ForbiddenError, InsufficientUserAuthenticationError if the caller may not do the action
 */
export async function lockOrRefuse(row: Model, action: string): Promise<Model> {
  const locked = await lockForAction(row, action)
  if (locked) return locked
  throw await refusalOf(row, action)
}

/** Throws unless the caller may do an action with a row. @throws like lockOrRefuse() */
export async function assertMayAct(row: Model, action: string, trx?: TransactionOrKnex): Promise<void> {
  if (!(await mayAct(row, action, undefined, trx))) throw await refusalOf(row, action, trx)
}

async function refusalOf(row: Model, action: string, trx?: TransactionOrKnex): Promise<Error> {
  const cls = modelClass(row.constructor)
  if (!(await mayAct(row, 'read', undefined, trx)))
    return new NotFoundError(message('row.noneWithId', { model: cls.name }), { refusedRule: refusedBy(cls, 'read') })
  const refusal = new ForbiddenError(message('row.action', { action, model: cls.name }), { refusedRule: refusedBy(cls, action) })
  return await orStepUp<Error>(refusal, rulesOf(action, policyOf(cls)), currentActor(), () => mayAct(row, action, undefined, trx))
}
