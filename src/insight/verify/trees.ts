/** Rows with their related rows, for all values that the rules can tell apart. */
import type { Model } from 'objection'
import { isNoop } from '../../policy/compiler/related-conditions.js'
import { policyFrameOf, policyOf, ruleOf } from '../../policy/policy.js'
import type { AnyRule, Rule, WhereRule } from '../../policy/rules.js'
import { type ObjectionRelation, relationOf } from '../../query/objection-internals.js'
import { tableOf } from '../../schema/class-statics.js'
import { leavesOf } from '../leaves.js'
import { candidateValues, combinations } from '../values.js'
import type { People } from './tenants.js'

/** A row to insert, with the rows that its relations lead to. */
export interface Tree {
  readonly cls: typeof Model
  readonly values: Readonly<Record<string, unknown>>
  readonly children: readonly { readonly relation: ObjectionRelation; readonly tree: Tree }[]
}

/** Why the rules of an action are not covered. */
export class NotCovered extends Error {}

/** The most rows with their related rows that are examined for one action. */
const MAX_TREES = 6000

/** The world in which trees are made. */
export interface TreeWorld {
  readonly people: People
  /** The tables whose rows are fixed: users, domains and other tenants, with the ids that rows may refer to. */
  readonly fixed: ReadonlyMap<string, readonly unknown[]>
  /** The column with the tenant of each class. */
  readonly tenantColumns: ReadonlyMap<object, string>
}

const covered = new Set([
  ...[
    'constant',
    'authenticated',
    'ability',
    'recent',
    'factor',
    'owner',
    'self',
    'role',
    'member',
    'colleague',
    'where',
    'related',
    'allowed',
    'delegate',
  ],
])

/** Returns the trees of a class that its rules can tell apart. @throws NotCovered */
export function treesFor(cls: typeof Model, rules: readonly Rule[], world: TreeWorld, tenantColumn?: string): readonly Tree[] {
  const leaves = rules.flatMap((rule) => leavesHere(cls, rule))
  const { domainField, ownerField } = policyFrameOf(cls)
  const { a, b, me, mate, other } = world.people
  const users = [me, mate, other, null]
  const tenants = [a, b, null]
  const wheres = leaves.filter((leaf): leaf is WhereRule => leaf.kind === 'where')
  const columns = new Map<string, readonly unknown[]>()
  const add = (name: string | undefined, values: readonly unknown[]) => {
    if (name !== undefined) columns.set(name, [...new Set([...(columns.get(name) ?? []), ...values])])
  }
  for (const name of new Set(wheres.flatMap(({ conditions }) => Object.keys(conditions)))) add(name, candidateValues(cls, name, wheres))
  const related = new Map<string, Rule[]>()
  for (const leaf of leaves) {
    if (leaf.kind === 'owner' || leaf.kind === 'delegate') add(leaf.kind === 'owner' ? (leaf.field ?? ownerField) : ownerField, users)
    else if (leaf.kind === 'member') add(leaf.field, tenants)
    else if (leaf.kind === 'role') add(domainField, tenants)
    else if (leaf.kind === 'related' && leaf.depth !== undefined) throw new NotCovered(`related('${leaf.relation}') with recursive`)
    else if (leaf.kind === 'related') related.set(leaf.relation, [...(related.get(leaf.relation) ?? []), leaf.rule])
  }
  add(ownerField, users)
  add(world.tenantColumns.get(cls) ?? domainField, tenants)
  if (tenantColumn !== undefined) columns.delete(tenantColumn)
  const grown: { relation: ObjectionRelation; trees: readonly Tree[]; most: number }[] = []
  for (const [name, inner] of related) {
    const relation = relationOf(cls, name)
    if ([relation.modify, relation.joinTableModify].some((filter) => filter && !isNoop(filter)))
      throw new NotCovered(`related('${name}') has a filter`)
    const target = relation.relatedModelClass
    const ids = world.fixed.get(tableOf(target))
    if (ids === undefined) {
      const scopes = policyFrameOf(target).globalScopes.map(({ rule }) => rule)
      grown.push({
        relation,
        trees: treesFor(target, [...inner, ...scopes], world),
        most: relation.isObjectionBelongsToOneRelation ? 1 : inner.length,
      })
    } else addFixed(relation, inner, ids, add, tenantColumn)
  }
  const rows = combinations(columns, MAX_TREES)
  if (!rows) throw new NotCovered(`more than ${MAX_TREES} rows of ${cls.name} differ for its rules`)
  return withChildren(
    rows.map((values) => ({ cls, values, children: [] })),
    grown,
  )
}

function addFixed(
  relation: ObjectionRelation,
  inner: readonly Rule[],
  ids: readonly unknown[],
  add: (name: string, values: readonly unknown[]) => void,
  tenantColumn: string | undefined,
): void {
  const target = relation.relatedModelClass
  const readsColumns = inner.flatMap((rule) => leavesHere(target, rule)).find(({ kind }) => kind === 'where')
  if (readsColumns) throw new NotCovered(`related('${relation.name}') compares columns of ${target.name}`)
  if (!relation.isObjectionBelongsToOneRelation) {
    if (relation.joinTable) throw new NotCovered(`related('${relation.name}') leads to ${target.name} through a join table`)
    return
  }
  const [name = ''] = relation.ownerProp.props
  if (name !== tenantColumn) add(name, [...ids, null])
}

// allowed() stands for the rules of the related model.
function leavesHere(cls: typeof Model, rule: Rule): AnyRule[] {
  return [...leavesOf(cls, rule)].flatMap(({ rule: leaf, relations, path }): AnyRule[] => {
    if (/(^|\.)before\b/.test(path)) throw new NotCovered('before() is decided by the row as it was')
    if (relations.length > 0) return []
    if (!covered.has(leaf.kind)) throw new NotCovered(leaf.kind === 'check' ? 'check() is code' : `the rule ${leaf.kind}() is not covered`)
    if (leaf.kind !== 'allowed') return [leaf]
    const policy = policyOf(cls)
    return [policy.read, ruleOf(policy, leaf.action), ...policy.globalScopes.map((one) => one.rule)].flatMap((one) => leavesHere(cls, one))
  })
}

function withChildren(
  rows: readonly Tree[],
  grown: readonly { relation: ObjectionRelation; trees: readonly Tree[]; most: number }[],
): readonly Tree[] {
  let result = rows
  for (const { relation, trees, most } of grown) {
    const children = trees.map((tree) => [{ relation, tree }])
    const pairs =
      most > 1
        ? trees.flatMap((one, i) =>
            trees.slice(i + 1).map((tree) => [
              { relation, tree: one },
              { relation, tree },
            ]),
          )
        : []
    const sets = [[], ...children, ...pairs]
    if (result.length * sets.length > MAX_TREES) throw new NotCovered(`more than ${MAX_TREES} combinations of rows and related rows differ`)
    result = result.flatMap((row) => sets.map((set) => ({ ...row, children: [...row.children, ...set] })))
  }
  return result
}
