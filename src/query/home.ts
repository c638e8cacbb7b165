import type { Knex } from 'knex'

/**
 * Throws when a value is a row of another runtime than that of `knex`: ids may be the same there.
 *
 * @param value a row, or anything else, such as an id, which passes
 * @param knex Default: the database of the context.
 * @throws RuntimeMismatchError
 */
export function assertHome(value: unknown, knex?: Knex): void {
  const row = value as { $assertHome?(knex?: Knex): void } | null | undefined
  row?.$assertHome?.(knex)
}
