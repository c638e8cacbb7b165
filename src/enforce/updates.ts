import type { Model } from 'objection'
import { ForbiddenError, MissingReferenceError, NotFoundError, ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'
import { memoize } from '../core/memoize.js'
import { compile, type Scope, tableIn } from '../policy/compile.js'
import { all, type Condition, holds, negate, sql } from '../policy/condition.js'
import type { Actor } from '../policy/context.js'
import { effective } from '../policy/effective.js'
import { writableFields } from '../policy/fields.js'
import { columnLimits, columnsRead, policyOf } from '../policy/policy.js'
import { type AnyRule, type Rule, usesCheck } from '../policy/rules.js'
import { words } from '../policy/words.js'
import type { Execution, GuardedBuilder, UnrestrictedSession, WriteOperation, WriteSession } from '../query/policy-enforcer.js'
import { definitionOf, isIntermediate, lineage } from '../schema/definition.js'
import { allows, askChecks, idOf, rawNames, refusal, scopeFor, setNames, sqlOne, touches, valuesOf, withRaws } from './evaluate.js'
import { checkReferences, referenceFields } from './references.js'

/** How many rows a write in bulk may load where code has a say in each. */
const mostLoaded = 1000

/** How many rows of one update may be looked at after it: what a statement can name. */
const mostChecked = 10_000

/** The session of a query that finds rows whatever the caller may read. */
export const unrestricted: UnrestrictedSession = { kind: 'unrestricted' }

// What the state after an update is judged by: the rule, the guards but soft deletion, and whose it is.
const readAfter = new WeakMap<object, Set<string>>()
export const readAfterUpdate = (cls: typeof Model): Set<string> => memoize(readAfter, cls, () => columnsReadAfterUpdate(cls))

export function columnsReadAfterUpdate(cls: typeof Model): Set<string> {
  const policy = policyOf(cls)
  const names = columnsRead(cls, policy.updateTo)
  for (const guard of policy.guards) if (guard.liftedFor !== 'nobody') for (const name of columnsRead(cls, guard.rule)) names.add(name)
  if (policy.ownerField) names.add(policy.ownerField)
  for (const { reads = [] } of policy.limits) for (const name of reads) names.add(name)
  return names
}

/** A hook of the application's own may set any column. */
export function hasOwnHook(cls: typeof Model, name: '$beforeUpdate' | '$beforeInsert'): boolean {
  return memoize(name === '$beforeUpdate' ? updateHooks : insertHooks, cls, () => findOwnHook(cls, name))
}
const updateHooks = new WeakMap<object, boolean>()
const insertHooks = new WeakMap<object, boolean>()

function findOwnHook(cls: typeof Model, name: '$beforeUpdate' | '$beforeInsert'): boolean {
  return lineage(cls).some((c) => {
    if (isIntermediate(c) || c === (cls as unknown as { objectionModelClass?: object }).objectionModelClass) return false
    const prototype = (c as { prototype?: object }).prototype
    const isObjection = !Object.getPrototypeOf(c as object) || Object.getPrototypeOf(c as object) === Function.prototype
    return !isObjection && ((prototype !== undefined && Object.hasOwn(prototype, name)) || Object.hasOwn(c, name.slice(1)))
  })
}

/** The ids of the rows that a rule with check() lets through, loaded under what SQL can tell and then asked one by one. */
export async function loadAllowed(
  builder: GuardedBuilder,
  action: 'update' | 'delete',
  rule: Rule,
  actor: Actor | null,
): Promise<unknown[]> {
  const loaded: unknown = await builder
    .targets(action)
    .limit(mostLoaded + 1)
    .forUpdate()
  const rows = (Array.isArray(loaded) ? loaded : loaded ? [loaded] : []) as Model[]
  if (rows.length > mostLoaded) {
    throw new ValidationError(
      `The policy of ${builder.cls.name} decides by code, row by row: at most ${mostLoaded} rows in one ${action}; narrow the where().`,
    )
  }
  const ids: unknown[] = []
  for (const row of rows) {
    if ((await allows(builder, rule, valuesOf(row), scopeFor(builder, actor), action)) !== false) ids.push(row.$id())
  }
  return ids
}

// What judges a write by its values: rules and guards, whose it is, what it refers to, and rules of single columns.
const judgedColumns = new WeakMap<object, ReadonlySet<string>>()

function columnsJudged(cls: typeof Model): ReadonlySet<string> {
  return memoize(judgedColumns, cls, () => {
    const policy = policyOf(cls)
    const ruled = Object.entries(definitionOf(cls).specs).flatMap(([name, { writable }]) => (writable ? [name] : []))
    const limited = policy.limits.flatMap(({ columns = [] }) => columns)
    return new Set([
      idOf(cls),
      ...columnsRead(cls, policy.create),
      ...columnsReadAfterUpdate(cls),
      ...deletionColumns(cls),
      ...ruled,
      ...limited,
    ])
  })
}

/** Whether a write may be judged by its value for a column. */
export function isJudged(cls: typeof Model, name: string): boolean {
  const names = columnsJudged(cls)
  return names.has(name) || names.has('*') || referenceFields(cls).has(name)
}

/** Whether an update is judged by its rule alone, whatever it sets. */
export function isJudgedByRuleAlone(cls: typeof Model, names: readonly string[]): boolean {
  const { specs } = definitionOf(cls)
  return !usesCheck(policyOf(cls).updateFrom) && !names.some((name) => isJudged(cls, name) || specs[name]?.reference !== undefined)
}

/** Judges an update and notes what must hold beside its rule. @throws ForbiddenError, NotFoundError, MissingReferenceError */
export function* checkUpdate(
  builder: GuardedBuilder,
  write: WriteOperation,
  actor: Actor | null,
  notes: WriteSession,
): MaybeAsyncSteps<void> {
  const { cls, execution } = builder
  const policy = policyOf(cls)
  const [change] = write.models
  const values = valuesOf(change)
  const names = setNames(change)
  if (isJudgedByRuleAlone(cls, names)) return
  const scope = scopeFor(builder, actor, { live: true, writes: true })
  try {
    const named = yield* checkReferences(builder.db, scopeFor(builder, actor, { row: values }), values, scope)
    const limits = columnLimits(policy, names).map((limit) => limit.condition(scope, 'update', withRaws(change)))
    notes.fields = all(writableFields(scope, withRaws(change), false), named, ...limits)
    refuseRawReferences(cls, rawNames(change), policy.ownerField)
    const id = values[idOf(cls)]
    if (names.includes(idOf(cls)) && (id === undefined || id !== write.id))
      throw new ForbiddenError(`The id of a ${cls.name} stays as it is.`)
  } catch (error) {
    // A row that is not for this caller is answered before anything is said of the values.
    if (!(error instanceof ForbiddenError || error instanceof MissingReferenceError) || write.id === undefined) throw error
    const reachable: unknown = yield* awaitMaybe(builder.targets('update').select(sqlOne()).limit(1) as PromiseLike<unknown>)
    if (Array.isArray(reachable) ? reachable.length > 0 : Boolean(reachable)) throw error
    const why = yield* awaitMaybe(refusal(builder, write, actor))
    if (write.instance || !(why instanceof NotFoundError)) throw why
    // By id alone: like a row that is not there, it is not touched and nothing is said.
    execution.ids = []
    return
  }
  if (usesCheck(policy.updateFrom)) execution.ids = yield* awaitMaybe(loadAllowed(builder, 'update', policy.updateFrom, actor))
  if (touches(names, deletionColumns(cls))) {
    // Deleting by an update, or undoing it, asks the delete rule too.
    notes.fields = all(notes.fields, effective('delete', scope, { withDeleted: builder.withDeleted }))
    if (usesCheck(policy.delete)) {
      const deletable = yield* awaitMaybe(loadAllowed(builder, 'delete', policy.delete, actor))
      execution.ids = execution.ids?.filter((id) => deletable.includes(id)) ?? deletable
    }
  }
  if (!touches(names, readAfterUpdate(cls)) || isAnyResultFine(scopeFor(builder, actor, { writes: true }))) return
  if (write.id !== undefined && execution.ids === undefined) notes.recheck = [write.id]
  else {
    execution.ids ??= yield* awaitMaybe(targetIds(builder, notes))
    notes.recheck = execution.ids
  }
}

/** Whether no row that comes of an update can be a wrong one; what code decides can. */
export function isAnyResultFine(scope: Scope): boolean {
  return !usesCheck(policyOf(scope.cls).updateTo) && effective('update', scope, { withDeleted: true }, 'after') === true
}

/** The columns by which a row counts as deleted. */
export function deletionColumns(cls: typeof Model): Set<string> {
  return memoize(
    deletions,
    cls,
    () =>
      new Set(
        policyOf(cls)
          .guards.filter(({ liftedFor }) => liftedFor === 'nobody')
          .flatMap(({ rule }) => [...columnsRead(cls, rule)]),
      ),
  )
}
const deletions = new WeakMap<object, Set<string>>()

function refuseRawReferences(cls: typeof Model, names: readonly string[], ownerField: string | undefined): void {
  const { specs } = definitionOf(cls)
  const bad = names.filter((name) => name === ownerField || specs[name]?.reference || referenceFields(cls).has(name))
  if (bad.length > 0) throw new ForbiddenError(`${bad.join(', ')} must be a plain value: a raw expression could name any row.`)
}

/** Returns the ids of the rows that a write is about to change, or undefined where they are too many to be named. */
export async function findTargetIds(
  builder: GuardedBuilder,
  action: 'update' | 'delete',
  notes: WriteSession,
): Promise<unknown[] | undefined> {
  const id = idOf(builder.cls)
  const rows: unknown = await builder
    .targets(action, notes)
    .select(`${builder.ref}.${id}` as never)
    .limit(mostChecked + 1)
    .forUpdate()
  const ids = ((Array.isArray(rows) ? rows : rows ? [rows] : []) as Model[]).map((row) => row.$id())
  return ids.length > mostChecked ? undefined : ids
}

async function targetIds(builder: GuardedBuilder, notes: WriteSession): Promise<unknown[]> {
  const ids = await findTargetIds(builder, 'update', notes)
  if (ids) return ids
  throw new ValidationError(
    `What becomes of each ${builder.cls.name} has to be checked after this update: at most ${mostChecked} rows at once; narrow the where().`,
  )
}

/** After an update: its rows must satisfy the rule as they are now. @throws ForbiddenError */
export async function checkAfter(
  builder: GuardedBuilder,
  write: WriteOperation,
  actor: Actor | null,
  ids: readonly unknown[],
): Promise<void> {
  const { cls, db } = builder
  const policy = policyOf(cls)
  for (let from = 0; from < ids.length; from += mostLoaded) {
    const some = ids.slice(from, from + mostLoaded)
    const areFine = usesCheck(policy.updateTo)
      ? await areAllAllowed(builder, actor, some)
      : !(await holds(db, anyWrong(builder, actor, some)))
    if (!areFine) throw wrongResult(cls, write.kind, await failedRule(builder, actor, some))
  }
}

// The client learns that the result is refused; which rule refuses it is for developers.
function wrongResult(cls: typeof Model, kind: string, rule: string): ForbiddenError {
  const clientMessage = `You may not ${kind} this ${cls.name} into what it would be.`
  const why = `The row after the update does not satisfy ${rule}.`
  // A framework without errorHandler() may send any message.
  const message = process.env.NODE_ENV === 'production' ? clientMessage : `${clientMessage} ${why}`
  return new ForbiddenError(message, { clientMessage, cause: why })
}

/** Returns the part of a policy that a row does not satisfy after an update, with its name and in words. */
async function failedRule(builder: GuardedBuilder, actor: Actor | null, ids: readonly unknown[]): Promise<string> {
  const { cls, db } = builder
  const { guards, updateTo } = policyOf(cls)
  const fails = (rule: Rule) =>
    holds(
      db,
      anyWrong(builder, actor, ids, (scope) => compile(rule, scope)),
    )
  for (const guard of guards) {
    if (guard.liftedFor !== 'nobody' && (await fails(guard.rule))) return `the rule '${guard.name}' of ${cls.name}: ${words(guard.rule)}`
  }
  const rule = updateTo as AnyRule
  const parts = rule.kind === 'allOf' ? rule.rules : []
  for (const part of parts) if (!usesCheck(part) && (await fails(part))) return `${cls.name}.policy.update: ${words(part)}`
  if (usesCheck(updateTo) || (await fails(updateTo))) return `${cls.name}.policy.update: ${words(updateTo)}`
  return `the ranks of users: admins and what they own are for those of a higher rank`
}

const wholeRule = (scope: Scope) => effective('update', scope, { withDeleted: true }, 'after')

// One of these rows does not satisfy the condition.
function anyWrong(
  { cls, schema }: GuardedBuilder,
  actor: Actor | null,
  ids: readonly unknown[],
  conditionOf: (scope: Scope) => Condition = wholeRule,
): Condition {
  const ref = 'perms_row'
  const scope = scopeFor({ cls, ref, schema }, actor, { writes: true })
  const condition = all(isOneOf(cls, ref, ids), negate(conditionOf(scope)))
  if (typeof condition === 'boolean') return condition
  return sql(`exists (select 1 from ?? as ?? where ${condition.sql})`, tableIn(scope, cls), ref, ...condition.bindings)
}

async function areAllAllowed(builder: GuardedBuilder, actor: Actor | null, ids: readonly unknown[]): Promise<boolean> {
  const { updateTo } = policyOf(builder.cls)
  for (const row of await asTheyAre(builder, ids)) {
    const checks = await askChecks(updateTo, valuesOf(row), actor)
    const scope = scopeFor(builder, actor, { row: valuesOf(row), writes: true, checks })
    if (!(await holds(builder.db, effective('update', scope, { withDeleted: true }, 'after')))) return false
  }
  return true
}

/** The rows with these ids. */
export function isOneOf(cls: typeof Model, ref: string, ids: readonly unknown[]): Condition {
  if (ids.length === 0) return false
  return sql(`?? in (${ids.map(() => '?').join(', ')})`, `${ref}.${idOf(cls)}`, ...ids)
}

// The rows as they are now, whoever may read them: the guard itself asks.
function asTheyAre(builder: GuardedBuilder, ids: readonly unknown[]): Promise<Model[]> {
  const query = builder.query(builder.cls).findByIds([...ids] as never)
  const execution: Execution = { ids: undefined, action: undefined, session: unrestricted }
  Object.assign(query, { execution })
  return query as unknown as Promise<Model[]>
}
