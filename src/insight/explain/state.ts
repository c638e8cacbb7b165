/** The caller and the row of an explanation. Counterfactuals change a copy. */
import type { Model } from 'objection'
import { runChecks } from '../../enforce/evaluate.js'
import type { ActionName } from '../../policy/actions.js'
import { type Scope, scopeOf } from '../../policy/compiler/scope.js'
import type { Actor } from '../../policy/context.js'
import { policyOf, ruleOf } from '../../policy/policy.js'
import { usesCheck } from '../../policy/rules.js'
import { dialectOfClass } from '../../record/codec.js'

export type Values = Readonly<Record<string, unknown>>

/** The action of an explanation. */
export interface Subject {
  readonly cls: typeof Model
  readonly action: ActionName
}

export interface State {
  readonly actor: Actor | null
  readonly row: Values
  /** The relation in which the row is assumed to be shared with the actor; null: it is not shared. */
  readonly sharedAs?: string | null | undefined
}

/** Returns the scope in which rules are evaluated for a state; null if a check() threw, which denies the action. */
export async function scopeOfState({ cls, action }: Subject, { actor, row, sharedAs }: State): Promise<Scope | null> {
  const rule = ruleOf(policyOf(cls), action)
  const scope = scopeOf(cls, actor, { dialect: dialectOfClass(cls), ref: 'perms_row', row, writes: action !== 'read' })
  const assumed = { assumesGrants: true, assumedShare: sharedAs }
  if (!usesCheck(rule)) return { ...scope, ...assumed }
  try {
    return { ...scope, ...assumed, checks: await runChecks(rule, row, actor) }
  } catch {
    return null
  }
}
