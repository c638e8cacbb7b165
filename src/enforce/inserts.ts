import type { Model } from 'objection'
import { ConfigurationError, ForbiddenError, ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps, runMaybeAsync } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { type OpenKnexBuilder, singlePartsOf } from '../database/knex-internals.js'
import { globalScopeConditions } from '../policy/compiler/compile.js'
import { all, type Condition, holds, type Sql } from '../policy/compiler/condition.js'
import { tableIn } from '../policy/compiler/scope.js'
import type { Actor } from '../policy/context.js'
import { requireActiveCaller } from '../policy/effective.js'
import { refusedFields, writableFields } from '../policy/fields.js'
import { columnsRead, policyOf } from '../policy/policy.js'
import { refusedBy } from '../policy/refusal.js'
import { allOf, type SqlRule } from '../policy/rules.js'
import { noteProvingInsert, pendingProof } from '../query/caller-proof.js'
import { fragment } from '../query/fragments.js'
import type { QueryHandle, WriteOperation, WriteSession } from '../query/policy-enforcer.js'
import { dialectOfClass } from '../record/codec.js'
import { definitionOf, idProperties } from '../schema/definition/definition.js'
import { valuesByName } from '../schema/model-class.js'
import { allowsMaybeAsync, idColumns, type Place, rawNames, scopeFor, type Values, valuesOf, withRaws } from './evaluate.js'
import { policyObserver } from './policy-observer.js'
import { checkReferences, referenceFields } from './references.js'

interface Completable {
  /** Throws when the row lacks a value that its caller must choose. */
  $complete?(): void
  /** Returns the values among which the caller must choose. */
  $choices?(): readonly Values[]
}

/** Returns whether the caller may create the row with one of the values that it lacks, such as one of the caller's domains. */
function* isAllowedWithChoice(place: Place, model: Model, actor: Actor | null): MaybeAsyncSteps<boolean> {
  for (const choice of (model as Completable).$choices?.() ?? []) {
    const values = { ...valuesOf(model), ...choice }
    if ((yield* allowsMaybeAsync(place, policyOf(place.cls).create, values, scopeFor(place, actor), 'create')) !== false) return true
  }
  return false
}

/** Returns the condition that a new row must satisfy when it is inserted. @throws ForbiddenError, ValidationError */
function* checkInsert(place: Place, model: Model, actor: Actor | null): MaybeAsyncSteps<Condition> {
  const { cls, db } = place
  const policy = policyOf(cls)
  const values = valuesOf(model)
  const row = scopeFor(place, actor, { row: values, writes: true })
  const allowed = yield* allowsMaybeAsync(place, policy.create, values, scopeFor(place, actor), 'create')
  if (allowed === false) {
    if (yield* isAllowedWithChoice(place, model, actor)) (model as Completable).$complete?.()
    throw new ForbiddenError(message('row.create', { model: cls.name }), { refusedRule: refusedBy(cls, 'create', { actor }) })
  }
  const fields = writableFields(row, withRaws(model), true)
  if (!(yield* awaitMaybe(holds(db, fields))))
    throw new ForbiddenError(message('row.createValues', { model: cls.name }), { refusedRule: refusedFields(cls, withRaws(model), true) })
    // Report missing fields only to callers who may create such a row.
  ;(model as Completable).$complete?.()
  const live = { ...row, live: true }
  const named = yield* checkReferences(db, row, values, live)
  const always = globalScopeConditions(row, { free: false, withDeleted: true })
  if (!(yield* awaitMaybe(holds(db, all(...always))))) {
    const scopes = policy.globalScopes.map(({ rule }) => rule as SqlRule)
    throw new ForbiddenError(message('row.createHere', { model: cls.name }), {
      refusedRule: refusedBy(cls, 'create', { rule: allOf(...scopes), actor }),
    })
  }
  assertPlainValues(cls, model)
  const scopes = globalScopeConditions(live, { free: false, withDeleted: true })
  // The condition that proves a remembered caller includes this one: it compares the whole rows of the session and the user.
  return all(allowed, named, ...scopes, pendingProof() ? true : requireActiveCaller(live))
}

/** Returns whether an actor may create this row. */
export async function mayInsert(place: Place, model: Model, actor: Actor | null): Promise<boolean> {
  const values = valuesByName(model)
  for (const [name, spec] of Object.entries(definitionOf(place.cls).specs)) {
    if (values[name] === undefined && spec.hasDefault)
      values[name] = typeof spec.defaultValue === 'function' ? (spec.defaultValue as () => unknown)() : spec.defaultValue
  }
  if (policyObserver.asked) await policyObserver.asked({ cls: place.cls, action: 'create', actor, db: place.db, values: valuesOf(model) })
  try {
    return await holds(place.db, await runMaybeAsync(checkInsert(place, model, actor)))
  } catch (error) {
    if (error instanceof ForbiddenError || error instanceof ValidationError) return false
    throw error
  }
}

/** Checks the rows of an insert and adds their conditions to the session. @throws ForbiddenError, MissingReferenceError */
export function* checkInserts(
  builder: QueryHandle,
  write: WriteOperation,
  actor: Actor | null,
  session: WriteSession,
): MaybeAsyncSteps<void> {
  for (const model of write.models) session.conditions.push(yield* checkInsert(builder, model, actor))
}

function assertPlainValues(cls: typeof Model, model: Model): void {
  const raws = rawNames(model)
  if (raws.length === 0) return
  const policy = policyOf(cls)
  const read = columnsRead(cls, policy.create)
  if (policy.ownerField) read.add(policy.ownerField)
  for (const globalScope of policy.globalScopes) for (const name of columnsRead(cls, globalScope.rule)) read.add(name)
  for (const name of referenceFields(cls)) read.add(name)
  const bad = raws.filter((name) => read.has(name) || read.has('*') || definitionOf(cls).specs[name]?.reference)
  if (bad.length > 0) throw new ForbiddenError(message('row.plainNew', { fields: bad, model: cls.name }))
}

// Expressions that fail when they are evaluated. A value that the id rejects, such as NULL, would not do: a trigger may replace it, and a
// table may have no primary key. MariaDB evaluates a constant in advance, and PostgreSQL evaluates anything but random().
const failing = {
  pg: 'sqrt(-1 - random())',
  sqlite: "json('caller')",
  mysql: '9223372036854775807 + length(rand())',
} as const

/**
 * Replaces one value of each new row by a CASE: the value while the row's condition holds, else an expression that makes the
 * statement fail. Check and write are thus one statement. The value is the id; for an id that the database makes, another column.
 */
export function addInsertConditions(builder: QueryHandle, statement: OpenKnexBuilder, session: WriteSession | undefined): void {
  const rows = singlePartsOf(statement).insert
  const conditions = session?.conditions ?? []
  const list = Array.isArray(rows) ? rows : [rows]
  const refusal = () =>
    new ForbiddenError(message('row.create', { model: builder.cls.name }), { refusedRule: refusedBy(builder.cls, 'create') })
  if (!session || list.length !== conditions.length) throw refusal()
  const proof = pendingProof()
  list.forEach((row, i) => {
    const condition = all(conditions[i] as Condition, proof?.condition ?? true)
    if (condition === true) return
    if (condition === false) throw refusal()
    const { sql: text, bindings } = condition
    const column = checkedColumn(builder, row)
    const [value, otherwise] = branches(builder, column)
    const chosen = `(case when ${text} then ${value} else ${otherwise.sql} end)`
    row[column] = fragment(statement.client, { sql: chosen, bindings: [...bindings, row[column], ...otherwise.bindings] })
  })
  if (proof) noteProvingInsert(proof, statement)
}

/** Returns the column whose value carries the condition: the id, or for an id that the database makes the first plain value. */
function checkedColumn({ cls }: QueryHandle, row: Readonly<Record<string, unknown>>): string {
  const [id = ''] = idColumns(cls)
  if (row[id] !== undefined && row[id] !== null) return id
  const column = Object.keys(row).find((name) => name !== id && isPlain(row[name]))
  if (column !== undefined) return column
  throw new ConfigurationError(
    `A new ${cls.name} has no plain value that could carry the check of its policy: set at least one column besides the id.`,
  )
}

const isPlain = (value: unknown): boolean => value !== undefined && (typeof value !== 'object' || value === null || value instanceof Date)

/** Returns the two branches of the CASE: the placeholder of the value, and the expression that makes the statement fail. */
function branches(builder: QueryHandle, column: string): [value: string, otherwise: Sql] {
  const { cls } = builder
  const dialect = dialectOfClass(cls)
  if (dialect !== 'pg') return ['?', { sql: failing[dialect], bindings: [] }]
  const [id = ''] = idColumns(cls)
  const isUuid = column === id && definitionOf(cls).specs[idProperties(cls)[0] ?? '']?.type === 'uuid'
  if (isUuid) return ['cast(? as uuid)', { sql: `cast(cast(${failing.pg} as text) as uuid)`, bindings: [] }]
  return ['?', typedFailure(builder, column)]
}

// An expression that always fails. PostgreSQL takes a parameter beside it for a value of its type, which is that of the column.
function typedFailure({ cls, schema }: QueryHandle, column: string): Sql {
  const rows = `generate_series(1, cast(${failing.pg} as integer))`
  return {
    sql: `(select perms_e.?? from (select ?? from ?? limit 0) as perms_e right join ${rows} as perms_f on true)`,
    bindings: [column, column, tableIn({ schema }, cls)],
  }
}

/** The SQLSTATE of a square root of a negative number. A message would not do: texts of errors are redacted. */
const FAILED_CHECK = '2201F'

/** Returns whether an insert failed because its condition no longer holds. */
export function isFailedInsertCondition(error: unknown): boolean {
  const native = ((error as { nativeError?: unknown })?.nativeError ?? error) as { code?: string; message?: string; sqlMessage?: string }
  if (native.code === FAILED_CHECK) return true
  // Knex prepends the statement with its values to the driver's message. mysql2 also has the message alone.
  const message = String(native.sqlMessage ?? native.message)
  return /malformed JSON|out of range in '.*9223372036854775807 \+ .*rand\(\)/i.test(message.slice(message.lastIndexOf(' - ') + 1))
}
