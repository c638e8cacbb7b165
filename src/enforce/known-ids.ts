/** The ids of the rows of a statement, where the statement itself names them. */
import { clausesOf, type OpenKnexBuilder } from '../database/knex-internals.js'
import type { QueryHandle } from '../query/policy-enforcer.js'
import { idColumns } from './evaluate.js'

/** The most ids that a rule takes into its condition. */
const MAX_IDS = 100

/** Returns the ids of the only rows that a statement concerns, or undefined if it does not name them. */
export function knownIds({ cls, ref, execution }: QueryHandle, statement: OpenKnexBuilder): readonly unknown[] | undefined {
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
