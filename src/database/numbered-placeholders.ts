import { LruMap } from '../core/lru-map.js'
import { replaceMethod } from './replace-method.js'

/** How many texts of a Knex instance are kept. */
const MAX_TEXTS = 1000
/** In characters. Longer texts are rare, and would take much memory. */
const MAX_LENGTH = 8192

interface NumberingClient {
  positionBindings(sql: string): string
}

/**
 * Keeps the texts of statements after Knex has numbered their placeholders for PostgreSQL (`?` becomes `$1`). Knex does that with a
 * regular expression for each query, also if the text is the same.
 *
 * @returns a function that ends this
 */
export function keepNumberedTexts(client: NumberingClient): () => void {
  const known = new LruMap<string, string>(MAX_TEXTS)
  return replaceMethod(
    client,
    'positionBindings',
    (number) =>
      function (this: NumberingClient, sql) {
        if (typeof sql !== 'string' || sql.length > MAX_LENGTH) return number.call(this, sql)
        const kept = known.get(sql)
        if (kept !== undefined) return kept
        const numbered = number.call(this, sql)
        known.set(sql, numbered)
        return numbered
      },
  )
}
