/** Under which names the columns of a table arrive in rows: Knex and Objection may both be told to rename them. */
import type { ColumnNameMappers } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { namesContext } from './identifiers.js'

/** The settings of a Knex instance that rename identifiers, such as those of knexSnakeCaseMappers(). */
export interface KnexNames {
  readonly wrapIdentifier?: (value: string, origImpl: (value: string) => string, queryContext: unknown) => string
  readonly postProcessResponse?: (result: unknown, queryContext: unknown) => unknown
}

/** Returns a name as a mapping of whole rows changes it. */
export function renamed(name: string, map: ((row: Record<string, unknown>) => object) | undefined): string {
  const [changed] = map ? Object.keys(map({ [name]: null })) : [name]
  return changed ?? name
}

/** Returns the name that an identifier has in the database, where the settings of Knex may change it. */
export function storedName(identifier: string, { wrapIdentifier }: KnexNames): string {
  return wrapIdentifier ? wrapIdentifier(identifier, (name) => name, namesContext) : identifier
}

/**
 * Returns the names under which a column may arrive: first the one in rows of the model's queries, then those that Objection
 * asks about in between.
 *
 * @throws ConfigurationError where the settings of Knex cannot be called with a name
 */
export function arrivals(column: string, config: KnexNames, mappers: ColumnNameMappers | null): string[] {
  let stored = column
  let returned = column
  try {
    const { postProcessResponse } = config
    stored = storedName(column, config)
    returned = stored
    if (postProcessResponse) {
      const rows = postProcessResponse([{ [stored]: null }], namesContext) as object[]
      returned = Object.keys(rows[0] as object)[0] ?? stored
    }
  } catch (cause) {
    throw new ConfigurationError(
      `Knex's wrapIdentifier or postProcessResponse does not say under which name the column '${column}' arrives: let both take any name.`,
      { cause },
    )
  }
  const parse = mappers?.parse.bind(mappers) as ((row: Record<string, unknown>) => object) | undefined
  return [renamed(returned, parse), renamed(stored, parse), renamed(column, parse), returned, stored]
}

/** A name without what renaming changes: case and underscores. */
export function foldName(name: string): string {
  return name.replaceAll('_', '').toLowerCase()
}
