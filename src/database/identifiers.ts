import type { Knex } from 'knex'
import { columnForIdentifier } from '../schema/definition.js'
import { replaceMethod } from './replace-method.js'

/** The query context of Knex under which identifiers may be property names. */
export const namesContext = Object.freeze({ objectionPermsNames: true })

type WrapIdentifier = NonNullable<Knex.Config['wrapIdentifier']>

/**
 * Lets identifiers in queries of models be property names. Other queries on the same Knex instance are not touched.
 *
 * @returns undoes it
 */
export function mapIdentifiers(knex: Knex): () => void {
  const { config } = (knex as unknown as { client: { config: Knex.Config } }).client
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
