import type { Knex } from 'knex'
import { columnForIdentifier } from '../schema/definition/known-names.js'
import { replaceMethod } from './replace-method.js'

/** Finds the column of an identifier in one statement. Knex passes the identifiers in the order of the statement. */
export interface IdentifierNames {
  columnFor(identifier: string): string
}

/** The Knex query context of a model query. */
export interface NamesContext {
  readonly objectionPermsNames: IdentifierNames
}

/** The Knex query context of model queries, whose identifiers may be property names, while no model names columns with named(). */
export const namesContext: NamesContext = Object.freeze({ objectionPermsNames: Object.freeze({ columnFor: columnForIdentifier }) })

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
        const { objectionPermsNames: names } = (queryContext ?? {}) as Partial<NamesContext>
        return before(names ? names.columnFor(value) : value, origImpl, queryContext)
      }
    },
    (value, origImpl) => origImpl(value),
  )
}
