import type { Knex } from 'knex'
import { columnForIdentifier } from './definition.js'

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
  const before = config.wrapIdentifier
  const wrap: WrapIdentifier = (value, origImpl, queryContext) => {
    const name = (queryContext as { objectionPermsNames?: boolean } | undefined)?.objectionPermsNames ? columnForIdentifier(value) : value
    return before ? before(name, origImpl, queryContext) : origImpl(name)
  }
  config.wrapIdentifier = wrap
  return () => {
    if (config.wrapIdentifier !== wrap) return
    if (before) config.wrapIdentifier = before
    else delete config.wrapIdentifier
  }
}
