/** Decides whether a rule allows only what another rule allows. */
import type { Model } from 'objection'
import type { AnyRule, Rule } from '../../policy/rules.js'
import { relationsIncluding } from '../../policy/share-relations.js'
import { rolesSatisfying } from '../../policy/user-tables.js'
import { relationNamesOf, relationOf } from '../../query/objection-internals.js'
import { holdsFor, isOfRow, rowsFor, whereRulesIn } from '../values.js'

/** Returns a text that is equal for rules with the same meaning. Two check() with different functions are different. */
export function keyOf(given: Rule): string {
  const rule = given as AnyRule
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') return `${rule.kind}(${rule.rules.map(keyOf).sort().join(', ')})`
  if (rule.kind === 'check') return `check ${numberOf(rule.test)}`
  return JSON.stringify(rule, (_, value: unknown) => (typeof value === 'bigint' ? `${value}n` : value))
}

const numbers = new WeakMap<object, number>()
let last = 0

function numberOf(test: object): number {
  const known = numbers.get(test)
  if (known !== undefined) return known
  last += 1
  numbers.set(test, last)
  return last
}

/** Returns whether every caller and row that `narrow` allows is allowed by `wide`. False if that is not known. */
export function implies(cls: typeof Model, narrow: Rule, wide: Rule): boolean {
  const [a, b] = [narrow as AnyRule, wide as AnyRule]
  if (keyOf(a) === keyOf(b)) return true
  if (a.kind === 'constant' && !a.value) return true
  if (b.kind === 'constant') return b.value
  if (isOfRow(a) && isOfRow(b)) return impliesForRows(cls, a, b)
  if (a.kind === 'anyOf') return a.rules.every((part) => implies(cls, part, b))
  if (b.kind === 'allOf') return b.rules.every((part) => implies(cls, a, part))
  if (b.kind === 'anyOf' && b.rules.some((part) => implies(cls, a, part))) return true
  if (a.kind === 'allOf') return a.rules.some((part) => implies(cls, part, b))
  if (a.kind === 'not' && b.kind === 'not') return implies(cls, b.rule, a.rule)
  return leafImplies(cls, a, b)
}

function impliesForRows(cls: typeof Model, a: Rule, b: Rule): boolean {
  const rows = rowsFor(cls, [...whereRulesIn(a), ...whereRulesIn(b)])
  return rows?.every((row) => !holdsFor(cls, a, row) || holdsFor(cls, b, row)) ?? false
}

function leafImplies(cls: typeof Model, a: AnyRule, b: AnyRule): boolean {
  if (b.kind === 'authenticated') return needsCaller(a)
  if (a.kind === 'role' && b.kind === 'role') {
    const enough = rolesSatisfying(b.roles)
    const isPlace = JSON.stringify(a.domain) === JSON.stringify(b.domain) || (a.domain !== undefined && b.domain === 'any')
    return isPlace && rolesSatisfying(a.roles).every((role) => enough.includes(role))
  }
  if (a.kind === 'member' && b.kind === 'member')
    return a.field === b.field && (b.roles === undefined || (a.roles?.every((role) => b.roles?.includes(role)) ?? false))
  if (a.kind === 'colleague' && b.kind === 'colleague')
    return b.roles === undefined || (a.roles?.every((role) => b.roles?.includes(role)) ?? false)
  if (a.kind === 'shared' && b.kind === 'shared') return relationsIncluding(cls, b.relation).includes(a.relation)
  if (a.kind === 'recent' && b.kind === 'recent') return a.seconds <= b.seconds
  if (a.kind === 'factor' && b.kind === 'factor') return b.factor === 'any'
  if (a.kind === 'related' && b.kind === 'related' && a.relation === b.relation && relationNamesOf(cls).includes(a.relation))
    return (a.depth ?? 1) <= (b.depth ?? 1) && implies(relationOf(cls, a.relation).relatedModelClass, a.rule, b.rule)
  return false
}

const kindsWithCaller = new Set<string>([
  'owner',
  'self',
  'role',
  'member',
  'colleague',
  'ability',
  'recent',
  'factor',
  'rank',
  'grantor',
  'delegate',
  'shared',
])

/** Returns whether a rule is false for anonymous callers. */
export function needsCaller(given: Rule): boolean {
  const rule = given as AnyRule
  if (rule.kind === 'allOf') return rule.rules.some(needsCaller)
  if (rule.kind === 'anyOf') return rule.rules.every(needsCaller)
  if (rule.kind === 'related') return needsCaller(rule.rule)
  if (rule.kind === 'constant') return !rule.value
  return rule.kind === 'authenticated' || kindsWithCaller.has(rule.kind)
}
