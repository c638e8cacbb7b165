import { type Model, Model as PlainModel } from 'objection'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'
import type { Actor } from '../policy/context.js'
import { columnsRead, policyOf, ruleOf } from '../policy/policy.js'
import { usesCheck } from '../policy/rules.js'
import type { Execution, QueryHandle, StatementAction, WriteOperation, WriteSession } from '../query/policy-enforcer.js'
import { setNames, touches } from './evaluate.js'
import { lookUpKeys } from './key-queries.js'
import { referenceFields } from './references.js'
import { checkUpdate, findTargetIds, loadAllowed } from './updates.js'

/** Checks an update or a delete before its statement, and stores further conditions in the session. @throws like checkUpdate */
export function* checkChange(
  builder: QueryHandle,
  write: WriteOperation,
  actor: Actor | null,
  session: WriteSession,
): MaybeAsyncSteps<void> {
  const policy = policyOf(builder.cls)
  const { action, ids: checked } = builder.execution
  for (const model of write.models) yield* lookUpKeys(model, referenceFields(builder.cls), builder.db)
  const deciding = action ?? write.kind
  if (deciding === 'update') yield* checkUpdate(builder, write, actor, session)
  else if (usesCheck(ruleOf(policy, deciding)))
    builder.execution.ids = yield* awaitMaybe(loadAllowed(builder, deciding, ruleOf(policy, deciding), actor))
  // A write check has locked the rows that it judged: no other row is written.
  if (checked !== undefined) builder.execution.ids = bothOf(checked, builder.execution.ids)
  if (needsIdsForHook(builder.cls, write, action) && builder.execution.ids === undefined)
    builder.execution.ids = yield* awaitMaybe(findTargetIds(builder, deciding, session))
}

function bothOf(checked: readonly unknown[], found: readonly unknown[] | undefined): readonly unknown[] {
  if (found === undefined || found === checked) return checked
  const known = new Set(checked.map(String))
  return found.filter((id) => known.has(String(id)))
}

/** Returns whether a static afterUpdate() may look for rows that the update moved out of the rule that found them. */
export function needsIdsForHook(cls: typeof Model, write: WriteOperation, action: StatementAction | undefined): boolean {
  if (write.kind !== 'update' || cls.afterUpdate === PlainModel.afterUpdate) return false
  return (action !== undefined && action !== 'update') || touches(setNames(write.models[0]), columnsRead(cls, policyOf(cls).updateFrom))
}

/** Returns the same query with another state, for a check that must not change the state of the query. */
export function withExecution(builder: QueryHandle, execution: Execution): QueryHandle {
  const { cls, ref, schema, db, withDeleted, context, readableFilters } = builder
  return {
    ...{ cls, ref, schema, db, withDeleted, context, readableFilters, execution },
    targets: (action, session) => builder.targets(action, session),
    query: (other) => builder.query(other),
  }
}
