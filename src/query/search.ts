/** Searches words in the columns of a model that column.searchable() marks. */
import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { type Message, message } from '../core/messages/message.js'
import type { ColumnSpec } from '../schema/column.js'
import { definitionOf, namedColumn } from '../schema/definition/definition.js'
import { containing, likeSql } from '../schema/like-patterns.js'
import type { Dialect } from '../schema/storage.js'
import { assertNoErrors } from '../schema/validator.js'
import { isStorableText } from '../schema/values.js'
import type { Template } from './fragments.js'

/** The most characters of a search. */
export const maxSearch = 256

/** The most words of a search. */
export const maxSearchWords = 10

/** A column that a search looks at. */
export interface SearchedColumn {
  /** The column in the statement: `table.column`. */
  readonly reference: string
  readonly spec: ColumnSpec
}

/** Returns the names of the properties that searches of clients and of code may look at. */
export function searchableNames(cls: object): string[] {
  return Object.entries(definitionOf(cls).specs).flatMap(([name, spec]) => (spec.isSearchable && !spec.isHidden ? [name] : []))
}

/** Splits the text of a search into words, or says why it is not valid. */
export function searchWords(text: string): { readonly words: readonly string[] } | { readonly error: Message } {
  if (text.length > maxSearch) return { error: message('field.maxCharacters', { limit: maxSearch }) }
  if (!isStorableText(text)) return { error: message('field.storableText') }
  const words = [...new Set(text.split(/\s+/).filter((word) => word !== ''))]
  return words.length > maxSearchWords ? { error: message('field.maxWords', { limit: maxSearchWords }) } : { words }
}

/** Returns the condition that each word stands in one of the columns, in any case; null without words. */
export function searchCondition(words: readonly string[], columns: readonly SearchedColumn[], dialect: Dialect): Template | null {
  if (words.length === 0) return null
  const parts = words.map((word) => columns.map(({ reference, spec }) => ({ reference, found: wordSql(word, dialect, spec) })))
  return {
    sql: parts.map((either) => `(${either.map(({ found }) => found.sql).join(' or ')})`).join(' and '),
    bindings: parts.flat().flatMap(({ reference, found }) => [reference, ...found.bound]),
  }
}

/** Returns the condition that a word stands in a column: `??` is the column, and `bound` has the other values. */
function wordSql(word: string, dialect: Dialect, spec: ColumnSpec): { readonly sql: string; readonly bound: readonly string[] } {
  if (dialect !== 'pg' || spec.fullText === undefined) {
    const [sql, pattern] = likeSql(containing(word), 'ilike', dialect, spec)
    return { sql, bound: [pattern] }
  }
  // The configuration is a literal, because an index on to_tsvector() is used only for the same expression.
  const query = `plainto_tsquery('${spec.fullText}', ?)`
  // A word that the configuration leaves out, such as 'the', stands in no vector.
  return { sql: `(to_tsvector('${spec.fullText}', ??) @@ ${query} or numnode(${query}) = 0)`, bound: [word, word] }
}

/**
 * Returns the condition of `query().search(text)`. Columns with readableBy() are left out, because the search would reveal their values.
 *
 * @throws ConfigurationError for a model without searchable columns, ValidationError for a text that is too long
 */
export function searchOf(cls: typeof Model, ref: string, text: unknown, dialect: Dialect): Template | null {
  const { specs } = definitionOf(cls)
  const columns = searchableNames(cls).flatMap((name) => {
    const spec = specs[name]
    return spec && !spec.readable ? [{ reference: `${ref}.${namedColumn(cls, name)}`, spec }] : []
  })
  if (columns.length === 0)
    throw new ConfigurationError(`${cls.name}: search() needs a column that searches may look at. Declare one: column.text().searchable().`)
  const found = typeof text === 'string' ? searchWords(text) : { error: message('field.storableText') }
  if ('error' in found) {
    assertNoErrors([{ field: 'search', message: found.error }])
    return null
  }
  return searchCondition(found.words, columns, dialect)
}

declare module 'objection' {
  interface QueryBuilder<M extends import('objection').Model, R = M[]> {
    /**
     * Finds rows in which each word of the text stands, in any of the columns that column.searchable() marks, whatever its case. The
     * database looks only at rows that the caller may read. A blank text finds all rows. Call alias() before.
     *
     * @param text up to 256 characters and 10 words
     * @throws ConfigurationError for a model without searchable columns, ValidationError for a text that is too long
     * @example const posts = await Post.query().search('objection rules').limit(20)
     */
    search<Q>(this: Q, text: string): Q
  }
}
