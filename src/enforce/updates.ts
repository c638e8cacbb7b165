import type { MaybeCompositeId, Model } from 'objection'
import { isDevelopment } from '../core/environment.js'
import { ForbiddenError, MissingReferenceError, NotFoundError, ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'
import { memoize } from '../core/memoize.js'
import { message } from '../core/messages/message.js'
import { compile } from '../policy/compiler/compile.js'
import { all, type Condition, holds, negate, sql } from '../policy/compiler/condition.js'
import { type Scope, tableIn } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { writableFields } from '../policy/fields.js'
import { columnLimits, columnsRead, policyOf, restoreAction, ruleOf } from '../policy/policy.js'
import { wordsWithoutValues } from '../policy/refusal.js'
import { type AnyRule, mentions, type Rule, usesCheck } from '../policy/rules.js'
import type {
  Execution,
  QueryHandle,
  StatementAction,
  UnrestrictedSession,
  WriteOperation,
  WriteSession,
} from '../query/policy-enforcer.js'
import { applicationClassesOf } from '../schema/definition/declarations.js'
import { definitionOf, idProperties } from '../schema/definition/definition.js'
import { type Befores, byResults, judgeBefore, MAX_LOADED_ROWS } from './before-rules.js'
import {
  allows,
  anyColumn,
  idColumns,
  isOneOf,
  missedWriteError,
  rawNames,
  runChecks,
  scopeFor,
  setNames,
  touches,
  type Values,
  valuesOf,
  withRaws,
} from './evaluate.js'
import { checkReferences, referenceFields } from './references.js'

/** The most rows of one update that may be checked after it: the limit of values in a statement. */
const MAX_CHECKED_ROWS = 10_000

/** The session of a query that finds rows whatever the caller may read. */
export const unrestricted: UnrestrictedSession = { kind: 'unrestricted' }

// The columns that decide whether a row may be as it is after an update: rule, global scopes except soft deletion, and owner.
const readAfter = new WeakMap<object, Set<string>>()
export const readAfterUpdate = (cls: typeof Model): Set<string> => memoize(readAfter, cls, () => columnsReadAfterUpdate(cls))

export function columnsReadAfterUpdate(cls: typeof Model): Set<string> {
  const policy = policyOf(cls)
  const names = columnsRead(cls, policy.updateTo)
  for (const globalScope of policy.globalScopes)
    if (globalScope.liftedFor !== 'nobody') for (const name of columnsRead(cls, globalScope.rule)) names.add(name)
  if (policy.ownerField) names.add(policy.ownerField)
  for (const { reads = [] } of policy.limits) for (const name of reads) names.add(name)
  return names
}

/** Returns whether the application overrides a hook, which may set any column. */
export function hasOwnHook(cls: typeof Model, name: '$beforeUpdate' | '$beforeInsert'): boolean {
  return memoize(name === '$beforeUpdate' ? updateHooks : insertHooks, cls, () => findOwnHook(cls, name))
}
const updateHooks = new WeakMap<object, boolean>()
const insertHooks = new WeakMap<object, boolean>()

function findOwnHook(cls: typeof Model, name: '$beforeUpdate' | '$beforeInsert'): boolean {
  return applicationClassesOf(cls).some((c) => Object.hasOwn(c.prototype, name) || Object.hasOwn(c, name.slice(1)))
}

/** Returns the ids of the rows that a rule with check() allows: loads the rows that SQL selects and calls check() for each. */
export async function loadAllowed(builder: QueryHandle, action: StatementAction, rule: Rule, actor: Actor | null): Promise<unknown[]> {
  const loaded: unknown = await builder
    .targets(action)
    .limit(MAX_LOADED_ROWS + 1)
    .forUpdate()
  const rows = Array.isArray(loaded) ? loaded : loaded ? [loaded] : []
  if (rows.length > MAX_LOADED_ROWS) {
    throw new ValidationError(message('row.tooManyLoaded', { model: builder.cls.name, action, limit: MAX_LOADED_ROWS }))
  }
  const ids: unknown[] = []
  for (const row of rows) {
    if ((await allows(builder, rule, valuesOf(row), scopeFor(builder, actor), action)) !== false) ids.push(row.$id())
  }
  return ids
}

// Columns whose new values decide about a write: id, owner, references, and columns of rules, global scopes and limits.
const decisiveColumnsOf = new WeakMap<object, ReadonlySet<string>>()

function decisiveColumns(cls: typeof Model): ReadonlySet<string> {
  return memoize(decisiveColumnsOf, cls, () => {
    const policy = policyOf(cls)
    const ruled = Object.entries(definitionOf(cls).specs).flatMap(([name, { writable }]) => (writable ? [name] : []))
    const limited = policy.limits.flatMap(({ columns = [] }) => columns)
    return new Set([
      ...idProperties(cls),
      ...columnsRead(cls, policy.create),
      ...columnsReadAfterUpdate(cls),
      ...deletionColumns(cls),
      ...ruled,
      ...limited,
    ])
  })
}

/** Returns a function that returns whether the value of a column may decide about a write. */
export function decisiveIn(cls: typeof Model): (name: string) => boolean {
  const names = decisiveColumns(cls)
  const references = referenceFields(cls)
  const isAny = names.has('*')
  return (name) => isAny || names.has(name) || references.has(name)
}

/** Returns whether only its rule decides about an update, not the values that it sets. */
export function onlyRuleDecides(cls: typeof Model, names: readonly string[]): boolean {
  if (usesCheck(policyOf(cls).updateFrom)) return false
  const { specs } = definitionOf(cls)
  const isDecisive = decisiveIn(cls)
  return !names.some((name) => isDecisive(name) || specs[name]?.reference !== undefined)
}

/** Checks an update and stores further conditions in the session. @throws ForbiddenError, NotFoundError, MissingReferenceError */
export function* checkUpdate(
  builder: QueryHandle,
  write: WriteOperation,
  actor: Actor | null,
  session: WriteSession,
): MaybeAsyncSteps<void> {
  const { cls, execution } = builder
  const policy = policyOf(cls)
  const [change] = write.models
  const values = valuesOf(change)
  const names = setNames(change)
  if (onlyRuleDecides(cls, names)) return
  const scope = scopeFor(builder, actor, { live: true, writes: true })
  try {
    const named = yield* checkReferences(builder.db, scopeFor(builder, actor, { row: values }), values, scope)
    const limits = columnLimits(policy, names).map((limit) => limit.condition(scope, 'update', withRaws(change)))
    session.fields = all(writableFields(scope, withRaws(change), false), named, ...limits)
    assertPlainReferences(cls, rawNames(change), policy.ownerField)
    if (setsAnotherId(cls, names, values, write.id)) throw new ForbiddenError(message('row.fixedId', { model: cls.name }))
  } catch (error) {
    // If the caller may not access the row, report that before any problem of the values.
    if (!(error instanceof ForbiddenError || error instanceof MissingReferenceError) || write.id === undefined) throw error
    const reachable: unknown = yield* awaitMaybe(builder.targets('update').select(anyColumn(builder)).limit(1))
    if (Array.isArray(reachable) ? reachable.length > 0 : Boolean(reachable)) throw error
    const why = yield* awaitMaybe(missedWriteError(builder, write, actor))
    if (write.instance || !(why instanceof NotFoundError)) throw why
    // An update by id of an inaccessible row behaves as for a missing row: it changes nothing.
    execution.ids = []
    return
  }
  if (usesCheck(policy.updateFrom)) execution.ids = yield* awaitMaybe(loadAllowed(builder, 'update', policy.updateFrom, actor))
  if (touches(names, deletionColumns(cls))) {
    // An update that deletes or restores a row also needs the rule for that.
    for (const action of deletionActions(cls, change)) {
      const rule = ruleOf(policy, action)
      session.fields = all(session.fields, effective(action, scope, { withDeleted: builder.withDeleted }))
      if (!usesCheck(rule)) continue
      const found = yield* awaitMaybe(loadAllowed(builder, action, rule, actor))
      execution.ids = execution.ids ? inBoth(execution.ids, found) : found
    }
  }
  if (mentions(policy.updateTo, 'before')) {
    session.recheck = execution.ids = yield* awaitMaybe(judgeBefore(builder, actor, session))
    return
  }
  if (!touches(names, readAfterUpdate(cls)) || allowsAnyResult(scopeFor(builder, actor, { writes: true }))) return
  if (write.id !== undefined && execution.ids === undefined) session.recheck = [write.id]
  else {
    execution.ids ??= yield* awaitMaybe(targetIds(builder, session))
    session.recheck = execution.ids
  }
}

/** Returns whether every result of an update is allowed. Always false if check() or before() decides. */
export function allowsAnyResult(scope: Scope): boolean {
  const { updateTo } = policyOf(scope.cls)
  return !usesCheck(updateTo) && !mentions(updateTo, 'before') && effective('update', scope, { withDeleted: true }, 'after') === true
}

/** Returns the actions whose rules decide about an update that sets a column of deletionColumns(): null restores the row. */
export function deletionActions(cls: typeof Model, change: Model | undefined): readonly ('delete' | 'restore')[] {
  const policy = policyOf(cls)
  const restores = restoreAction(policy)
  if (restores === 'delete') return ['delete']
  const columns = [...deletionColumns(cls)]
  const values = valuesOf(change)
  // Raw SQL may set either value.
  if (touches(rawNames(change), deletionColumns(cls))) return ['delete', restores]
  return columns.every((name) => values[name] === null || values[name] === undefined) ? [restores] : ['delete']
}

/** Returns the columns that mark a row as deleted. */
export function deletionColumns(cls: typeof Model): Set<string> {
  return memoize(
    deletions,
    cls,
    () =>
      new Set(
        policyOf(cls)
          .globalScopes.filter(({ liftedFor }) => liftedFor === 'nobody')
          .flatMap(({ rule }) => [...columnsRead(cls, rule)]),
      ),
  )
}
const deletions = new WeakMap<object, Set<string>>()

/** Returns whether an update sets a part of the id to another value than the one that selects the row. */
function setsAnotherId(cls: typeof Model, names: readonly string[], values: Values, id: unknown): boolean {
  const selected = [id].flat()
  return idProperties(cls).some((name, i) => names.includes(name) && (values[name] === undefined || values[name] !== selected[i]))
}

// The id of a composite key is an array, which includes() compares by identity.
function inBoth(ids: readonly unknown[], others: readonly unknown[]): unknown[] {
  const keys = new Set(others.map((id) => JSON.stringify(id)))
  return ids.filter((id) => keys.has(JSON.stringify(id)))
}

function assertPlainReferences(cls: typeof Model, names: readonly string[], ownerField: string | undefined): void {
  const { specs } = definitionOf(cls)
  const bad = names.filter((name) => name === ownerField || specs[name]?.reference || referenceFields(cls).has(name))
  if (bad.length > 0) throw new ForbiddenError(message('row.plain', { fields: bad }))
}

/** Returns the ids of the rows that a write will change, or undefined if they are too many for one statement. */
export async function findTargetIds(builder: QueryHandle, action: StatementAction, session: WriteSession): Promise<unknown[] | undefined> {
  const ids = idColumns(builder.cls).map((column) => `${builder.ref}.${column}`)
  const rows: unknown = await builder
    .targets(action, session)
    .select(...ids)
    .limit(MAX_CHECKED_ROWS + 1)
    .forUpdate()
  const found = (Array.isArray(rows) ? rows : rows ? [rows] : []).map((row) => row.$id() as unknown)
  return found.length > MAX_CHECKED_ROWS ? undefined : found
}

async function targetIds(builder: QueryHandle, session: WriteSession): Promise<unknown[]> {
  const ids = await findTargetIds(builder, 'update', session)
  if (ids) return ids
  throw new ValidationError(message('row.tooManyChecked', { model: builder.cls.name, limit: MAX_CHECKED_ROWS }))
}

/** Checks that the rows of an update satisfy the rule after it. @throws ForbiddenError */
export async function checkAfter(builder: QueryHandle, write: WriteOperation, actor: Actor | null, ids: readonly unknown[]): Promise<void> {
  const { cls, db } = builder
  const policy = policyOf(cls)
  for (let from = 0; from < ids.length; from += MAX_LOADED_ROWS) {
    for (const [befores, some] of byResults(builder, ids.slice(from, from + MAX_LOADED_ROWS))) {
      const areFine = usesCheck(policy.updateTo)
        ? await areAllAllowed(builder, actor, some, befores)
        : !(await holds(db, anyViolates(builder, actor, some, befores)))
      if (!areFine) throw wrongResult(cls, write.kind, await failedRuleOf(builder, actor, some, befores))
    }
  }
}

// The client learns only that the result is not allowed. The rule is for developers.
function wrongResult(cls: typeof Model, kind: string, rule: string): ForbiddenError {
  const clientMessage = message('row.actionTo', { action: kind, model: cls.name })
  const why = `The row after the update does not satisfy ${rule}.`
  // Frameworks without errorHandler() may send the message to clients.
  const text = isDevelopment() ? `${clientMessage} ${why}` : clientMessage
  return new ForbiddenError(text, { clientMessage, cause: why, refusedRule: () => ({ model: cls.name, action: kind, rule: why }) })
}

/** Returns the name and words of the part of a policy that a row does not satisfy after an update. */
async function failedRuleOf(builder: QueryHandle, actor: Actor | null, ids: readonly unknown[], befores: Befores): Promise<string> {
  const { cls, db } = builder
  const { globalScopes, updateTo } = policyOf(cls)
  const fails = (rule: Rule) =>
    holds(
      db,
      anyViolates(builder, actor, ids, befores, (scope) => compile(rule, scope)),
    )
  for (const globalScope of globalScopes) {
    if (globalScope.liftedFor !== 'nobody' && (await fails(globalScope.rule)))
      return `the rule '${globalScope.name}' of ${cls.name}: ${wordsWithoutValues(cls, globalScope.rule)}`
  }
  const rule = updateTo as AnyRule
  const parts = rule.kind === 'allOf' ? rule.rules : []
  for (const part of parts)
    if (!usesCheck(part) && (await fails(part))) return `${cls.name}.policy.update: ${wordsWithoutValues(cls, part)}`
  if (usesCheck(updateTo) || (await fails(updateTo))) return `${cls.name}.policy.update: ${wordsWithoutValues(cls, updateTo)}`
  return `the ranks of users: only users of a higher rank may change admins and their rows`
}

const wholeRule = (scope: Scope) => effective('update', scope, { withDeleted: true }, 'after')

// Returns the condition that one of these rows does not satisfy the rule.
function anyViolates(
  { cls, schema }: QueryHandle,
  actor: Actor | null,
  ids: readonly unknown[],
  befores: Befores,
  conditionOf: (scope: Scope) => Condition = wholeRule,
): Condition {
  const ref = 'perms_row'
  const scope = scopeFor({ cls, ref, schema }, actor, { ids, writes: true, befores })
  const condition = all(isOneOf(cls, ref, ids), negate(conditionOf(scope)))
  if (typeof condition === 'boolean') return condition
  return sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, tableIn(scope, cls), ref, ...condition.bindings)
}

async function areAllAllowed(builder: QueryHandle, actor: Actor | null, ids: readonly unknown[], befores: Befores): Promise<boolean> {
  const { updateTo } = policyOf(builder.cls)
  for (const row of await loadUnrestricted(builder, ids)) {
    const checks = await runChecks(updateTo, valuesOf(row), actor)
    const scope = scopeFor(builder, actor, { row: valuesOf(row), writes: true, checks, befores })
    if (!(await holds(builder.db, effective('update', scope, { withDeleted: true }, 'after')))) return false
  }
  return true
}

// Loads the rows without the read rule, because the caller may no longer read them.
function loadUnrestricted(builder: QueryHandle, ids: readonly unknown[]): Promise<Model[]> {
  const query = builder.query(builder.cls).findByIds([...ids] as MaybeCompositeId[])
  const execution: Execution = { ids: undefined, action: undefined, session: unrestricted }
  Object.assign(query, { execution })
  return query.execute()
}
