/** The ids of the rows of a statement, where the statement itself names them. */

import { memoize } from '../core/memoize.js'
import { clausesOf, type OpenKnexBuilder } from '../database/knex-internals.js'
import { policyOf, type Resolved } from '../policy/policy.js'
import { mentions, type Rule } from '../policy/rules.js'
import type { QueryHandle } from '../query/policy-enforcer.js'
import { idColumns } from './evaluate.js'

/** The most ids that a rule takes into its condition. */
const MAX_IDS = 100

const uses = new WeakMap<Resolved, boolean>()

/** Only rules about related rows and shares use the ids: other statements are not searched for them. */
const usesIds = (policy: Resolved): boolean =>
  memoize(uses, policy, () => rulesIn(policy).some((rule) => mentions(rule, 'related') || mentions(rule, 'shared')))

const rulesIn = ({ read, create, updateFrom, updateTo, delete: remove, named, globalScopes }: Resolved): readonly Rule[] => [
  ...[read, create, updateFrom, updateTo, remove, ...named.values()],
  ...globalScopes.map(({ rule }) => rule),
]

/** Returns the ids of the only rows that a statement concerns, or undefined if it does not name them or no rule uses them. */
export function knownIds({ cls, ref, execution }: QueryHandle, statement: OpenKnexBuilder): readonly unknown[] | undefined {
  if (!usesIds(policyOf(cls))) return undefined
  if (execution.ids) return few(execution.ids)
  const columns = idColumns(cls)
  const wheres = clausesOf(statement).filter(({ grouping }) => grouping === 'where')
  if (columns.length !== 1 || wheres.some(({ bool }) => bool !== 'and')) return undefined
  const byId = wheres.find(({ column, not }) => column === `${ref}.${columns[0]}` && not === false)
  if (byId?.type === 'whereBasic' && byId.operator === '=') return few([byId.value])
  return byId?.type === 'whereIn' && Array.isArray(byId.value) ? few(byId.value) : undefined
}

const few = (ids: readonly unknown[]): readonly unknown[] | undefined =>
  ids.length <= MAX_IDS && ids.every((id) => typeof id === 'string' || typeof id === 'number') ? ids : undefined
