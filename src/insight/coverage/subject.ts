/** The caller, class and action for which coverage examines the leaves of a policy, and the rules by which their outcomes count. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { apiKeyAllows } from '../../policy/abilities.js'
import { all, type Condition, negate, type Sql } from '../../policy/compiler/condition.js'
import { type Scope, scopeOf } from '../../policy/compiler/scope.js'
import type { Actor } from '../../policy/context.js'
import { bypass } from '../../policy/effective.js'
import { policyOf } from '../../policy/policy.js'
import { ADMIN, SUPERADMIN } from '../../policy/user-tables.js'
import { dialectOfClass } from '../../record/codec.js'
import type { CoverageCollector } from './collector.js'
import { type OutcomeConditions, outcomesOf, type RuleLeaf } from './leaves.js'

/** The most rows of one statement that are examined. */
export const MAX_ROWS = 500

export type Values = Readonly<Record<string, unknown>>

/** The caller, the class and the action that leaves are examined for. */
export interface Subject {
  readonly cls: typeof Model
  readonly action: string
  readonly actor: Actor | null
  readonly db: Knex
  readonly schema: string | undefined
}

/** Runs an examination. A fault of the measurement must not fail the test that it observes. */
export async function examine(collector: CoverageCollector, run: () => Promise<void>): Promise<void> {
  try {
    await run()
  } catch {
    collector.failures += 1
  }
}

/** Returns the leaves of the rule of an action that are judged on the row after a change, or before it. */
export function leavesOf(collector: CoverageCollector, { cls, action }: Subject, isBefore: boolean): readonly RuleLeaf[] {
  return collector.leavesOf(cls, action).filter((leaf) => leaf.isBefore === isBefore)
}

/** Returns when the rule decides: not for admins who bypass it, and not for API keys that lack the ability. */
export function decides({ cls, action, actor }: Subject, scope: Scope): Condition {
  const name = action.split('.')[0] as string
  return actor !== null && !apiKeyAllows(name, cls, policyOf(cls), actor) ? false : negate(bypass(name, scope))
}

/** Returns when the outcomes of a leaf count. */
export function countedOutcomes(leaf: RuleLeaf, scope: Scope, isDecided: Condition): OutcomeConditions {
  const { isTrue, isFalse } = outcomesOf(leaf, scope)
  // Admins pass role('admin') whether or not they bypass the rule.
  const counts = leaf.rule.kind === 'role' && leaf.rule.roles.some((role) => role === ADMIN || role === SUPERADMIN)
  return { leaf, isTrue: counts ? isTrue : all(isDecided, isTrue), isFalse: all(isDecided, isFalse) }
}

/** Returns the scope in which the leaves of a subject are compiled. */
export const scopeFor = ({ cls, actor, action, schema }: Subject, ref: string, row?: Values): Scope =>
  scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref, row, writes: action !== 'read', schema })

/** An outcome that depends on the row. */
export interface OpenOutcome {
  readonly leaf: RuleLeaf
  readonly outcome: boolean
  readonly sql: Sql
}

/** Counts an outcome that holds for all rows; returns one that depends on the row. */
export function openOutcome(collector: CoverageCollector, leaf: RuleLeaf, outcome: boolean, condition: Condition): OpenOutcome[] {
  if (typeof condition !== 'boolean') return [{ leaf, outcome, sql: condition }]
  if (condition) collector.count(leaf, outcome)
  return []
}
