/** Examines the rows of writes and questions, whose values are known. */
import type { Model } from 'objection'
import { runChecks, valuesOf } from '../../enforce/evaluate.js'
import type { ObservedQuestion } from '../../enforce/policy-observer.js'
import { unrestricted } from '../../enforce/updates.js'
import type { Actor } from '../../policy/context.js'
import { decidingAction, policyOf } from '../../policy/policy.js'
import type { CheckRule } from '../../policy/rules.js'
import type { QueryHandle, WriteOperation } from '../../query/policy-enforcer.js'
import { truths } from '../explain/ask-many.js'
import type { CoverageCollector } from './collector.js'
import type { OutcomeConditions, RuleLeaf } from './leaves.js'
import { countedOutcomes, decides, examine, leavesOf, MAX_ROWS, openOutcome, type Subject, scopeFor, type Values } from './subject.js'

/** Counts the outcomes of the rows that a write names. */
export async function examineWrite(
  collector: CoverageCollector,
  subject: Subject,
  builder: QueryHandle,
  write: WriteOperation,
): Promise<void> {
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

/** Returns the values of rows with these ids, without a rule. */
export async function rowsWith(builder: QueryHandle, ids: readonly unknown[]): Promise<readonly Values[]> {
  const query = builder.query(builder.cls).findByIds(ids.slice(0, MAX_ROWS) as string[])
  Object.assign(query, { execution: { ids: undefined, action: undefined, session: unrestricted } })
  return (await query).map((row) => valuesOf(row))
}

/** Counts the outcomes of a question such as canRead(). */
export async function examineQuestion(
  collector: CoverageCollector,
  { cls, action, actor, db, id, values }: ObservedQuestion,
): Promise<void> {
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

/** Counts the outcomes of leaves for rows with known values. */
export async function examineRows(
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
