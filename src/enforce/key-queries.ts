import type { Knex } from 'knex'
import { type Model, QueryBuilder } from 'objection'
import { ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'

/**
 * A key given as a query of a model, as `relatedQuery(...).for(a query)` does when it relates or inserts: what is judged has
 * to be a value, so it is looked up first, under the rule of its own model.
 *
 * @throws ValidationError where it names several rows
 */
export function* lookUpKeys(model: Model, names: Iterable<string>, db: Knex): MaybeAsyncSteps<void> {
  const row = model as unknown as Record<string, unknown>
  const { $$queryProps: queries = {} } = row as { $$queryProps?: Record<string, unknown> }
  for (const name of names) {
    const query = queries[name] ?? row[name]
    if (!(query instanceof QueryBuilder)) continue
    const found: unknown = yield* awaitMaybe(
      query
        .clone()
        .transacting(db as Knex.Transaction)
        .limit(2) as PromiseLike<unknown>,
    )
    const [first, further] = [found ?? []].flat() as object[]
    if (further) throw new ValidationError(`The query for ${name} names several rows: it has to be one.`)
    delete queries[name]
    row[name] = first === undefined ? null : Object.values(first)[0]
  }
}
