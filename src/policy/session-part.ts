/** The part of a rule that concerns the caller's session. Admins bypass everything else. */
import { memoize } from '../core/memoize.js'
import { policyOf } from './policy.js'
import { registeredModel } from './registered-models.js'
import { type AnyRule, type Rule, walk } from './rules.js'
import { type FactorRule, hasProved, isRecent, type RecentRule, type SessionFacts } from './session-rules.js'

const known = new WeakMap<object, readonly (RecentRule | FactorRule)[]>()

/** Returns the recent() and factor() rules in a rule, also those inside related(). */
export function sessionRulesIn(rule: Rule): readonly (RecentRule | FactorRule)[] {
  return memoize(known, rule, () =>
    [...walk(rule)].flatMap((part) => {
      if (part.kind === 'recent' || part.kind === 'factor') return [part]
      return part.kind === 'related' ? sessionRulesIn(part.rule) : []
    }),
  )
}

/** Returns the rule that decides: for delegate(), the update rule of the user model. */
export function decidingRule(rule: Rule): Rule {
  return rule.kind === 'delegate' ? policyOf(registeredModel('user')).updateFrom : rule
}

/** Returns whether a rule could hold for this session if all that it says of the row and of roles held. */
export function allowsSession(given: Rule, actor: SessionFacts | null): boolean {
  const rule = decidingRule(given)
  return sessionRulesIn(rule).length === 0 || couldHold(rule as AnyRule, actor, true)
}

// `otherwise` is the value of parts that do not concern the session. It changes inside not().
function couldHold(rule: AnyRule, actor: SessionFacts | null, otherwise: boolean): boolean {
  const inner = (part: Rule) => couldHold(part as AnyRule, actor, otherwise)
  switch (rule.kind) {
    case 'recent':
      return isRecent(actor, rule.seconds)
    case 'factor':
      return hasProved(actor, rule.factor)
    case 'allOf':
      return rule.rules.length === 0 ? otherwise : rule.rules.every(inner)
    case 'anyOf':
      return rule.rules.length === 0 ? otherwise : rule.rules.some(inner)
    case 'not':
      return !couldHold(rule.rule as AnyRule, actor, !otherwise)
    case 'related':
    case 'before':
      return inner(rule.rule)
    default:
      return otherwise
  }
}
