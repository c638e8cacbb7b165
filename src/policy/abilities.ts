import type { Model } from 'objection'
import { kebabPlural } from '../core/names.js'
import { modelSlot } from '../runtime.js'
import type { Actor } from './context.js'
import type { Action, Resolved } from './policy.js'
import { mentions, type Rule, walk } from './rules.js'

const resourceNames = modelSlot(() => new Map<string, Set<string>>())

/** Lets a model's rows be named in abilities as its resource is: the resource at `documents` answers to `documents:read`. */
export function nameAbilities(cls: typeof Model, name: string): void {
  const table = tableOf(cls)
  const names = resourceNames.get().get(table) ?? new Set()
  resourceNames.get().set(table, names.add(name))
}

/** What a model is called in abilities: `static abilityName`, else the plural of its name and the paths of its resources. */
export function abilityNames(cls: typeof Model): readonly string[] {
  const { abilityName = kebabPlural(cls.name) } = cls as unknown as { abilityName?: string }
  return [...new Set([abilityName, ...(resourceNames.get().get(tableOf(cls)) ?? [])])]
}

/** Whether a key with these abilities has one: by its name, by `documents:*`, by `documents:write` for a change, or by `*`. */
export function isAble(abilities: readonly string[], wanted: string): boolean {
  if (abilities.includes('*') || abilities.includes(wanted)) return true
  const [name, action] = wanted.split(':')
  if (action === undefined) return false
  return abilities.includes(`${name}:*`) || (action !== 'read' && changes.has(action) && abilities.includes(`${name}:write`))
}

const changes = new Set(['create', 'update', 'delete'])

/** The abilities one of which a key needs for an action: those that the policy's rule names; where it names none, by the model's name. */
export function abilitiesFor(action: Action, cls: typeof Model, policy: Resolved): readonly string[] {
  const named = rulesOf(action, policy).flatMap(abilitiesIn)
  return named.length > 0 ? named : abilityNames(cls).map((name) => `${name}:${action}`)
}

/** Whether the policy says itself which abilities an action takes. */
export function policyNamesAbilities(action: Action, policy: Resolved): boolean {
  return rulesOf(action, policy).some((rule) => mentions(rule, 'ability'))
}

const rulesOf = (action: Action, policy: Resolved): readonly Rule[] =>
  action === 'update' ? [policy.updateFrom, policy.updateTo] : [policy[action]]

function abilitiesIn(rule: Rule): string[] {
  if (!mentions(rule, 'ability')) return []
  return [...walk(rule)].flatMap((part) => (part.kind === 'ability' ? [part.ability] : []))
}

/**
 * Whether the caller's API key reaches this action at all, before any rule and any bypass; without a key, everybody does.
 * Credentials are out of reach of every key.
 */
export function apiKeyAllows(action: Action, cls: typeof Model, policy: Resolved, actor: Actor | null): boolean {
  const abilities = actor?.abilities
  if (abilities && (cls as unknown as { isCredential?: boolean }).isCredential) return false
  return !abilities || abilitiesFor(action, cls, policy).some((wanted) => isAble(abilities, wanted))
}

const tableOf = (cls: typeof Model) => (cls as unknown as { getTableName(): string }).getTableName()
