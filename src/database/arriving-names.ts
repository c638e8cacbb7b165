/** Finds the keys of columns in rows from the database. Settings of Knex and of Objection may both rename columns. */
import type { ColumnNameMappers } from 'objection'
import { ConfigurationError } from '../core/errors.js'

/** The settings of a Knex instance that rename identifiers. knexSnakeCaseMappers() sets both. */
export interface KnexNames {
  readonly wrapIdentifier?: (value: string, origImpl: (value: string) => string, queryContext: unknown) => string
  readonly postProcessResponse?: (result: unknown, queryContext: unknown) => unknown
}

/** Returns the new name of a key after a function that maps whole rows. */
export function renamed(name: string, map: ((row: Record<string, unknown>) => object) | undefined): string {
  const [changed] = map ? Object.keys(map({ [name]: null })) : [name]
  return changed ?? name
}

/** Returns the database name of an identifier, after `wrapIdentifier` of Knex. */
export function storedName(identifier: string, { wrapIdentifier }: KnexNames): string {
  return wrapIdentifier ? wrapIdentifier(identifier, (name) => name, undefined) : identifier
}

/**
 * Returns the keys that a column may have in rows: first its key in rows of the model's queries, then the keys of intermediate
 * rows that Objection maps.
 *
 * @throws ConfigurationError when wrapIdentifier or postProcessResponse throws for a column name
 */
export function rowKeysOf(column: string, config: KnexNames, mappers: ColumnNameMappers | null): string[] {
  let stored = column
  let returned = column
  try {
    const { postProcessResponse } = config
    stored = storedName(column, config)
    returned = stored
    if (postProcessResponse) {
      const rows = postProcessResponse([{ [stored]: null }], undefined) as object[]
      returned = Object.keys(rows[0] as object)[0] ?? stored
    }
  } catch (cause) {
    throw new ConfigurationError(
      `Knex's wrapIdentifier or postProcessResponse failed for the column '${column}': both must accept any column name.`,
      { cause },
    )
  }
  const parse = mappers?.parse.bind(mappers)
  return [renamed(returned, parse), renamed(stored, parse), renamed(column, parse), returned, stored]
}

/** Returns a name in lower case without underscores, so that renamed names can be compared. */
export function foldName(name: string): string {
  return name.replaceAll('_', '').toLowerCase()
}
