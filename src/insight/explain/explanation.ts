import type { Counterfactual } from './counterfactuals.js'
import type { ExplanationNode } from './tree.js'

/** A policy for one action and caller, in SQL and in words. */
export interface Explanation {
  /** The condition in SQL with its values; 'true' for all rows, 'false' for none. */
  readonly sql: string
  /** For reads, the whole statement of the caller's `Model.query()`; else a select of the rows that satisfy the condition. */
  readonly statement: string
  readonly words: string
}

/** The rule of a column, readableBy() or writableBy(), and whether the caller satisfies it. */
export interface FieldExplanation {
  readonly field: string
  readonly rule: 'readableBy' | 'writableBy'
  readonly words: string
  readonly allowed: boolean
}

/** A policy for one action, caller and row. */
export interface RowExplanation extends Explanation {
  /** The question in words, such as "ann@example.com: update Post 7". */
  readonly question: string
  /** The answer, as `row.can(action, user)` gives it. */
  readonly allowed: boolean
  /** The parts of the policy, and whether each of them holds. */
  readonly tree: ExplanationNode
  /** The columns that have rules of their own: for reads those of readableBy(), for other actions those of writableBy(). */
  readonly fields: readonly FieldExplanation[]
  /** The smallest changes of the row or the caller that would change the answer, the smallest first. */
  readonly counterfactuals: readonly Counterfactual[]
}
