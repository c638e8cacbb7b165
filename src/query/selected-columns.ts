import type { Knex } from 'knex'
import type { Model } from 'objection'
import { memoize } from '../core/memoize.js'
import { definitionOf } from '../schema/definition/definition.js'
import { fragment } from './fragments.js'
import { relationsOf } from './objection-internals.js'

const columns = new WeakMap<object, readonly string[] | false>()

/**
 * Returns the database names of the columns that a model declares, or null if the declaration may be incomplete: a base class of
 * the application, a hand-written jsonSchema, or a relation over an undeclared column.
 */
export function declaredColumns(cls: object): readonly string[] | null {
  return (
    memoize(columns, cls, () => {
      const { isStrict, handWritten, jsonAttributes, specs, columnOf } = definitionOf(cls)
      const names = [...columnOf.values()]
      // Objection itself reads the id and the columns at which relations begin.
      const needed = [
        ...(cls as typeof Model & { getIdColumnArray(): string[] }).getIdColumnArray(),
        ...Object.values(relationsOf(cls)).flatMap((relation) => relation?.ownerProp.cols ?? []),
      ]
      const says = isStrict && [...Object.keys(handWritten), ...jsonAttributes].every((name) => specs[name])
      return says && needed.every((name) => names.includes(name)) ? names : false
    }) || null
  )
}

const lists = new WeakMap<object, WeakMap<object, Map<string, Knex.Raw>>>()

/**
 * Returns the list of columns that replaces `t.*` in a query of a model. PostgreSQL can then prepare the statement once per
 * connection: with `t.*` the result would change along with the table.
 *
 * @param ref the table or its alias in the statement
 * @param needed columns that must be declared
 * @returns null if the class may have undeclared columns
 */
export function columnList(client: Knex.Client, cls: object, ref: string, needed: readonly string[] = []): Knex.Raw | null {
  const names = declaredColumns(cls)
  if (!names || !needed.every((name) => names.includes(name))) return null
  const ofClient = memoize(lists, client, () => new WeakMap())
  const ofClass = memoize(ofClient, cls, () => new Map<string, Knex.Raw>())
  const known = ofClass.get(ref)
  if (known) return known
  const made = fragment(client, { sql: names.map(() => '??').join(', '), bindings: names.map((name) => `${ref}.${name}`) })
  // Applications may generate a new alias for each query: limit the cache.
  if (ofClass.size < 100) ofClass.set(ref, made)
  return made
}
