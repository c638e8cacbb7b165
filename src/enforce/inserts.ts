import type { Model } from 'objection'
import { ForbiddenError, UnauthorizedError, ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../core/maybe-async.js'
import { globalScopeConditions } from '../policy/compile.js'
import { all, type Condition, holds, type Sql } from '../policy/condition.js'
import type { Actor } from '../policy/context.js'
import { requireActiveCaller } from '../policy/effective.js'
import { writableFields } from '../policy/fields.js'
import { columnsRead, policyOf } from '../policy/policy.js'
import { fragment } from '../query/fragments.js'
import type { GuardedBuilder, WriteOperation, WriteSession } from '../query/policy-enforcer.js'
import type { OpenKnexBuilder } from '../query/statement.js'
import { dialectOfClass } from '../record/active-record.js'
import { definitionOf } from '../schema/definition.js'
import { allowsInSteps, idOf, type Place, rawNames, scopeFor, valuesOf, withRaws } from './evaluate.js'
import { checkReferences, referenceFields } from './references.js'

/** What must hold for a new row when it is inserted. @throws ForbiddenError, ValidationError */
function* judgeInsert(place: Place, model: Model, actor: Actor | null): MaybeAsyncSteps<Condition> {
  const { cls, db } = place
  const policy = policyOf(cls)
  const values = valuesOf(model)
  const row = scopeFor(place, actor, { row: values, writes: true })
  const allowed = yield* allowsInSteps(place, policy.create, values, scopeFor(place, actor), 'create')
  if (allowed === false) throw new ForbiddenError(`You may not create this ${cls.name}.`)
  const fields = writableFields(row, withRaws(model), true)
  if (!(yield* awaitMaybe(holds(db, fields))))
    throw new ForbiddenError(`You may not create this ${cls.name} with these values.`)
    // Of what is missing, such as a domain, one hears who may make such a row at all.
  ;(model as { $complete?(): void }).$complete?.()
  const live = { ...row, live: true }
  const named = yield* checkReferences(db, row, values, live)
  const guards = globalScopeConditions(row, { free: false, withDeleted: true })
  if (!(yield* awaitMaybe(holds(db, all(...guards))))) throw new ForbiddenError(`You may not create this ${cls.name} here.`)
  refuseRawWhereRead(cls, model)
  return all(allowed, named, ...globalScopeConditions(live, { free: false, withDeleted: true }), requireActiveCaller(live))
}

/** Whether an actor may make this row. */
export async function mayInsert(place: Place, model: Model, actor: Actor | null): Promise<boolean> {
  const values = model as unknown as Record<string, unknown>
  for (const [name, spec] of Object.entries(definitionOf(place.cls).specs)) {
    if (values[name] === undefined && spec.hasDefault)
      values[name] = typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : spec.defaultValue
  }
  try {
    return await holds(place.db, await runMaybeAsync(judgeInsert(place, model, actor)))
  } catch (error) {
    if (error instanceof ForbiddenError || error instanceof ValidationError) return false
    throw error
  }
}

/** Judges the rows of an insert and notes what must still hold. @throws ForbiddenError, MissingReferenceError */
export function* checkInserts(
  builder: GuardedBuilder,
  write: WriteOperation,
  actor: Actor | null,
  notes: WriteSession,
): MaybeAsyncSteps<void> {
  for (const model of write.models) {
    const condition = yield* judgeInsert(builder, model, actor)
    if (model.$id() !== undefined && model.$id() !== null) notes.conditions.push(condition)
    else {
      // An id that the database makes cannot carry the condition: it is asked in the transaction of the insert.
      if (!(yield* awaitMaybe(holds(builder.db, condition))))
        throw new UnauthorizedError('Your account or session has ended: sign in again.')
      notes.conditions.push(true)
    }
  }
}

function refuseRawWhereRead(cls: typeof Model, model: Model): void {
  const raws = rawNames(model)
  if (raws.length === 0) return
  const policy = policyOf(cls)
  const read = columnsRead(cls, policy.create)
  if (policy.ownerField) read.add(policy.ownerField)
  for (const guard of policy.guards) for (const name of columnsRead(cls, guard.rule)) read.add(name)
  for (const name of referenceFields(cls)) read.add(name)
  const bad = raws.filter((name) => read.has(name) || read.has('*') || definitionOf(cls).specs[name]?.reference)
  if (bad.length > 0) throw new ForbiddenError(`A new ${cls.name} needs plain values for ${bad.join(', ')}: the policy reads them.`)
}

// What no primary key takes. SQLite takes NULL for some, and MariaDB's INSERT IGNORE makes '' of it: there it is an error, and
// one that MariaDB cannot work out before it is asked for.
const refusals = { pg: 'null', sqlite: "json('caller')", mysql: '9223372036854775807 + length(rand())' } as const

/**
 * The id of a new row is its id only while what allowed the row still holds; else it is what no primary key takes.
 * So check and write are one statement.
 */
export function guardInsert(builder: GuardedBuilder, statement: OpenKnexBuilder, notes: WriteSession | undefined): void {
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
    const otherwise = refusals[dialect]
    const chosen = `(case when ${text} then ${value} else ${otherwise} end)`
    row[column] = fragment(statement.client, { sql: chosen, bindings: [...bindings, row[column]] })
  })
}

/** Whether an insert failed because what allowed it held no more. */
export function isLostCaller(error: unknown, builder: GuardedBuilder): boolean {
  const native = ((error as { nativeError?: unknown })?.nativeError ?? error) as {
    code?: string
    column?: string
    message?: string
    sqlMessage?: string
  }
  const column = definitionOf(builder.cls).columnOf.get(idOf(builder.cls)) ?? 'id'
  if (native.code === '23502') return native.column === column
  // Knex puts the statement with its values before the driver's message; mysql2 has the message apart.
  const message = String(native.sqlMessage ?? native.message)
  return /malformed JSON|out of range in '.*9223372036854775807 \+ .*rand\(\)/i.test(message.slice(message.lastIndexOf(' - ') + 1))
}
