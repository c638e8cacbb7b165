/** Asks for a fresh session where only that is missing for a refused write (RFC 9470). */
import type { Model } from 'objection'
import { ForbiddenError, PermsError } from '../core/errors.js'
import { runMaybeAsync } from '../core/maybe-async.js'
import { rulesOf } from '../policy/abilities.js'
import type { ActionName } from '../policy/actions.js'
import { all, holds } from '../policy/compiler/condition.js'
import { type Actor, withActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { rulesOfFields } from '../policy/fields.js'
import { type FreshSession, freshSessions } from '../policy/fresh-session.js'
import { policyOf, ruleOf } from '../policy/policy.js'
import type { Rule } from '../policy/rules.js'
import type { Execution, QueryHandle, WriteOperation } from '../query/policy-enforcer.js'
import { type Befores, beforesOf } from './before-rules.js'
import { checkChange, withExecution } from './changes.js'
import { newWriteSession, runChecks, scopeFor, setNames, touches, valuesOf, withRaws } from './evaluate.js'
import { checkInserts } from './inserts.js'
import { deletionActions, deletionColumns } from './updates.js'

/**
 * Returns the error of a refused write: the given one, or one that asks for a fresh session, if that would suffice.
 *
 * @param suffices returns whether the write is allowed. It runs as the caller with a fresh session, and may throw refusals
 */
export function orStepUp<E>(
  error: E,
  rules: readonly Rule[],
  actor: Actor | null,
  suffices: (fresh: Actor) => Promise<boolean>,
): E | Promise<E | Error> {
  if (!(error instanceof ForbiddenError)) return error
  const sessions = freshSessions(rules, actor)
  return sessions.length === 0 ? error : firstSufficient(error, sessions, suffices)
}

async function firstSufficient<E>(
  error: E,
  sessions: readonly FreshSession[],
  suffices: (fresh: Actor) => Promise<boolean>,
): Promise<E | Error> {
  for (const fresh of sessions) if (await withActor(fresh.actor, () => suffices(fresh.actor)).catch(isNoRefusal)) return fresh.error
  return error
}

/** Returns false for a refusal. @throws other errors, such as those of the database */
function isNoRefusal(error: unknown): boolean {
  if (error instanceof PermsError && error.status < 500) return false
  throw error
}

/** Returns the rules that decide about a write to a model: of the action, and of the columns that it sets. */
export function rulesOfWrite(cls: typeof Model, action: ActionName, models: readonly Model[] = []): readonly Rule[] {
  const policy = policyOf(cls)
  const ofColumns =
    action === 'delete' || action === 'restore'
      ? []
      : models.flatMap((model) => rulesOfFields(cls, withRaws(model), action === 'create').map(({ rule }) => rule))
  const deleting = action === 'update' ? models.filter((model) => touches(setNames(model), deletionColumns(cls))) : []
  const ofDeletion = deleting.flatMap((model) => deletionActions(cls, model).map((one) => ruleOf(policy, one)))
  return [...rulesOf(action, policy), ...ofColumns, ...ofDeletion]
}

/**
 * Does the same as orStepUp() for a write of the query builder.
 *
 * @param rows the number of rows that an update or a delete must be able to write
 */
export function orStepUpForWrite<E>(
  error: E,
  builder: QueryHandle,
  write: WriteOperation,
  actor: Actor | null,
  rows = 1,
): E | Promise<E | Error> {
  const action = write.kind === 'insert' ? 'create' : (builder.execution.action ?? write.kind)
  const mayWrite = (fresh: Actor) =>
    write.kind === 'insert' ? mayInsertAll(builder, write, fresh) : mayChange(builder, write, fresh, rows)
  return orStepUp(error, rulesOfWrite(builder.cls, action, write.models), actor, mayWrite)
}

async function mayInsertAll(builder: QueryHandle, write: WriteOperation, actor: Actor): Promise<boolean> {
  const session = newWriteSession()
  await runMaybeAsync(checkInserts(builder, write, actor, session))
  return await holds(builder.db, all(...session.conditions))
}

async function mayChange(builder: QueryHandle, write: WriteOperation, actor: Actor, count: number): Promise<boolean> {
  const own: Execution = { ids: undefined, action: builder.execution.action, session: undefined }
  const session = newWriteSession()
  await runMaybeAsync(checkChange(withExecution(builder, own), write, actor, session))
  const query = builder.targets(own.action ?? write.kind, session).limit(count)
  if (own.ids) Object.assign(query, { execution: { ids: own.ids, action: own.action ?? write.kind, session } satisfies Execution })
  const found: unknown = await query
  const rows = [found].flat().filter((row) => row !== undefined) as Model[]
  if (rows.length < count) return false
  if (session.recheck === null) return true
  for (const row of rows) {
    const values = { ...valuesOf(row), ...valuesOf(write.models[0]) }
    if (!(await mayBecome(builder, values, actor, beforesOf(session, row.$id())))) return false
  }
  return true
}

/** Returns whether a row may have these values after an update. */
async function mayBecome(builder: QueryHandle, row: Readonly<Record<string, unknown>>, actor: Actor, befores: Befores): Promise<boolean> {
  const checks = await runChecks(policyOf(builder.cls).updateTo, row, actor)
  const scope = scopeFor(builder, actor, { row, writes: true, checks, befores })
  return await holds(builder.db, effective('update', scope, { withDeleted: true }, 'after'))
}
