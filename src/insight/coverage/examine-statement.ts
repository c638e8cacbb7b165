/** Examines the rows of a read: those that satisfy the conditions of the caller, in SQL. */
import type { Knex } from 'knex'
import type { OpenKnexBuilder } from '../../database/knex-internals.js'
import type { CoverageCollector } from './collector.js'
import { countedOutcomes, decides, examine, leavesOf, MAX_ROWS, openOutcome, type Subject, scopeFor } from './subject.js'

/**
 * Counts the outcomes of the rows that a statement would return without the rule.
 *
 * @param rows a copy of the statement, before the rule was added. It is changed
 */
export async function examineStatement(collector: CoverageCollector, subject: Subject, ref: string, rows: OpenKnexBuilder): Promise<void> {
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
