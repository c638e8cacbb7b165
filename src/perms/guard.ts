import type { Model } from 'objection'
import { dialectOfClass } from '../model/active-record.js'
import { definitionOf, isIntermediate, lineage } from '../model/definition.js'
import { ForbiddenError, MissingReferenceError, NotFoundError, UnauthorizedError, ValidationError } from '../model/errors.js'
import type { GuardedBuilder, OpenKnexBuilder, QueryGuard, WriteOperation } from '../model/query-builder.js'
import { remember } from '../model/remember.js'
import { compile, guardConditions, type Scope, scopeOf } from './compile.js'
import { all, any, type Condition, holds, type Sql, sql } from './condition.js'
import { type Actor, authorityFor } from './context.js'
import { bypass, callerLives, effective } from './effective.js'
import { writableFields } from './fields.js'
import { type Action, columnsRead, policyOf } from './policy.js'
import { checkReferences, namesRows } from './references.js'
import { type CheckRule, hasCheck, type Rule, walk } from './rules.js'

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

interface Notes {
  /** Insert: what must still hold for each row when the statement runs. */
  conditions: Condition[]
  /** Update: for which rows the set columns may be set. */
  fields: Condition
  /** The rows that must satisfy the rule after the statement too. */
  recheck: readonly unknown[] | null
}

/** How many rows a write in bulk may load where code has a say in each. */
const mostLoaded = 1000

type Values = Readonly<Record<string, unknown>>

function scopeFor(builder: GuardedBuilder, actor: Actor | null, more: Partial<Scope> = {}): Scope {
  return { ...scopeOf(builder.cls, actor, { dialect: dialectOfClass(builder.cls as never), ref: builder.ref }), ...more }
}

function valuesOf(model: Model | undefined): Values {
  return (model ?? {}) as Values
}

function rawNames(model: Model | undefined): string[] {
  return Object.keys((model as unknown as { $$queryProps?: object } | undefined)?.$$queryProps ?? {})
}

function setNames(model: Model | undefined): string[] {
  const values = valuesOf(model)
  return [...Object.keys(values).filter((name) => values[name] !== undefined && !name.startsWith('$')), ...rawNames(model)].map(
    (name) => name.split(':')[0] as string,
  )
}

function touches(names: Iterable<string>, read: Set<string>): boolean {
  for (const name of names) if (read.has(name) || read.has('*')) return true
  return false
}

function idOf(cls: typeof Model): string {
  const property = (cls as unknown as { getIdProperty(): string | string[] }).getIdProperty()
  return typeof property === 'string' ? property : 'id'
}

// What the state after an update is judged by: the rule, the guards but soft deletion, and whose it is.
const readAfter = new WeakMap<object, Set<string>>()
const readAfterUpdate = (cls: typeof Model): Set<string> => remember(readAfter, cls, () => columnsReadAfterUpdate(cls))

function columnsReadAfterUpdate(cls: typeof Model): Set<string> {
  const policy = policyOf(cls)
  const names = columnsRead(cls, policy.updateTo)
  for (const guard of policy.guards) if (guard.liftedFor !== 'nobody') for (const name of columnsRead(cls, guard.rule)) names.add(name)
  if (policy.ownerField) names.add(policy.ownerField)
  return names
}

/** A hook of the application's own may set any column. */
function hasOwnHook(cls: typeof Model, name: '$beforeUpdate' | '$beforeInsert'): boolean {
  return lineage(cls).some((c) => {
    if (isIntermediate(c) || c === (cls as unknown as { objectionModelClass?: object }).objectionModelClass) return false
    const prototype = (c as { prototype?: object }).prototype
    const isObjection = !Object.getPrototypeOf(c as object) || Object.getPrototypeOf(c as object) === Function.prototype
    return !isObjection && ((prototype !== undefined && Object.hasOwn(prototype, name)) || Object.hasOwn(c, name.slice(1)))
  })
}

async function askChecks(rule: Rule, row: Values, actor: Actor | null): Promise<Map<CheckRule, boolean>> {
  const said = new Map<CheckRule, boolean>()
  for (const part of walk(rule)) {
    if (part.kind !== 'check' || said.has(part)) continue
    try {
      said.set(part, (await part.test(row, actor)) === true)
    } catch (error) {
      // Whatever stands around it: code that failed has not allowed anything.
      throw new ForbiddenError(undefined, { cause: error })
    }
  }
  return said
}

/** Whether an actor may do this with a row whose values are known. Asks the database where a rule is about other rows. */
export async function allows(
  builder: Pick<GuardedBuilder, 'cls' | 'db'>,
  rule: Rule,
  row: Values,
  scope: Scope,
  action: Action,
): Promise<Condition> {
  const checks = hasCheck(rule) ? await askChecks(rule, row, scope.actor) : undefined
  const inMemory: Scope = { ...scope, row, live: false, writes: action !== 'read', checks }
  const condition = any(bypass(action, inMemory), compile(rule, inMemory))
  const isAllowed = await holds(builder.db, condition)
  if (!isAllowed) return false
  return any(bypass(action, { ...inMemory, live: true }), compile(rule, { ...inMemory, live: true }))
}

async function isReadable(builder: GuardedBuilder): Promise<boolean> {
  const row: unknown = await builder.targets('read').select(sqlOne()).limit(1)
  return Array.isArray(row) ? row.length > 0 : row !== undefined && row !== null
}

const sqlOne = () => 'id' as never

async function isAlive(builder: GuardedBuilder, actor: Actor | null): Promise<boolean> {
  return holds(builder.db, callerLives(scopeFor(builder, actor, { live: true })))
}

/** Why a write of a known row reached nothing. */
async function refusal(builder: GuardedBuilder, write: WriteOperation, actor: Actor | null): Promise<Error> {
  if (!(await isAlive(builder, actor))) return new UnauthorizedError('Your account or session has ended: sign in again.')
  const name = builder.cls.name
  if (!(await isReadable(builder))) return new NotFoundError(`There is no ${name} with this id.`)
  return new ForbiddenError(`You may not ${builder.execution.action ?? write.kind} this ${name}.`)
}

async function checkInserts(builder: GuardedBuilder, write: WriteOperation, actor: Actor | null, notes: Notes): Promise<void> {
  const policy = policyOf(builder.cls)
  for (const model of write.models) {
    const values = valuesOf(model)
    const row = scopeFor(builder, actor, { row: values, writes: true })
    const allowed = await allows(builder, policy.create, values, scopeFor(builder, actor), 'create')
    if (allowed === false) throw new ForbiddenError(`You may not create this ${builder.cls.name}.`)
    const fields = writableFields(row, { ...values, ...Object.fromEntries(rawNames(model).map((name) => [name, Symbol('raw')])) }, true)
    if (!(await holds(builder.db, fields))) throw new ForbiddenError(`You may not create this ${builder.cls.name} with these values.`)
    await checkReferences(builder.db, row, values)
    const guards = guardConditions(row, { free: false, withDeleted: true })
    if (!(await holds(builder.db, all(...guards)))) throw new ForbiddenError(`You may not create this ${builder.cls.name} here.`)
    const live = scopeFor(builder, actor, { row: values, writes: true, live: true })
    const condition = all(allowed, ...guardConditions(live, { free: false, withDeleted: true }), callerLives(live))
    if (model.$id() !== undefined && model.$id() !== null) notes.conditions.push(condition)
    else {
      // An id that the database makes cannot carry the condition: it is asked in the transaction of the insert.
      if (!(await holds(builder.db, condition))) throw new UnauthorizedError('Your account or session has ended: sign in again.')
      notes.conditions.push(true)
    }
    const read = columnsRead(builder.cls, policy.create)
    if (policy.ownerField) read.add(policy.ownerField)
    for (const guard of policy.guards) for (const name of columnsRead(builder.cls, guard.rule)) read.add(name)
    if (touches(rawNames(model), read)) {
      throw new ForbiddenError(
        `A new ${builder.cls.name} needs plain values for ${rawNames(model)
          .filter((name) => read.has(name) || read.has('*'))
          .join(', ')}: the policy reads them.`,
      )
    }
  }
}

// Rows that a rule with check() lets through, loaded under what SQL can tell and then asked one by one.
async function loadAllowed(builder: GuardedBuilder, action: 'update' | 'delete', rule: Rule, actor: Actor | null): Promise<unknown[]> {
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

async function checkUpdate(builder: GuardedBuilder, write: WriteOperation, actor: Actor | null, notes: Notes): Promise<void> {
  const { cls, execution } = builder
  const policy = policyOf(cls)
  const [change] = write.models
  const values = valuesOf(change)
  const names = setNames(change)
  const scope = scopeFor(builder, actor, { live: true, writes: true })
  try {
    notes.fields = writableFields(scope, { ...values, ...Object.fromEntries(rawNames(change).map((name) => [name, Symbol('raw')])) }, false)
    await checkReferences(builder.db, scopeFor(builder, actor, { row: { ...valuesOf(write.instance ?? undefined), ...values } }), values)
    refuseRawReferences(cls, rawNames(change), policy.ownerField)
  } catch (error) {
    // A row that is not for this caller is answered before anything is said of the values.
    if (!(error instanceof ForbiddenError || error instanceof MissingReferenceError) || write.id === undefined) throw error
    const reachable: unknown = await builder.targets('update').select(sqlOne()).limit(1)
    if ((Array.isArray(reachable) ? reachable.length : reachable) === 0 || reachable === undefined || reachable === null)
      throw await refusal(builder, write, actor)
    throw error
  }
  if (hasCheck(policy.updateFrom)) execution.ids = await loadAllowed(builder, 'update', policy.updateFrom, actor)
  if (!touches(names, readAfterUpdate(cls))) return
  if (effective('update', scopeFor(builder, actor, { writes: true }), { withDeleted: true }, 'after') === true) return
  if (write.id !== undefined && execution.ids === undefined) notes.recheck = [write.id]
  else {
    execution.ids ??= await targetIds(builder)
    notes.recheck = execution.ids
  }
}

function refuseRawReferences(cls: typeof Model, names: readonly string[], ownerField: string | undefined): void {
  const { specs } = definitionOf(cls)
  const bad = names.filter((name) => name === ownerField || specs[name]?.reference)
  if (bad.length > 0) throw new ForbiddenError(`${bad.join(', ')} must be a plain value: a raw expression could name any row.`)
}

async function targetIds(builder: GuardedBuilder): Promise<unknown[]> {
  const id = idOf(builder.cls)
  const rows: unknown = await builder
    .targets('update')
    .select(`${builder.ref}.${id}` as never)
    .forUpdate()
  return ((Array.isArray(rows) ? rows : rows ? [rows] : []) as Model[]).map((row) => row.$id())
}

async function checkAfter(builder: GuardedBuilder, write: WriteOperation, actor: Actor | null, ids: readonly unknown[]): Promise<void> {
  if (ids.length === 0) return
  const { cls } = builder
  const policy = policyOf(cls)
  const rows = await asTheyAre(builder, ids)
  for (const row of rows) {
    const scope = scopeFor(builder, actor, { row: valuesOf(row), writes: true })
    const checks = hasCheck(policy.updateTo) ? await askChecks(policy.updateTo, valuesOf(row), actor) : undefined
    const inMemory = { ...scope, checks }
    if (!(await holds(builder.db, effective('update', inMemory, { withDeleted: true }, 'after')))) {
      throw new ForbiddenError(`You may not ${write.kind} this ${cls.name} into what it would be.`)
    }
  }
}

// The rows as they are now, whoever may read them: the guard itself asks.
function asTheyAre(builder: GuardedBuilder, ids: readonly unknown[]): Promise<Model[]> {
  const query = builder.query(builder.cls).findByIds([...ids] as never)
  Object.assign(query, { execution: { ids: undefined, action: undefined, notes: asIs } })
  return query as unknown as Promise<Model[]>
}

const asIs = Symbol('as is')

/** Whether any rule may bind the code that runs now; where nobody is known to be calling, it is refused when a rule would. */
export function isEnforcedAnywhere(): boolean {
  try {
    return authorityFor(null) !== 'free'
  } catch {
    return true
  }
}

/** The permission engine on the query builder. */
export const guard: QueryGuard = {
  isFree(cls) {
    return authorityFor(cls) === 'free' && !policyOf(cls).guards.some((one) => one.liftedFor === 'nobody')
  },

  isEnforced(cls) {
    return authorityFor(cls) !== 'free'
  },

  isEnforcedAnywhere,

  restrict(builder, statement, kind) {
    if (builder.execution.notes === asIs) return
    const authority = authorityFor(builder.cls)
    if (authority === 'free') {
      if (kind === 'insert') return
      const scope = scopeFor(builder, null)
      add(statement, all(...guardConditions(scope, { free: true, withDeleted: builder.withDeleted })))
      return
    }
    const notes = builder.execution.notes as Notes | undefined
    if (kind === 'insert') return guardInsert(builder, statement, notes)
    const scope = scopeFor(builder, authority, kind === 'read' ? {} : { live: true, writes: true })
    const { ids } = builder.execution
    const only: Condition =
      ids === undefined
        ? true
        : ids.length === 0
          ? false
          : sql(`?? in (${ids.map(() => '?').join(', ')})`, `${builder.ref}.${idOf(builder.cls)}`, ...ids)
    add(statement, all(effective(kind as Action, scope, { withDeleted: builder.withDeleted }), notes?.fields ?? true, only))
  },

  needsTransaction({ cls, execution }, write) {
    if (!write) return false
    if (writeChecks.some((check) => check.concerns(cls, write))) return true
    const authority = authorityFor(cls)
    if (authority === 'free') return false
    const policy = policyOf(cls)
    const scope = scopeOf(cls, authority, { dialect: dialectOfClass(cls as never), ref: 't' })
    if (write.kind === 'insert') {
      if (write.models.some((model) => definitionOf(cls).specs[idOf(cls)] === undefined && !model.$id())) return true
      if (hasCheck(policy.create) || [...walk(policy.create)].some((part) => part.kind === 'related')) return true
      return hasOwnHook(cls, '$beforeInsert') || write.models.some((model) => namesRows(scope, valuesOf(model)))
    }
    const isDelete = write.kind === 'delete' || execution.action === 'delete'
    if (hasCheck(isDelete ? policy.delete : policy.updateFrom)) return true
    if (isDelete) return false
    const [change] = write.models
    if (namesRows(scope, valuesOf(change))) return true
    if (!hasOwnHook(cls, '$beforeUpdate') && !touches(setNames(change), readAfterUpdate(cls))) return false
    return effective('update', { ...scope, writes: true }, { withDeleted: true }, 'after') !== true
  },

  async beforeWrite(builder, write) {
    for (const check of writeChecks) if (check.concerns(builder.cls, write)) await check.before(builder, write)
    const authority = authorityFor(builder.cls)
    if (authority === 'free') return
    const notes: Notes = { conditions: [], fields: true, recheck: null }
    builder.execution.notes = notes
    const policy = policyOf(builder.cls)
    if (write.kind === 'insert') await checkInserts(builder, write, authority, notes)
    else if (write.kind === 'update' && builder.execution.action !== 'delete') await checkUpdate(builder, write, authority, notes)
    else if (hasCheck(policy.delete)) builder.execution.ids = await loadAllowed(builder, 'delete', policy.delete, authority)
  },

  async afterWrite(builder, write, result) {
    const authority = authorityFor(builder.cls)
    const affected = typeof result === 'number' ? result : Array.isArray(result) ? result.length : result ? 1 : 0
    const isNamed = write.instance !== null || (authority !== 'free' && write.id !== undefined)
    if (write.kind !== 'insert' && affected === 0 && isNamed && (write.kind === 'delete' || setNames(write.models[0]).length > 0)) {
      if (authority === 'free') throw new NotFoundError(`There is no ${builder.cls.name} with this id.`)
      const error = await refusal(builder, write, authority)
      // By id alone a row that is not for this caller is one that is not there, and Objection answers that with 0.
      if (write.instance || !(error instanceof NotFoundError)) throw error
      return
    }
    const { recheck } = (builder.execution.notes as Notes | undefined) ?? { recheck: null }
    if (authority !== 'free' && recheck) await checkAfter(builder, write, authority, recheck)
    for (const check of writeChecks) if (check.concerns(builder.cls, write)) await check.after(builder, write)
  },

  async translate(builder, write, error) {
    if (write?.kind !== 'insert' || !isLostCaller(error, builder)) return error
    const authority = authorityFor(builder.cls)
    if (authority === 'free') return error
    return (await isAlive(builder, authority))
      ? new ForbiddenError(`You may not create this ${builder.cls.name}.`)
      : new UnauthorizedError('Your account or session has ended: sign in again.')
  },
}

function add(statement: OpenKnexBuilder, condition: Condition): void {
  if (condition === true) return
  if (condition === false) statement.whereRaw('1 = 0')
  else if (condition.equals) statement.where(condition.equals[0], condition.equals[1] as never)
  else statement.whereRaw(condition.sql, condition.bindings as never)
}

/**
 * The id of a new row is its id only while what allowed the row still holds; else it is NULL, which no primary key takes.
 * So check and write are one statement.
 */
function guardInsert(builder: GuardedBuilder, statement: OpenKnexBuilder, notes: Notes | undefined): void {
  const rows = statement._single.insert
  const conditions = notes?.conditions ?? []
  const column = definitionOf(builder.cls).columnOf.get(idOf(builder.cls)) ?? 'id'
  const list = (Array.isArray(rows) ? rows : [rows]) as Record<string, unknown>[]
  if (!notes || list.length !== conditions.length) throw new ForbiddenError(`You may not create this ${builder.cls.name}.`)
  const dialect = dialectOfClass(builder.cls as never)
  list.forEach((row, i) => {
    const condition = conditions[i] as Condition
    if (condition === true) return
    if (condition === false) throw new ForbiddenError(`You may not create this ${builder.cls.name}.`)
    const { sql: text, bindings } = condition as Sql
    const isUuid = definitionOf(builder.cls).specs[idOf(builder.cls)]?.type === 'uuid'
    const value = dialect === 'pg' && isUuid ? 'cast(? as uuid)' : '?'
    // SQLite takes NULL for a primary key of some tables: there the other branch is an error.
    const otherwise = dialect === 'sqlite' ? "json('caller')" : 'null'
    row[column] = builder.db.raw(`(case when ${text} then ${value} else ${otherwise} end)`, [...bindings, row[column]] as never)
  })
}

function isLostCaller(error: unknown, builder: GuardedBuilder): boolean {
  const native = ((error as { nativeError?: unknown })?.nativeError ?? error) as { code?: string; column?: string; message?: string }
  const column = definitionOf(builder.cls).columnOf.get(idOf(builder.cls)) ?? 'id'
  if (native.code === '23502') return native.column === column
  if (native.code === 'ER_BAD_NULL_ERROR') return String(native.message).includes(`'${column}'`)
  return /malformed JSON/i.test(String(native.message))
}
