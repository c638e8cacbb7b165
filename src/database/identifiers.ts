import type { Knex } from 'knex'
import { columnForIdentifier } from '../schema/definition.js'
import { replaceMethod } from './replace-method.js'

/** The Knex query context of model queries, whose identifiers may be property names. */
export const namesContext = Object.freeze({ objectionPermsNames: true })

type WrapIdentifier = NonNullable<Knex.Config['wrapIdentifier']>

/**
 * Converts property names to columns in the queries of models. Other queries of the Knex instance stay unchanged.
 *
 * @returns a function that undoes this
 */
export function mapIdentifiers(knex: Knex): () => void {
  const { config } = knex.client as { config: Knex.Config }
  return replaceMethod(
    config as { wrapIdentifier: WrapIdentifier },
    'wrapIdentifier',
    (before) => {
      return (value, origImpl, queryContext) => {
        const name = (queryContext as { objectionPermsNames?: boolean } | undefined)?.objectionPermsNames
          ? columnForIdentifier(value)
          : value
        return before(name, origImpl, queryContext)
      }
    },
    (value, origImpl) => origImpl(value),
  )
}
