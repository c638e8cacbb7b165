import { type Model, Model as PlainModel } from 'objection'
import { ConfigurationError, ForbiddenError, NotFoundError, PermsError, UnauthorizedError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../core/maybe-async.js'
import { globalScopeConditions, scopeOf } from '../policy/compile.js'
import { all, type Condition } from '../policy/condition.js'
import { type Actor, authorityFor, currentActor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { writableFields } from '../policy/fields.js'
import { type Action, columnsRead, policyOf } from '../policy/policy.js'
import { mentions, usesCheck } from '../policy/rules.js'
import { isUserTable } from '../policy/user-tables.js'
import type {
  AffectedRowsSession,
  Execution,
  GuardedBuilder,
  PolicyEnforcer,
  StatementKind,
  WriteOperation,
  WriteSession,
} from '../query/policy-enforcer.js'
import type { OpenKnexBuilder } from '../query/statement.js'
import { dialectOfClass } from '../record/active-record.js'
import { definitionOf } from '../schema/definition.js'
import {
  changesRow,
  idOf,
  isCallerActive,
  newWriteSession,
  refusal,
  scopeFor,
  setNames,
  touches,
  withRaws,
  writeSessionOf,
} from './evaluate.js'
import { checkInserts, guardInsert, isLostCaller } from './inserts.js'
import { lookUpKeys } from './key-queries.js'
import { namesRows, referenceFields } from './references.js'
import { addCondition, addRule } from './restrict.js'
import {
  checkAfter,
  checkUpdate,
  deletionColumns,
  findTargetIds,
  hasOwnHook,
  isAnyResultFine,
  isJudgedByRuleAlone,
  isOneOf,
  loadAllowed,
  readAfterUpdate,
  unrestricted,
} from './updates.js'
import { checkWritten } from './written-values.js'

/** A further check of writes, for whoever calls: the last superadmin stays, for one. */
export interface WriteCheck {
  concerns(cls: typeof Model, write: WriteOperation): boolean
  before(builder: GuardedBuilder, write: WriteOperation): Promise<void>
  after(builder: GuardedBuilder, write: WriteOperation): Promise<void>
}

const writeChecks: WriteCheck[] = []

/** Adds a check that no caller is past. */
export function addWriteCheck(check: WriteCheck): void {
  writeChecks.push(check)
}

/** Is told of a write after its statement, whoever calls; what it does must not fail. */
export type WriteListener = (builder: GuardedBuilder, write: WriteOperation) => void

const writeListeners: WriteListener[] = []

/** Adds a listener. It needs no transaction, so that it costs a write no statement. */
export function addWriteListener(listener: WriteListener): void {
  writeListeners.push(listener)
}

/** Whether any rule may bind the code that runs now; where nobody is known to be calling, it is refused when a rule would. */
export function isEnforcedAnywhere(): boolean {
  try {
    return authorityFor(null) !== 'free'
  } catch {
    return true
  }
}

/** The permission engine on the query builder. */
export const policyEnforcer: PolicyEnforcer = {
  isFree(cls) {
    return authorityFor(cls) === 'free' && !policyOf(cls).guards.some((one) => one.liftedFor === 'nobody')
  },

  isEnforced(cls) {
    return authorityFor(cls) !== 'free'
  },

  isEnforcedAnywhere,

  caller: currentActor,

  checkTruncate(cls) {
    const all: WriteOperation = { kind: 'delete', models: [], instance: null, id: undefined, isNarrowed: false }
    if (writeChecks.some((check) => check.concerns(cls, all)))
      throw new ConfigurationError(`${cls.name}: truncate() would not ask what keeps its rows; use query().delete().`)
  },

  restrict(builder, statement, kind) {
    if (builder.execution.session?.kind === 'unrestricted') return
    const authority = authorityFor(builder.cls)
    if (authority === 'free') {
      if (kind === 'insert') return
      const scope = scopeFor(builder, null)
      const rule = all(...globalScopeConditions(scope, { free: true, withDeleted: builder.withDeleted }))
      return addRule(statement, rule, builder.readableFilters, scope.dialect)
    }
    checkSchema(builder, statement, kind)
    const { session } = builder.execution
    if (session?.kind === 'affected') {
      const rows = conditionOf(session, builder, kind as Action, authority)
      return addRule(statement, rows, builder.readableFilters, dialectOfClass(builder.cls as never))
    }
    const notes = writeSessionOf(session)
    if (notes && (statement._method === 'insert' || statement._method === 'update')) checkWritten(builder, statement, notes.models)
    if (kind === 'insert') return guardInsert(builder, statement, notes)
    // Nobody has judged what it sets: a bypass that has ended meanwhile covered it.
    if (!notes && statement._method === 'update') return addCondition(statement, false)
    const scope = scopeFor(builder, authority, kind === 'read' ? {} : { live: true, writes: true })
    const { ids } = builder.execution
    const only = ids === undefined ? true : isOneOf(builder.cls, builder.ref, ids)
    const rule = all(effective(kind as Action, scope, { withDeleted: builder.withDeleted }), notes?.fields ?? true, only)
    addRule(statement, rule, builder.readableFilters, scope.dialect)
  },

  needsTransaction({ cls, execution, schema }, write) {
    if (!write) return false
    if (writeChecks.some((check) => check.concerns(cls, write))) return true
    const authority = authorityFor(cls)
    if (authority === 'free') return false
    const policy = policyOf(cls)
    const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls as never), ref: 't', schema })
    if (write.kind === 'insert') {
      if (write.models.some((model) => definitionOf(cls).specs[idOf(cls)] === undefined && !model.$id())) return true
      if (usesCheck(policy.create) || mentions(policy.create, 'related')) return true
      return hasOwnHook(cls, '$beforeInsert') || write.models.some((model) => namesRows(scope, withRaws(model)))
    }
    const isDelete = write.kind === 'delete' || execution.action === 'delete'
    if (usesCheck(isDelete ? policy.delete : policy.updateFrom) || tellsHook(cls, write, execution.action)) return true
    if (isDelete) return false
    const [change] = write.models
    const names = setNames(change)
    if (!hasOwnHook(cls, '$beforeUpdate') && isJudgedByRuleAlone(cls, names)) return false
    if (usesCheck(policy.delete) && touches(names, deletionColumns(cls))) return true
    if (namesRows(scope, withRaws(change))) return true
    if (!hasOwnHook(cls, '$beforeUpdate') && !touches(names, readAfterUpdate(cls))) return false
    return !isAnyResultFine({ ...scope, writes: true })
  },

  beforeWrite(builder, write) {
    const checks = writeChecks.filter((check) => check.concerns(builder.cls, write))
    const authority = authorityFor(builder.cls)
    if (checks.length === 0 && authority === 'free') return undefined
    return runMaybeAsync(judgeBefore(builder, write, authority, checks)) as Promise<void> | undefined
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
    const { cls, ref, schema, db, withDeleted, context, readableFilters } = builder
    const own: Execution = { ids: undefined, action: execution.action, session: undefined }
    const place: GuardedBuilder = {
      ...{ cls, ref, schema, db, withDeleted, context, readableFilters, execution: own },
      targets: (action, noted) => builder.targets(action, noted),
      query: (other) => builder.query(other),
    }
    const notes = newWriteSession()
    try {
      await runMaybeAsync(judgeChange(place, write, authority, notes))
      execution.ids = own.ids
      execution.session = notes
    } catch (error) {
      if (!(error instanceof PermsError)) throw error
      // The write will be refused, unless a hook changes what it sets.
      execution.ids = []
      execution.session = notes
    }
  },

  afterWrite(builder, write, result) {
    for (const listener of writeListeners) listener(builder, write)
    const checks = writeChecks.filter((check) => check.concerns(builder.cls, write))
    const authority = authorityFor(builder.cls)
    const affected = typeof result === 'number' ? result : Array.isArray(result) ? result.length : result ? 1 : 0
    const recheck = writeSessionOf(builder.execution.session)?.recheck ?? null
    const isMissed = write.kind !== 'insert' && affected === 0
    if (!isMissed && !recheck && checks.length === 0) return undefined
    return judgeAfter(builder, write, { authority, isMissed, recheck, checks })
  },

  async translate(builder, write, error) {
    const isOpen = open.delete(error as object)
    if (!isOpen && (write?.kind !== 'insert' || !isLostCaller(error, builder))) return error
    const authority = authorityFor(builder.cls)
    if (authority === 'free') return error
    const why = new ForbiddenError(`You may not create this ${builder.cls.name}: your rights have changed.`)
    try {
      return (await isCallerActive(builder, authority)) ? why : new UnauthorizedError('Your account or session has ended: sign in again.')
    } catch {
      // PostgreSQL answers nothing more in a transaction with a failed statement: whoever rolled it back may ask again.
      open.add(why)
      return why
    }
  },
}

function* judgeBefore(
  builder: GuardedBuilder,
  write: WriteOperation,
  authority: Actor | null | 'free',
  checks: readonly WriteCheck[],
): MaybeAsyncSteps<void> {
  for (const check of checks) yield* awaitMaybe(check.before(builder, write))
  if (authority === 'free') return
  const notes = newWriteSession()
  builder.execution.session = notes
  if (write.kind === 'insert') {
    for (const model of write.models) yield* lookUpKeys(model, referenceFields(builder.cls), builder.db)
    yield* checkInserts(builder, write, authority, notes)
  } else yield* judgeChange(builder, write, authority, notes)
  notes.models = write.models.map(asJudged)
}

function* judgeChange(builder: GuardedBuilder, write: WriteOperation, actor: Actor | null, notes: WriteSession): MaybeAsyncSteps<void> {
  const policy = policyOf(builder.cls)
  const { action } = builder.execution
  for (const model of write.models) yield* lookUpKeys(model, referenceFields(builder.cls), builder.db)
  if (write.kind === 'update' && builder.execution.action !== 'delete') yield* checkUpdate(builder, write, actor, notes)
  else if (usesCheck(policy.delete)) builder.execution.ids = yield* awaitMaybe(loadAllowed(builder, 'delete', policy.delete, actor))
  if (tellsHook(builder.cls, write, action) && builder.execution.ids === undefined)
    builder.execution.ids = yield* awaitMaybe(findTargetIds(builder, action === 'delete' ? 'delete' : 'update', notes))
}

/** Whether a static afterUpdate() may ask for rows that no longer satisfy the rule by which they were found. */
function tellsHook(cls: typeof Model, write: WriteOperation, action: StatementKind | undefined): boolean {
  if (write.kind !== 'update' || cls.afterUpdate === PlainModel.afterUpdate) return false
  return action === 'delete' || touches(setNames(write.models[0]), columnsRead(cls, policyOf(cls).updateFrom))
}

/** Which rows a write changes, as far as SQL tells. @throws ConfigurationError where code has to be asked for each row */
function conditionOf({ write, isKnown }: AffectedRowsSession, builder: GuardedBuilder, action: Action, actor: Actor | null): Condition {
  const { ids } = builder.execution
  const only = ids === undefined ? true : isOneOf(builder.cls, builder.ref, ids)
  if (isKnown) return only
  const { cls } = builder
  const policy = policyOf(cls)
  if (usesCheck(action === 'delete' ? policy.delete : policy.updateFrom))
    throw new ConfigurationError(
      `${cls.name}: check() decides which rows change, and runs only when asFindQuery() itself is awaited. Await it, and pass its rows on.`,
    )
  const scope = scopeFor(builder, actor, { live: true, writes: true })
  const fields = action === 'update' ? writableFields(scope, withRaws(write.models[0]), false) : true
  return all(effective(action, scope, { withDeleted: builder.withDeleted }), fields, only)
}

// onBuild() could still change the rows themselves.
function asJudged(model: Model): Model {
  const { $$queryProps } = model as { $$queryProps?: object }
  return { ...model, $$queryProps } as unknown as Model
}

interface Outcome {
  readonly authority: Actor | null | 'free'
  /** No row was reached. */
  readonly isMissed: boolean
  readonly recheck: WriteSession['recheck']
  readonly checks: readonly WriteCheck[]
}

async function judgeAfter(
  builder: GuardedBuilder,
  write: WriteOperation,
  { authority, isMissed, recheck, checks }: Outcome,
): Promise<void> {
  const isNamed = write.instance !== null || (authority !== 'free' && write.id !== undefined)
  if (isMissed && isNamed && (write.kind === 'delete' || changesRow(write.models[0]))) {
    if (authority === 'free') {
      if (write.isNarrowed) return
      throw new NotFoundError(`There is no ${builder.cls.name} with this id.`)
    }
    const error = await refusal(builder, write, authority)
    // By id alone a row that is not for this caller is one that is not there, and Objection answers that with 0.
    if ((write.instance && !write.isNarrowed) || !(error instanceof NotFoundError)) throw error
    return
  }
  if (authority !== 'free' && recheck) await checkAfter(builder, write, authority, recheck)
  for (const check of checks) await check.after(builder, write)
}

/** The rules look into the schema that withSchema() named. @throws ConfigurationError where the statement reads another one */
export function checkSchema({ cls, schema }: GuardedBuilder, statement: OpenKnexBuilder, kind: StatementKind): void {
  const actual = statement._single.schema as string | undefined
  if (actual !== schema)
    throw new ConfigurationError(
      `${cls.name}: the statement reads the schema '${actual ?? 'of the connection'}' and its rules '${schema ?? 'that of the connection'}': say withSchema() once, on query().`,
    )
  const table = (cls as unknown as { getTableName(): string }).getTableName()
  if (schema !== undefined && kind !== 'read' && isUserTable(table))
    throw new ConfigurationError(
      `${cls.name}: withSchema('${schema}') cannot write users, roles, domains or tokens: the library knows those of the connection's own schema. Leave withSchema() out, or use Model.knexQuery() inside asSystem().`,
    )
}

// Refusals whose cause is not known yet.
const open = new WeakSet<object>()
