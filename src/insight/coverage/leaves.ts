/** The parts of policies whose outcomes are counted, and their conditions. */
import type { Model } from 'objection'
import { compile } from '../../policy/compiler/compile.js'
import { type Condition, negate } from '../../policy/compiler/condition.js'
import type { Scope } from '../../policy/compiler/scope.js'
import { policyOf } from '../../policy/policy.js'
import { type AnyRule, not, type RelatedRule, type Rule, type SqlRule } from '../../policy/rules.js'
import { actionRulesOf, policiesOf, ruleWords } from '../leaves.js'

/** A part of a rule without parts of the same row. */
export interface CoverageLeaf {
  readonly model: string
  /** The key of the policy; `update.to`, `create.own` and `create.others` for rules that are written as an object. */
  readonly action: string
  /** The place in the rule, such as `anyOf[1].related('project').where`. */
  readonly path: string
  readonly words: string
  /** The outcomes that are possible: `everyone()` is never false. */
  readonly outcomes: readonly boolean[]
}

/** A leaf with its rule. */
export interface RuleLeaf extends CoverageLeaf {
  readonly rule: AnyRule
  /** The related() rules around the leaf, the outermost first. */
  readonly around: readonly RelatedRule[]
  /** Whether the leaf is inside before(), which judges the row as it was. */
  readonly isBefore: boolean
}

/** Returns the leaves of all policies of models, by class and action. */
export function coverageLeaves(
  models: readonly (abstract new (...args: never[]) => Model)[],
): ReadonlyMap<typeof Model, ReadonlyMap<string, readonly RuleLeaf[]>> {
  return new Map([...policiesOf(models).keys()].map((cls) => [cls, leavesOfClass(cls)]))
}

function leavesOfClass(cls: typeof Model): ReadonlyMap<string, readonly RuleLeaf[]> {
  const place = (action: string) => ({ model: cls.name, action })
  return new Map(actionRulesOf(policyOf(cls)).map(({ action, rule }) => [action, [...leavesIn(place(action), rule, '', [], false)]]))
}

type Place = Pick<CoverageLeaf, 'model' | 'action'>

function* leavesIn(place: Place, given: Rule, path: string, around: readonly RelatedRule[], isBefore: boolean): Generator<RuleLeaf> {
  const rule = given as AnyRule
  const at = (part: string) => (path === '' ? part : `${path}.${part}`)
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') {
    for (const [i, part] of rule.rules.entries()) yield* leavesIn(place, part, at(`${rule.kind}[${i}]`), around, isBefore)
  } else if (rule.kind === 'not') yield* leavesIn(place, rule.rule, at('not'), around, isBefore)
  else if (rule.kind === 'before') yield* leavesIn(place, rule.rule, at('before'), around, true)
  // The rows of a hierarchy lie at many levels: the whole rule is one leaf.
  else if (rule.kind === 'related' && rule.depth === undefined) {
    const name = at(`related('${rule.relation}')`)
    yield { ...place, path: name, words: ruleWords(rule), outcomes: [true, false], rule, around, isBefore }
    yield* leavesIn(place, rule.rule, name, [...around, rule], isBefore)
  } else {
    const outcomes = rule.kind === 'constant' ? [rule.value] : [true, false]
    yield { ...place, path: at(rule.kind), words: ruleWords(rule), outcomes, rule, around, isBefore }
  }
}

/** When each outcome of a leaf occurs. Inside related(), both may occur for different related rows. */
export interface OutcomeConditions {
  readonly leaf: RuleLeaf
  readonly isTrue: Condition
  readonly isFalse: Condition
}

/** Returns when the outcomes of a leaf occur for the row of a scope. */
export function outcomesOf(leaf: RuleLeaf, scope: Scope): OutcomeConditions {
  const { rule, around } = leaf
  const within = (part: Rule) =>
    compile(
      around.reduceRight<Rule>((inner, outer) => ({ ...outer, rule: inner as SqlRule }) as Rule, part),
      scope,
    )
  const isTrue = within(rule)
  return { leaf, isTrue, isFalse: around.length === 0 ? negate(isTrue) : within(not(rule as SqlRule)) }
}
