import type { Knex } from 'knex'
import { type Model, QueryBuilder } from 'objection'
import { ValidationError } from '../core/errors.js'
import { awaitMaybe, type MaybeAsyncSteps } from '../core/maybe-async.js'
import { message } from '../core/messages/message.js'
import { queryValuesOf } from '../query/objection-internals.js'
import { valuesByName } from '../schema/model-class.js'

/**
 * Replaces keys that are queries by their results, as in `relatedQuery(...).for(query)` with relate() or insert(). A policy needs
 * values, so the queries run first, under the rules of their own models.
 *
 * @throws ValidationError if a query returns several rows
 */
export function* lookUpKeys(model: Model, names: Iterable<string>, db: Knex): MaybeAsyncSteps<void> {
  const row = valuesByName(model)
  const queries = queryValuesOf(model) ?? {}
  for (const name of names) {
    const query = queries[name] ?? row[name]
    if (!(query instanceof QueryBuilder)) continue
    const found: unknown = yield* awaitMaybe(
      query
        .clone()
        .transacting(db as Knex.Transaction)
        .limit(2),
    )
    const [first, further] = [found ?? []].flat()
    if (further) throw new ValidationError(message('row.severalRows', { name }))
    delete queries[name]
    row[name] = first === undefined ? null : Object.values(first)[0]
  }
}
