/** The parts of a policy that decide about an action with a row, and whether each of them holds. */
import type { Knex } from 'knex'
import { abilitiesFor, apiKeyAllows } from '../../policy/abilities.js'
import type { ActionName } from '../../policy/actions.js'
import { compile, relatedCount } from '../../policy/compiler/compile.js'
import type { Condition, Sql } from '../../policy/compiler/condition.js'
import { globalRole } from '../../policy/compiler/role-conditions.js'
import type { Scope } from '../../policy/compiler/scope.js'
import { bypass } from '../../policy/effective.js'
import { type GlobalScope, policyOf, type Resolved, ruleOf, type WriteLimit } from '../../policy/policy.js'
import { type AnyRule, everyone, type RelatedRule, type Rule } from '../../policy/rules.js'
import { ADMIN } from '../../policy/user-tables.js'
import { words } from '../../policy/words.js'
import { counts, truths } from './ask-many.js'

/** A part of a policy, and whether it holds. */
export interface ExplanationNode {
  /**
   * The kind of a rule, such as 'owner' or 'anyOf'; or 'action', 'read', 'rule', 'scope', 'bypass', 'abilities', 'limit' for parts that the
   * library adds, and 'row' if the row does not exist.
   */
  readonly kind: string
  /** The part in words. */
  readonly words: string
  /** Whether the part holds. Inside related(): whether it holds for at least one related row. */
  readonly truth: boolean
  /** For related() and the parts inside it: the number of related rows for which it holds. */
  readonly rows?: number
  /** For related(): the number of related rows. */
  readonly relatedRows?: number
  readonly children: readonly ExplanationNode[]
}

/** A part before its truth is known. Parts without a condition combine their children. */
interface Part {
  readonly kind: string
  readonly words: string
  readonly condition?: Condition
  readonly count?: Sql | null
  readonly total?: Sql | null
  readonly combine?: 'all' | 'any' | 'none'
  readonly children: readonly Part[]
}

/** Returns the tree of an action with the row of the scope. */
export async function treeOf(knex: Knex, action: ActionName, scope: Scope): Promise<ExplanationNode> {
  const root = actionPart(action, scope)
  const parts = [...partsIn(root)]
  const conditions = parts.filter(({ condition }) => condition !== undefined)
  const known = await truths(
    knex,
    conditions.map(({ condition }) => condition as Condition),
  )
  const counted = parts.flatMap(({ count, total }) => [...(count === undefined ? [] : [count]), ...(total === undefined ? [] : [total])])
  const numbers = await counts(knex, counted)
  let next = 0
  const rows = new Map<Part, { rows?: number; relatedRows?: number }>()
  for (const part of parts) {
    const found: { rows?: number; relatedRows?: number } = {}
    if (part.count !== undefined) found.rows = numbers[next++] as number
    if (part.total !== undefined) found.relatedRows = numbers[next++] as number
    rows.set(part, found)
  }
  const truthOf = new Map(conditions.map((part, i) => [part, known[i] as boolean]))
  return nodeOf(root, truthOf, rows)
}

function* partsIn(part: Part): Generator<Part> {
  yield part
  for (const child of part.children) yield* partsIn(child)
}

function nodeOf(part: Part, truthOf: ReadonlyMap<Part, boolean>, rows: ReadonlyMap<Part, object>): ExplanationNode {
  const children = part.children.map((child) => nodeOf(child, truthOf, rows))
  const counted = rows.get(part) as { rows?: number; relatedRows?: number }
  const truth = truthOf.get(part) ?? (counted.rows === undefined ? combined(part, children) : counted.rows > 0)
  return { kind: part.kind, words: part.words, truth, ...counted, children }
}

function combined({ combine }: Part, children: readonly ExplanationNode[]): boolean {
  if (combine === 'any') return children.some(({ truth }) => truth)
  return combine === 'none' ? !children.some(({ truth }) => truth) : children.every(({ truth }) => truth)
}

// -- the parts of an action

function actionPart(action: ActionName, scope: Scope): Part {
  const policy = policyOf(scope.cls)
  const isCreate = action === 'create'
  const children = [
    ...keyPart(action, scope, policy),
    ...policy.globalScopes.filter(({ liftedFor }) => !isCreate || liftedFor === 'admin').map((one) => scopePart(one, scope)),
    ...(action === 'read' || isCreate ? [] : [rulePart('read', scope, policy)]),
    rulePart(action, scope, policy),
    ...limitParts(action, scope, policy),
  ]
  return { kind: 'action', words: `${action} ${scope.cls.name}`, combine: 'all', children }
}

const leaf = (kind: string, text: string, condition: Condition): Part => ({ kind, words: text, condition, children: [] })

function keyPart(action: ActionName, scope: Scope, policy: Resolved): Part[] {
  if (!scope.actor?.abilities) return []
  const text = `the API key has the ability ${abilitiesFor(action, scope.cls, policy).join(' or ')}`
  return [leaf('abilities', text, apiKeyAllows(action, scope.cls, policy, scope.actor))]
}

function scopePart({ name, rule, liftedFor }: GlobalScope, scope: Scope): Part {
  const inner = partOf(rule, scope)
  if (liftedFor === 'nobody') return { kind: 'scope', words: `always (${name})`, combine: 'all', children: [inner] }
  const admin = leaf('bypass', 'a global admin', globalRole(scope, [ADMIN]))
  return { kind: 'scope', words: `always (${name})`, combine: 'any', children: [admin, inner] }
}

function rulePart(action: ActionName, scope: Scope, policy: Resolved): Part {
  const within: Scope = { ...scope, writes: action !== 'read' }
  const bypassed = action === 'read' ? policy.bypass.read : policy.bypass.write
  const by = bypassed
    ? [leaf('bypass', `an admin who bypasses the rule${policy.domainField ? ', global or of the domain' : ''}`, bypass(action, within))]
    : []
  const rule = partOf(ruleOf(policy, action), within)
  return { kind: action === 'read' ? 'read' : 'rule', words: `may ${action}`, combine: 'any', children: [...by, rule] }
}

function limitParts(action: ActionName, scope: Scope, policy: Resolved): Part[] {
  if (action === 'read') return []
  const kind: 'create' | 'update' | 'delete' = action === 'create' ? 'create' : action === 'delete' ? 'delete' : 'update'
  const applies = ({ on, columns }: WriteLimit) => on.includes(kind) && (kind !== 'update' || columns === undefined)
  return policy.limits.filter(applies).map((limit) => leaf('limit', String(limit.takes), limit.condition(scope, action, scope.row ?? {})))
}

// -- the parts of a rule

function partOf(given: Rule, scope: Scope): Part {
  const rule = given as AnyRule
  const text = words(rule)
  if (rule.kind === 'anyOf' || rule.kind === 'allOf') {
    const children = rule.rules.map((part) => partOf(part, scope))
    return { kind: rule.kind, words: rule.kind === 'anyOf' ? 'any of' : 'all of', combine: rule.kind === 'anyOf' ? 'any' : 'all', children }
  }
  if (rule.kind === 'not') return { kind: 'not', words: 'not', combine: 'none', children: [partOf(rule.rule, scope)] }
  // The rows of a hierarchy lie at many levels, and are not counted.
  if (rule.kind === 'related' && rule.depth === undefined) return relatedPart(rule, scope)
  return leaf(rule.kind, text, compile(rule, scope))
}

function relatedPart(rule: RelatedRule, scope: Scope): Part {
  const children = innerPart(rule, rule.rule, scope)
  const counted = { count: relatedCount(rule, scope), total: relatedCount({ ...rule, rule: everyone() }, scope) }
  return { kind: 'related', words: `a row in ${rule.relation} for which`, ...counted, children: [children] }
}

// The truth of an inner part is known for each related row: count them.
function innerPart(outer: RelatedRule, given: Rule, scope: Scope): Part {
  const rule = given as AnyRule
  const isMany = rule.kind === 'anyOf' || rule.kind === 'allOf'
  const inner: readonly Rule[] = isMany ? rule.rules : rule.kind === 'not' ? [rule.rule] : []
  const text = isMany ? (rule.kind === 'anyOf' ? 'any of' : 'all of') : rule.kind === 'not' ? 'not' : words(rule)
  return {
    kind: rule.kind,
    words: text,
    count: relatedCount({ ...outer, rule: rule as RelatedRule['rule'] }, scope),
    children: inner.map((part) => innerPart(outer, part, scope)),
  }
}

/** The tree for a row that does not exist. */
export const missingRow = (action: ActionName, model: string): ExplanationNode => ({
  kind: 'action',
  words: `${action} ${model}`,
  truth: false,
  children: [{ kind: 'row', words: 'the row exists', truth: false, children: [] }],
})
