import type { Model } from 'objection'
import { ConfigurationError, ForbiddenError, NotFoundError, PermsError, UnauthorizedError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { methodOf, type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import type { Action } from '../policy/actions.js'
import { globalScopeConditions } from '../policy/compiler/compile.js'
import { all, type Condition } from '../policy/compiler/condition.js'
import { scopeOf } from '../policy/compiler/scope.js'
import { type Actor, authorityFor, currentActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { writableFields } from '../policy/fields.js'
import { policyOf, restoreAction, ruleOf } from '../policy/policy.js'
import { refusedBy } from '../policy/refusal.js'
import { modelWithoutLimits } from '../policy/registered-models.js'
import { mentions, usesCheck } from '../policy/rules.js'
import { isUserTable } from '../policy/user-tables.js'
import { pendingProof, UnprovenCallerError } from '../query/caller-proof.js'
import { snapshotOfRow } from '../query/objection-internals.js'
import type {
  AffectedRowsSession,
  Execution,
  PolicyEnforcer,
  QueryHandle,
  StatementAction,
  WriteOperation,
  WriteSession,
} from '../query/policy-enforcer.js'
import { dialectOfClass } from '../record/codec.js'
import { writtenNames } from '../record/written-names.js'
import { tableOf } from '../schema/class-statics.js'
import { allowedFlags, assertRowActions, passesChecks } from './allowed.js'
import { checkChange, needsIdsForHook, withExecution } from './changes.js'
import {
  isCallerActive,
  isOneOf,
  missedWriteError,
  newWriteSession,
  scopeFor,
  setNames,
  touches,
  withRaws,
  writeSessionOf,
} from './evaluate.js'
import { addInsertConditions, checkInserts, isFailedInsertCondition } from './inserts.js'
import { lookUpKeys } from './key-queries.js'
import { knownIds } from './known-ids.js'
import { namesRows, referenceFields } from './references.js'
import { addCondition, addRule } from './restrict.js'
import { orStepUp, orStepUpForWrite } from './step-up.js'
import { allowsAnyResult, checkAfter, deletionColumns, hasOwnHook, onlyRuleDecides, readAfterUpdate, unrestricted } from './updates.js'
import { checkWritten } from './written-values.js'

/** A check of writes that applies to every caller, for example that the last superadmin stays. */
export interface WriteCheck {
  concerns(cls: typeof Model, write: WriteOperation): boolean
  before(builder: QueryHandle, write: WriteOperation): Promise<void>
  after(builder: QueryHandle, write: WriteOperation): Promise<void>
}

const writeChecks: WriteCheck[] = []

/** Adds a check that applies to every caller, including asSystem(). */
export function addWriteCheck(check: WriteCheck): void {
  writeChecks.push(check)
}

const noChecks: readonly WriteCheck[] = []

function checksOf({ cls }: QueryHandle, write: WriteOperation): readonly WriteCheck[] {
  // Most writes concern no check: they allocate nothing.
  return writeChecks.some((check) => check.concerns(cls, write)) ? writeChecks.filter((check) => check.concerns(cls, write)) : noChecks
}

/** Called after the statement of each write, for every caller. Must not throw. */
export type WriteListener = (builder: QueryHandle, write: WriteOperation) => void

const writeListeners: WriteListener[] = []

/** Adds a listener. Unlike a write check, it adds no transaction and no statement to a write. */
export function addWriteListener(listener: WriteListener): void {
  writeListeners.push(listener)
}

/** Returns whether the rules of any model may apply to the running code. Code without a context counts as restricted if it is refused. */
export function isEnforcedAnywhere(): boolean {
  try {
    return authorityFor(null) !== 'free'
  } catch {
    return true
  }
}

/** The PolicyEnforcer of all models with a policy. */
export const policyEnforcer: PolicyEnforcer = {
  isFree(cls) {
    return authorityFor(cls) === 'free' && !policyOf(cls).globalScopes.some((one) => one.liftedFor === 'nobody')
  },

  isEnforced(cls) {
    return authorityFor(cls) !== 'free'
  },

  isEnforcedAnywhere,

  caller: currentActor,

  checkTruncate(cls) {
    const all: WriteOperation = { kind: 'delete', models: [], instance: null, id: undefined, isNarrowed: false }
    if (writeChecks.some((check) => check.concerns(cls, all)))
      throw new ConfigurationError(`${cls.name}: truncate() would skip the checks that protect its rows. Use query().delete().`)
  },

  restrict(builder, statement, kind) {
    if (builder.execution.session?.kind === 'unrestricted') return
    const authority = authorityFor(builder.cls)
    if (authority === 'free') {
      if (kind === 'insert') return
      const scope = scopeFor(builder, null)
      const { ids } = builder.execution
      const only = ids === undefined ? true : isOneOf(builder.cls, builder.ref, ids)
      const rule = all(...globalScopeConditions(scope, { free: true, withDeleted: builder.withDeleted }), only)
      return addRule(statement, rule, builder.readableFilters, scope.dialect)
    }
    checkSchema(builder, statement, kind)
    if (kind !== 'read') checkLimits(builder)
    const { session: stored } = builder.execution
    if (stored?.kind === 'affected') {
      const rows = conditionOf(stored, builder, kind as Action, authority)
      return addRule(statement, rows, builder.readableFilters, dialectOfClass(builder.cls))
    }
    const session = writeSessionOf(stored)
    if (session && (methodOf(statement) === 'insert' || methodOf(statement) === 'update')) checkWritten(builder, statement, session.models)
    if (kind === 'insert') return addInsertConditions(builder, statement, session)
    // beforeWrite() did not run because its bypass has expired: update nothing.
    if (!session && methodOf(statement) === 'update') return addCondition(statement, false)
    const writes = kind !== 'read'
    const scope = scopeFor(builder, authority, { live: writes, writes, ids: knownIds(builder, statement) })
    const { ids } = builder.execution
    const only = ids === undefined ? true : isOneOf(builder.cls, builder.ref, ids)
    const rule = all(effective(kind, scope, { withDeleted: builder.withDeleted }), session?.fields ?? true, only)
    addRule(statement, rule, builder.readableFilters, scope.dialect)
  },

  needsTransaction({ cls, execution, schema }, write) {
    if (!write) return false
    if (writeChecks.some((check) => check.concerns(cls, write))) return true
    const authority = authorityFor(cls)
    if (authority === 'free') return false
    const policy = policyOf(cls)
    const scope = () => scopeOf(cls, authority, { dialect: dialectOfClass(cls), ref: 't', schema })
    if (write.kind === 'insert') {
      if (usesCheck(policy.create) || mentions(policy.create, 'related')) return true
      return hasOwnHook(cls, '$beforeInsert') || write.models.some((model) => namesRows(scope(), withRaws(model)))
    }
    const action = execution.action ?? write.kind
    if (usesCheck(ruleOf(policy, action)) || needsIdsForHook(cls, write, execution.action)) return true
    if (action !== 'update') return false
    const [change] = write.models
    const names = setNames(change)
    if (!hasOwnHook(cls, '$beforeUpdate') && onlyRuleDecides(cls, names)) return false
    if ((usesCheck(policy.delete) || usesCheck(ruleOf(policy, restoreAction(policy)))) && touches(names, deletionColumns(cls))) return true
    if (namesRows(scope(), withRaws(change))) return true
    if (!hasOwnHook(cls, '$beforeUpdate') && !touches(names, readAfterUpdate(cls))) return false
    return !allowsAnyResult({ ...scope(), writes: true })
  },

  beforeWrite(builder, write) {
    const checks = checksOf(builder, write)
    const authority = authorityFor(builder.cls)
    if (checks.length === 0 && authority === 'free') return undefined
    return runMaybeAsync(checkBefore(builder, write, authority, checks)) as Promise<void> | undefined
  },

  affected(builder, write, isSent) {
    const { execution } = builder
    if (authorityFor(builder.cls) === 'free') return { ids: undefined, action: undefined, session: undefined }
    if (write.kind === 'insert') return { ids: undefined, action: undefined, session: unrestricted }
    const ids = isSent ? (execution.ids ?? writeSessionOf(execution.session)?.recheck ?? undefined) : undefined
    return { ids, action: execution.action ?? write.kind, session: { kind: 'affected', write, isKnown: ids !== undefined } }
  },

  async narrow(execution, builder, write) {
    const authority = authorityFor(builder.cls)
    if (authority === 'free') return
    const own: Execution = { ids: undefined, action: execution.action, session: undefined }
    const place = withExecution(builder, own)
    const session = newWriteSession()
    try {
      await runMaybeAsync(checkChange(place, write, authority, session))
      execution.ids = own.ids
      execution.session = session
    } catch (error) {
      if (!(error instanceof PermsError)) throw error
      // The write will be rejected, unless a hook changes its values.
      execution.ids = []
      execution.session = session
    }
  },

  afterWrite(builder, write, result) {
    for (const listener of writeListeners) listener(builder, write)
    const checks = checksOf(builder, write)
    const authority = authorityFor(builder.cls)
    const affected = typeof result === 'number' ? result : Array.isArray(result) ? result.length : result ? 1 : 0
    const recheck = writeSessionOf(builder.execution.session)?.recheck ?? null
    const changedNothing = write.kind !== 'insert' && affected === 0
    if (!changedNothing && !recheck && checks.length === 0) return undefined
    return checkResult(builder, write, { authority, changedNothing, recheck, checks })
  },

  async orStepUp(builder, write, error, rows) {
    const authority = authorityFor(builder.cls)
    return authority === 'free' ? error : await orStepUpForWrite(error, builder, write, authority, rows)
  },

  assertActions: assertRowActions,

  allowedFlags,

  passesChecks,

  async translate(builder, write, error) {
    const isOpen = undetermined.delete(error as object)
    if (!isOpen && (write?.kind !== 'insert' || !isFailedInsertCondition(error))) return error
    // A caller who had to be proven is loaded now.
    if (pendingProof()) return new UnprovenCallerError()
    const authority = authorityFor(builder.cls)
    if (authority === 'free') return error
    const refusedRule = refusedBy(builder.cls, 'create', { actor: authority })
    const why = new ForbiddenError(message('row.createRightsChanged', { model: builder.cls.name }), { refusedRule })
    try {
      return (await isCallerActive(builder, authority)) ? why : new UnauthorizedError(message('session.ended'))
    } catch {
      // PostgreSQL rejects queries in a failed transaction. The caller of translate() asks again after the rollback.
      undetermined.add(why)
      return why
    }
  },
}

function* checkBefore(
  builder: QueryHandle,
  write: WriteOperation,
  authority: Actor | null | 'free',
  checks: readonly WriteCheck[],
): MaybeAsyncSteps<void> {
  for (const check of checks) yield* awaitMaybe(check.before(builder, write))
  if (authority === 'free') return
  const session = newWriteSession()
  builder.execution.session = session
  try {
    if (write.kind === 'insert') {
      for (const model of write.models) yield* lookUpKeys(model, referenceFields(builder.cls), builder.db)
      yield* checkInserts(builder, write, authority, session)
    } else yield* checkChange(builder, write, authority, session)
  } catch (error) {
    throw yield* awaitMaybe(orStepUpForWrite(error, builder, write, authority))
  }
  // onBuild() could still change the rows.
  session.models = write.models.map(snapshotOfRow)
}

/** Returns the condition of the rows that a write changes. @throws ConfigurationError if check() decides about them */
function conditionOf({ write, isKnown }: AffectedRowsSession, builder: QueryHandle, action: Action, actor: Actor | null): Condition {
  const { ids } = builder.execution
  const only = ids === undefined ? true : isOneOf(builder.cls, builder.ref, ids)
  if (isKnown) return only
  const { cls } = builder
  const policy = policyOf(cls)
  if (usesCheck(ruleOf(policy, action)))
    throw new ConfigurationError(
      `${cls.name}: check() decides which rows change. It runs only when asFindQuery() itself is awaited: await it and use its rows.`,
    )
  const scope = scopeFor(builder, actor, { live: true, writes: true })
  const fields = action === 'update' ? writableFields(scope, withRaws(write.models[0]), false) : true
  return all(effective(action, scope, { withDeleted: builder.withDeleted }), fields, only)
}

interface WriteOutcome {
  readonly authority: Actor | null | 'free'
  /** Whether the statement changed no row. */
  readonly changedNothing: boolean
  readonly recheck: WriteSession['recheck']
  readonly checks: readonly WriteCheck[]
}

async function checkResult(
  builder: QueryHandle,
  write: WriteOperation,
  { authority, changedNothing, recheck, checks }: WriteOutcome,
): Promise<void> {
  const isNamed = write.instance !== null || (authority !== 'free' && write.id !== undefined)
  if (changedNothing && isNamed && (write.kind === 'delete' || writtenNames(write.models[0] ?? {}).length > 0)) {
    if (authority === 'free') {
      if (write.isNarrowed) return
      throw new NotFoundError(message('row.noneWithId', { model: builder.cls.name }))
    }
    const error = await orStepUpForWrite(await missedWriteError(builder, write, authority), builder, write, authority)
    // An update by id of a row that the caller may not access looks like a missing row: Objection returns 0.
    if ((write.instance && !write.isNarrowed) || !(error instanceof NotFoundError)) throw error
    return
  }
  if (authority !== 'free' && recheck) await checkAfterOrStepUp(builder, write, authority, recheck)
  for (const check of checks) await check.after(builder, write)
}

async function checkAfterOrStepUp(
  builder: QueryHandle,
  write: WriteOperation,
  actor: Actor | null,
  ids: readonly unknown[],
): Promise<void> {
  try {
    await checkAfter(builder, write, actor, ids)
  } catch (error) {
    const rules = [policyOf(builder.cls).updateTo]
    throw await orStepUp(error, rules, actor, (fresh) => checkAfter(builder, write, fresh, ids).then(() => true))
  }
}

/** @throws ConfigurationError if the statement uses another schema than its rules, which use that of withSchema() */
export function checkSchema({ cls, schema }: QueryHandle, statement: OpenKnexBuilder, kind: StatementAction): void {
  const actual = singlePartsOf(statement).schema as string | undefined
  if (actual !== schema)
    throw new ConfigurationError(
      `${cls.name}: the statement uses the schema '${actual ?? 'of the connection'}', but its rules use '${schema ?? 'that of the connection'}'. Call withSchema() once, on query().`,
    )
  const table = tableOf(cls)
  if (schema !== undefined && kind !== 'read' && isUserTable(table))
    throw new ConfigurationError(
      `${cls.name}: withSchema('${schema}') cannot write users, roles, domains or tokens, which the library reads from the connection's own schema. Leave withSchema() out, or use Model.knexQuery() inside asSystem().`,
    )
}

/** @throws ConfigurationError when the class writes a table of the library without the limits of the model that it belongs to */
function checkLimits({ cls, db }: QueryHandle): void {
  const owner = modelWithoutLimits(cls, db)
  if (owner)
    throw new ConfigurationError(
      `${cls.name} writes the table of ${owner.name} without its limits. Extend ${owner.name}, or write inside asSystem().`,
    )
}

// Errors whose cause could not be determined inside a failed transaction.
const undetermined = new WeakSet<object>()
