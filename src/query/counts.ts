/** Counts the rows of queries that enforce policies, and finds the rows that a write affects first. */
import { inRuntimeOf } from '../runtime.js'
import { assertProven } from './caller-proof.js'
import type { BuilderState } from './enforcing-query.js'
import { afterTableCheck } from './execution/table-check.js'
import { joinsManyRows } from './joined-graphs.js'
import type { BuilderClass } from './objection-internals.js'
import type { Execution } from './policy-enforcer.js'
import { typedError } from './typed-errors.js'

/** Adds resultSize(), for which Objection does not call execute(). */
export function CountMixin(Base: BuilderClass<BuilderState>): BuilderClass<BuilderState> {
  return class Counting extends Base {
    override async resultSize(): Promise<number> {
      try {
        assertProven(this)
        return await inRuntimeOf(
          () => this.unsafeKnex(),
          () => afterNarrowing(this, () => this.#count()),
        )
      } catch (error) {
        throw typedError(this.modelClass(), error)
      }
    }

    #count(): Promise<number> {
      if (this.allowedActions.length > 0) {
        const plain = this.clone() as BuilderState
        plain.allowedActions = []
        return plain.resultSize()
      }
      return joinsManyRows(this) ? countRoots(this) : super.resultSize()
    }
  }
}

/** Runs a query after the check of the tables and, for the rows of a write, after the enforcer has restricted it to the rows that the write may change. */
export function afterNarrowing<T>(query: BuilderState, run: () => Promise<T>): Promise<T> {
  return afterTableCheck(
    () => query.unsafeKnex(),
    () => (query.affectedBy ? narrow(query).then(run) : run()),
  )
}

async function narrow(query: BuilderState): Promise<void> {
  const { enforcer, affectedBy } = query
  if (!enforcer || !affectedBy) return
  const execution = { ...(query.execution as Execution) }
  try {
    await enforcer.narrow(execution, affectedBy.builder, affectedBy.write)
  } catch (error) {
    throw typedError(query.modelClass(), error)
  }
  query.execution = execution
  query.affectedBy = undefined
}

// Counts each row of the model once, however many rows are joined to it.
async function countRoots(query: BuilderState): Promise<number> {
  const ids = [query.fullIdColumn()].flat()
  const each = query.clone().clear(/orderBy|offset|limit/)
  const db = query.knex()
  const roots = db.queryBuilder()
  each.toKnexQuery(roots).clearSelect().distinct(ids).as('temp')
  const [row] = await db.count('* as count').from(roots)
  return Number((row as { count?: unknown } | undefined)?.count ?? 0)
}
