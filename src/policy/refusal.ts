/** The rule behind a refusal, in words for developers and admins. */
import type { Model } from 'objection'
import { isDevelopment } from '../core/environment.js'
import type { RefusedRule } from '../core/errors.js'
import { relationOf } from '../query/objection-internals.js'
import { structureOf } from '../schema/definition/definition.js'
import { abilitiesFor, apiKeyAllows } from './abilities.js'
import type { ActionName } from './actions.js'
import { type Actor, currentActor } from './context.js'
import { policyOf, ruleOf } from './policy.js'
import type { AnyRule, Rule, SqlRule, WhereRule } from './rules.js'
import { ADMIN, rolesSatisfying } from './user-tables.js'
import { words } from './words.js'

/**
 * Returns whether responses to a caller may name the rules of policies: in development to all callers, else to global admins only.
 * An API key is no admin.
 */
export function mayKnowRules(actor: Actor | null | undefined): boolean {
  if (isDevelopment()) return true
  if (!actor || actor.abilities !== null || actor.impersonatorId !== null) return false
  const roles = rolesSatisfying([ADMIN])
  return actor.grants.some(({ role, domainId }) => domainId === null && roles.includes(role))
}

interface RefusalOptions {
  /** The rule that decided. Default: the rule of the action. */
  readonly rule?: Rule | undefined
  /** Default: the current caller. */
  readonly actor?: Actor | null | undefined
  /** Returns the words of other rules that may have decided. */
  readonly further?: (() => readonly string[]) | undefined
}

/** Returns a function that returns the rule of an action as the reason of a refusal. */
export function refusedBy(cls: typeof Model, action: ActionName, options: RefusalOptions = {}): () => RefusedRule {
  const { rule, actor = currentActor(), further } = options
  return () => ({ model: cls.name, action, rule: decidingWords(cls, action, rule, actor, further) })
}

function decidingWords(
  cls: typeof Model,
  action: ActionName,
  rule: Rule | undefined,
  actor: Actor | null,
  further: RefusalOptions['further'],
): string {
  const policy = policyOf(cls)
  if (actor && !apiKeyAllows(action, cls, policy, actor))
    return `API keys with the ability ${abilitiesFor(action, cls, policy).join(' or ')}`
  const isBypassed = rule === undefined && policy.bypass[action === 'read' ? 'read' : 'write']
  const decided = wordsWithoutValues(cls, rule ?? ruleOf(policy, action))
  return [isBypassed ? `${decided} or a global admin` : decided, ...(further?.() ?? [])].join('; ')
}

/** Returns a rule in words. Values that it compares with hidden columns, or with columns that have a rule of their own, are left out. */
export function wordsWithoutValues(cls: typeof Model, rule: Rule): string {
  return words(withoutValues(cls, rule as AnyRule))
}

function withoutValues(cls: typeof Model, rule: AnyRule): AnyRule {
  switch (rule.kind) {
    case 'anyOf':
    case 'allOf':
      return { ...rule, rules: rule.rules.map((part) => withoutValues(cls, part as AnyRule)) }
    case 'not':
    case 'before':
      return { ...rule, rule: withoutValues(cls, rule.rule as AnyRule) as SqlRule }
    case 'related':
      return { ...rule, rule: withoutValues(relationOf(cls, rule.relation).relatedModelClass, rule.rule as AnyRule) as SqlRule }
    case 'where':
      return { ...rule, conditions: shownConditions(cls, rule) }
    default:
      return rule
  }
}

function shownConditions(cls: typeof Model, { conditions }: WhereRule): WhereRule['conditions'] {
  const { specs } = structureOf(cls)
  const isShown = (name: string) => specs[name] !== undefined && !specs[name].isHidden && !specs[name].readable
  return Object.fromEntries(Object.entries(conditions).map(([name, value]) => [name, isShown(name) ? value : '…']))
}
