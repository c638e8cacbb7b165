/** The leaves of rules: the parts that hold no other rule of the same row, with their place in the rule. */
import type { Model } from 'objection'
import { crudActions } from '../policy/actions.js'
import { policyOf, type Resolved } from '../policy/policy.js'
import type { AnyRule, ManyRule, Rule } from '../policy/rules.js'
import { words } from '../policy/words.js'
import { relationNamesOf, relationOf } from '../query/objection-internals.js'
import { modelClass } from '../schema/model-class.js'

/** A leaf of the rule of an action. */
export interface Leaf {
  /** The class whose rows the leaf is about: inside related(), the related class. */
  readonly cls: typeof Model
  readonly rule: AnyRule
  /** The place in the rule, such as `anyOf[1].related('project').where`. */
  readonly path: string
  /** The relations that lead to the class. */
  readonly relations: readonly string[]
}

/** A rule of a policy. */
export interface ActionRule {
  /** The key of the policy; `update.to`, `create.own` and `create.others` for rules that are written as an object. */
  readonly action: string
  readonly rule: Rule
}

/** Returns the rules of a policy by action. */
export function actionRulesOf(policy: Resolved): readonly ActionRule[] {
  const to = policy.updateTo === policy.updateFrom ? [] : [{ action: 'update.to', rule: policy.updateTo }]
  const crud = crudActions.flatMap((action): ActionRule[] => {
    if (action === 'update') return [{ action, rule: policy.updateFrom }, ...to]
    return action === 'create' ? createRulesOf(policy) : [{ action, rule: policy[action] }]
  })
  return [...crud, ...[...policy.named].map(([action, rule]) => ({ action, rule }))]
}

// policy.create is `(is own and own) or (is not own and others)`.
function createRulesOf({ create, createForOthers }: Resolved): ActionRule[] {
  if (createForOthers === undefined) return [{ action: 'create', rule: create }]
  const partsOf = (rule: Rule | undefined): readonly Rule[] => (rule !== undefined && 'rules' in rule ? (rule as ManyRule).rules : [])
  const own = partsOf(partsOf(create)[0])[1] ?? create
  return [
    { action: 'create.own', rule: own },
    { action: 'create.others', rule: createForOthers },
  ]
}

/** Yields the leaves of a rule in order. Rules inside related() follow the related() itself. */
export function* leavesOf(cls: typeof Model, given: Rule, path = '', relations: readonly string[] = []): Generator<Leaf> {
  const rule = given as AnyRule
  const at = (part: string) => (path === '' ? part : `${path}.${part}`)
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') {
    for (const [i, part] of rule.rules.entries()) yield* leavesOf(cls, part, at(`${rule.kind}[${i}]`), relations)
    return
  }
  if (rule.kind === 'not' || rule.kind === 'before') {
    yield* leavesOf(cls, rule.rule, at(rule.kind), relations)
    return
  }
  const name = rule.kind === 'related' ? `related('${rule.relation}')` : rule.kind
  yield { cls, rule, path: at(name), relations }
  if (rule.kind !== 'related' || !relationNamesOf(cls).includes(rule.relation)) return
  yield* leavesOf(relationOf(cls, rule.relation).relatedModelClass, rule.rule, at(name), [...relations, rule.relation])
}

/** Returns the words of a rule, also of a kind that this version does not know. */
export const ruleWords = (rule: Rule): string => (words(rule) as string | undefined) ?? `a rule ${rule.kind}()`

/** Returns the policies of classes that have one, by class, each class once. */
export function policiesOf(models: readonly (abstract new (...args: never[]) => Model)[]): ReadonlyMap<typeof Model, Resolved> {
  const classes = [...new Set(models)].map(modelClass)
  return new Map(classes.filter((cls) => 'policy' in cls).map((cls) => [cls, policyOf(cls)]))
}
