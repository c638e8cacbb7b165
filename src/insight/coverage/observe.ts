/** Examines the rows of reads, writes and questions while coverage is measured. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { type OpenKnexBuilder, singlePartsOf } from '../../database/knex-internals.js'
import { policyEnforcer } from '../../enforce/enforcer.js'
import { runChecks, valuesOf } from '../../enforce/evaluate.js'
import { type ObservedQuestion, policyObserver } from '../../enforce/policy-observer.js'
import { unrestricted } from '../../enforce/updates.js'
import { apiKeyAllows } from '../../policy/abilities.js'
import { all, type Condition, negate, type Sql } from '../../policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../policy/compiler/scope.js'
import { type Actor, authorityFor } from '../../policy/context.js'
import { bypass } from '../../policy/effective.js'
import { decidingAction, policyOf } from '../../policy/policy.js'
import type { CheckRule } from '../../policy/rules.js'
import { ADMIN, SUPERADMIN } from '../../policy/user-tables.js'
import type { QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { dialectOfClass } from '../../record/codec.js'
import { truths } from '../explain/ask-many.js'
import type { CoverageCollector } from './collector.js'
import { type OutcomeConditions, outcomesOf, type RuleLeaf } from './leaves.js'

/** The most rows of one statement that are examined. */
const MAX_ROWS = 500

type Values = Readonly<Record<string, unknown>>

/** The caller, the class and the action that leaves are examined for. */
interface Subject {
  readonly cls: typeof Model
  readonly action: string
  readonly actor: Actor | null
  readonly db: Knex
  readonly schema: string | undefined
}

/** Starts to count the outcomes of leaves. Replaces functions of the engine, which are unchanged otherwise. @returns a function that restores them */
export function observePolicies(collector: CoverageCollector): () => void {
  const { restrict, beforeWrite, afterWrite } = policyEnforcer
  const { asked } = policyObserver

  policyEnforcer.restrict = (builder, statement, kind) => {
    const subject = kind === 'read' && builder.execution.session === undefined ? subjectOf(collector, builder, kind) : null
    const rows = subject && (statement.clone() as OpenKnexBuilder)
    restrict(builder, statement, kind)
    if (subject && rows)
      beforeRunning(statement, () => {
        // The table is added to the statement after its conditions.
        singlePartsOf(rows).table = singlePartsOf(statement).table
        return examineStatement(collector, subject, builder.ref, rows)
      })
  }

  policyEnforcer.beforeWrite = (builder, write) => {
    const action = builder.execution.action ?? (write.kind === 'insert' ? 'create' : write.kind)
    const subject = builder.execution.session === undefined ? subjectOf(collector, builder, action) : null
    if (!subject) return beforeWrite(builder, write)
    return examineWrite(collector, subject, builder, write).then(() => beforeWrite(builder, write))
  }

  policyEnforcer.afterWrite = (builder, write, result) => {
    const { session, action = write.kind } = builder.execution
    const ids = session?.kind === 'write' && action === 'update' ? session.recheck : null
    const subject = ids && subjectOf(collector, builder, 'update.to')
    if (!subject) return afterWrite(builder, write, result)
    const examined = examine(collector, async () => await examineRows(collector, subject, await rowsWith(builder, ids)))
    return examined.then(() => afterWrite(builder, write, result))
  }

  policyObserver.asked = (question) => examineQuestion(collector, question)

  return () => {
    Object.assign(policyEnforcer, { restrict, beforeWrite, afterWrite })
    policyObserver.asked = asked
  }
}

function subjectOf(collector: CoverageCollector, { cls, db, schema }: QueryHandle, action: string): Subject | null {
  const authority = authorityFor(cls)
  return authority === 'free' || !collector.has(cls) ? null : { cls, action, actor: authority, db, schema }
}

// A statement that is a part of another one is never awaited. The statement itself gets another then(), which calls that of the prototype.
function beforeRunning(statement: OpenKnexBuilder, examine: () => Promise<void>): void {
  const prototype = Object.getPrototypeOf(statement) as Pick<OpenKnexBuilder, 'then'>
  const waiting: OpenKnexBuilder['then'] = (onFulfilled, onRejected) =>
    examine().then(() => prototype.then.call(statement, onFulfilled, onRejected) as never)
  const between: object = Object.create(prototype)
  Object.defineProperty(between, 'then', { value: waiting })
  Object.setPrototypeOf(statement, between)
}

// A fault of the measurement must not fail the test that it observes.
async function examine(collector: CoverageCollector, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch {
    collector.failures += 1
  }
}

function leavesOf(collector: CoverageCollector, { cls, action }: Subject, isBefore: boolean): readonly RuleLeaf[] {
  return collector.leavesOf(cls, action).filter((leaf) => leaf.isBefore === isBefore)
}

/** Returns when the rule decides: not for admins who bypass it, and not for API keys that lack the ability. */
function decides({ cls, action, actor }: Subject, scope: Scope): Condition {
  const name = action.split('.')[0] as string
  return actor !== null && !apiKeyAllows(name, cls, policyOf(cls), actor) ? false : negate(bypass(name, scope))
}

/** Returns when the outcomes of a leaf count. */
function countedOutcomes(leaf: RuleLeaf, scope: Scope, isDecided: Condition): OutcomeConditions {
  const { isTrue, isFalse } = outcomesOf(leaf, scope)
  // Admins pass role('admin') whether or not they bypass the rule.
  const counts = leaf.rule.kind === 'role' && leaf.rule.roles.some((role) => role === ADMIN || role === SUPERADMIN)
  return { leaf, isTrue: counts ? isTrue : all(isDecided, isTrue), isFalse: all(isDecided, isFalse) }
}

const scopeFor = ({ cls, actor, action, schema }: Subject, ref: string, row?: Values): Scope =>
  scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref, row, writes: action !== 'read', schema })

// -- reads: the rows that satisfy the conditions of the caller, in SQL

async function examineStatement(collector: CoverageCollector, subject: Subject, ref: string, rows: OpenKnexBuilder): Promise<void> {
  await examine(collector, async () => {
    const scope = scopeFor(subject, ref)
    const isDecided = decides(subject, scope)
    const outcomes = leavesOf(collector, subject, false).map((leaf) => countedOutcomes(leaf, scope, isDecided))
    const open = outcomes.flatMap((one) => [
      ...openOutcome(collector, one.leaf, true, one.isTrue),
      ...openOutcome(collector, one.leaf, false, one.isFalse),
    ])
    if (open.length === 0) return
    for (const part of ['select', 'order', 'group', 'having', 'limit', 'offset', 'counters'] as const) rows.clear(part)
    const columns = open.map(({ sql }, i) =>
      subject.db.raw(`case when ${sql.sql} then 1 else 0 end as ??`, [...sql.bindings, `perms_${i}`] as Knex.RawBinding[]),
    )
    const found: unknown = await rows.select(columns).limit(MAX_ROWS)
    for (const row of [found].flat() as (object | undefined)[])
      for (const [i, held] of Object.values(row ?? {}).entries())
        if (Number(held) === 1 && open[i]) collector.count(open[i].leaf, open[i].outcome)
  })
}

interface OpenOutcome {
  readonly leaf: RuleLeaf
  readonly outcome: boolean
  readonly sql: Sql
}

function openOutcome(collector: CoverageCollector, leaf: RuleLeaf, outcome: boolean, condition: Condition): OpenOutcome[] {
  if (typeof condition !== 'boolean') return [{ leaf, outcome, sql: condition }]
  if (condition) collector.count(leaf, outcome)
  return []
}

// -- writes and questions: rows whose values are known

async function examineWrite(collector: CoverageCollector, subject: Subject, builder: QueryHandle, write: WriteOperation): Promise<void> {
  await examine(collector, async () => {
    const rows = write.kind === 'insert' ? write.models : await targetsOf(builder)
    const values = rows.map((row) => valuesOf(row))
    await examineRows(collector, subject, values)
    if (subject.action === 'update')
      await examineRows(collector, subject, values, leavesOf(collector, { ...subject, action: 'update.to' }, true))
  })
}

async function targetsOf(builder: QueryHandle): Promise<readonly Model[]> {
  const { ids } = builder.execution
  const query = builder.targets('read', unrestricted).limit(MAX_ROWS)
  if (ids) query.findByIds([...ids] as string[])
  return ([(await query) as unknown] as (Model | Model[] | undefined)[]).flat().filter((row) => row !== undefined)
}

async function rowsWith(builder: QueryHandle, ids: readonly unknown[]): Promise<readonly Values[]> {
  const query = builder.query(builder.cls).findByIds(ids.slice(0, MAX_ROWS) as string[])
  Object.assign(query, { execution: { ids: undefined, action: undefined, session: unrestricted } })
  return (await query).map((row) => valuesOf(row))
}

async function examineQuestion(collector: CoverageCollector, { cls, action, actor, db, id, values }: ObservedQuestion): Promise<void> {
  if (!collector.has(cls)) return
  const subject: Subject = {
    cls,
    action: action === 'create' ? action : decidingAction(policyOf(cls), action),
    actor,
    db: db ?? cls.knex(),
    schema: undefined,
  }
  await examine(collector, async () => {
    if (values !== undefined) return await examineRows(collector, subject, [values])
    if (id === undefined) return examineCaller(collector, subject)
    const query = cls.query(subject.db).findByIds([id] as string[])
    Object.assign(query, { execution: { ids: undefined, action: undefined, session: unrestricted } })
    await examineRows(
      collector,
      subject,
      (await query).map((row) => valuesOf(row)),
    )
  })
}

// Counts the leaves that no row decides.
function examineCaller(collector: CoverageCollector, subject: Subject): void {
  const scope = scopeFor(subject, 'perms_row')
  const isDecided = decides(subject, scope)
  const leaves = subject.action === 'create' ? leavesOfCreate(collector, subject, undefined) : leavesOf(collector, subject, false)
  for (const leaf of leaves.filter(({ rule }) => rule.kind !== 'check')) {
    const { isTrue, isFalse } = countedOutcomes(leaf, scope, isDecided)
    openOutcome(collector, leaf, true, isTrue)
    openOutcome(collector, leaf, false, isFalse)
  }
}

async function examineRows(
  collector: CoverageCollector,
  subject: Subject,
  rows: readonly Values[],
  given?: readonly RuleLeaf[],
): Promise<void> {
  const found: OutcomeConditions[] = []
  for (const row of rows) {
    const scope = scopeFor(subject, 'perms_row', row)
    const isDecided = decides(subject, scope)
    const leaves = given ?? (subject.action === 'create' ? leavesOfCreate(collector, subject, row) : leavesOf(collector, subject, false))
    for (const leaf of leaves) found.push(countedOutcomes(leaf, { ...scope, checks: await checksOf(leaf, row, subject.actor) }, isDecided))
  }
  const known = await truths(
    subject.db,
    found.flatMap(({ isTrue, isFalse }) => [isTrue, isFalse]),
  )
  for (const [i, { leaf }] of found.entries()) {
    if (known[2 * i]) collector.count(leaf, true)
    if (known[2 * i + 1]) collector.count(leaf, false)
  }
}

// A check() that throws denies.
async function checksOf({ rule }: RuleLeaf, row: Values, actor: Actor | null): Promise<ReadonlyMap<CheckRule, boolean> | undefined> {
  if (rule.kind !== 'check') return undefined
  return await runChecks(rule, row, actor).catch(() => new Map([[rule, false]]))
}

// Of `create: { own, others }`, one rule decides about a row.
function leavesOfCreate(collector: CoverageCollector, subject: Subject, row: Values | undefined): readonly RuleLeaf[] {
  const { ownerField } = policyOf(subject.cls)
  const plain = leavesOf(collector, subject, false)
  if (plain.length > 0) return plain
  const owner = ownerField === undefined ? undefined : row?.[ownerField]
  const isOwn = owner === undefined || owner === null || String(owner) === String(subject.actor?.id)
  return leavesOf(collector, { ...subject, action: isOwn ? 'create.own' : 'create.others' }, false)
}
