import type { Model } from 'objection'
import { kebabPlural } from '../core/names.js'
import { modelSlot } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'
import { modelClass } from '../schema/model-class.js'
import type { ActionName } from './actions.js'
import type { Actor } from './context.js'
import { type Resolved, ruleOf } from './policy.js'
import { mentions, type Rule, walk } from './rules.js'

const resourceNames = modelSlot(() => new Map<string, Set<string>>())

/** Adds a resource's path as the name of a model in abilities: the resource at `documents` needs `documents:read`. */
export function nameAbilities(cls: typeof Model, name: string): void {
  const table = tableOf(cls)
  const names = resourceNames.get().get(table) ?? new Set()
  resourceNames.get().set(table, names.add(name))
}

/** Returns the names of a model in abilities: `static abilityName` or the plural of its name, and the paths of its resources. */
export function abilityNames(cls: typeof Model): readonly string[] {
  const { abilityName = kebabPlural(cls.name) } = modelClass(cls)
  return [...new Set([abilityName, ...(resourceNames.get().get(tableOf(cls)) ?? [])])]
}

/** Returns whether abilities include the wanted one: by name, by `documents:*`, by `documents:write` for a change, or by `*`. */
export function isAble(abilities: readonly string[], wanted: string): boolean {
  if (abilities.includes('*') || abilities.includes(wanted)) return true
  const [name, action] = wanted.split(':')
  if (action === undefined) return false
  return abilities.includes(`${name}:*`) || (action !== 'read' && changes.has(action) && abilities.includes(`${name}:write`))
}

const changes = new Set(['create', 'update', 'delete'])

/** Returns the abilities of which an API key needs one: those named by the action's rule, else `<model>:<action>`. */
export function abilitiesFor(action: ActionName, cls: typeof Model, policy: Resolved): readonly string[] {
  const named = rulesOf(action, policy).flatMap(abilitiesIn)
  return named.length > 0 ? named : abilityNames(cls).map((name) => `${name}:${action}`)
}

/** Returns whether the action's rule names abilities itself. */
export function policyNamesAbilities(action: ActionName, policy: Resolved): boolean {
  return rulesOf(action, policy).some((rule) => mentions(rule, 'ability'))
}

/** Returns the rules that decide about an action: two for an update. */
export const rulesOf = (action: ActionName, policy: Resolved): readonly Rule[] =>
  action === 'update' ? [policy.updateFrom, policy.updateTo] : [ruleOf(policy, action)]

function abilitiesIn(rule: Rule): string[] {
  if (!mentions(rule, 'ability')) return []
  return [...walk(rule)].flatMap((part) => (part.kind === 'ability' ? [part.ability] : []))
}

/**
 * Returns whether the caller's API key allows this action, before any rule or bypass; true without an API key. No API key allows
 * access to credentials.
 */
export function apiKeyAllows(action: ActionName, cls: typeof Model, policy: Resolved, actor: Actor | null): boolean {
  const abilities = actor?.abilities
  if (abilities && modelClass(cls).isCredential) return false
  return !abilities || abilitiesFor(action, cls, policy).some((wanted) => isAble(abilities, wanted))
}
