/** Groups the conditions of a statement, so that a rule can be added with AND. */
import { addClauses, type Clause, clausesOf, type OpenKnexBuilder, setClauses } from '../database/knex-internals.js'

/** Returns the WHERE clauses among the clauses of a statement. */
export const wheresOf = (clauses: readonly Clause[]) => clauses.filter(({ grouping }) => grouping === 'where')

const plainWheres = new Set(['whereBasic', 'whereIn', 'whereNull', 'whereBetween', 'whereColumn', 'whereLike', 'whereILike'])

/** Groups the WHERE clauses in parentheses, so that no or() and no raw text affects a rule that is added with AND. */
export function groupWheres(statement: OpenKnexBuilder, names: object): void {
  const clauses = clausesOf(statement)
  const wheres = wheresOf(clauses)
  if (wheres.every(isPlain)) return
  setClauses(
    statement,
    clauses.filter(({ grouping }) => grouping !== 'where'),
  )
  addGroup(statement, wheres, names)
}

/** Adds conditions in parentheses. */
export function addGroup(statement: OpenKnexBuilder, wheres: readonly Clause[], names: object): void {
  statement.where((group) => {
    const open = group as OpenKnexBuilder
    open.queryContext(names)
    addClauses(open, wheres)
  })
}

/** Returns whether no part of a condition is raw SQL, also no operator, and it is added with AND. */
export function isPlain(clause: Clause): boolean {
  return clause.bool !== 'or' && plainWheres.has(clause.type ?? '') && Object.values(clause).every(isLiteral)
}

function isLiteral(value: unknown): boolean {
  if (typeof value === 'function') return false
  if (typeof value !== 'object' || value === null || value instanceof Date || Buffer.isBuffer(value)) return true
  return Array.isArray(value) && value.every(isLiteral)
}
