import type { Knex } from 'knex'
import type { Model } from 'objection'
import { memoize } from '../core/memoize.js'
import { definitionOf } from '../schema/definition.js'
import { fragment } from './fragments.js'

interface OpenRelation {
  readonly ownerProp: { readonly cols: readonly string[] }
}

const columns = new WeakMap<object, readonly string[] | false>()

/**
 * The columns that a model declares, as they are called in the database; null for a class that does not say them all: an
 * application's own base class, one with a hand-written jsonSchema, or with a relation over a column that it does not declare.
 */
export function declaredColumns(cls: object): readonly string[] | null {
  return (
    memoize(columns, cls, () => {
      const { isStrict, handWritten, jsonAttributes, specs, columnOf } = definitionOf(cls)
      const names = [...columnOf.values()]
      // What Objection itself reads of a row: its id, and what its relations begin at.
      const needed = [
        ...(cls as typeof Model & { getIdColumnArray(): string[] }).getIdColumnArray(),
        ...Object.values((cls as typeof Model).getRelations()).flatMap((one) => (one as unknown as OpenRelation).ownerProp.cols),
      ]
      const says = isStrict && [...Object.keys(handWritten), ...jsonAttributes].every((name) => specs[name])
      return says && needed.every((name) => names.includes(name)) ? names : false
    }) || null
  )
}

const lists = new WeakMap<object, WeakMap<object, Map<string, Knex.Raw>>>()

/**
 * What stands in place of `t.*` in a query of a model: PostgreSQL prepares such a statement once per connection, which it
 * could not do with a result that changes along with the table.
 *
 * @param ref the table or its alias in the statement
 * @param needed columns that must be among them
 * @returns null for a class that does not say its columns
 */
export function columnList(client: Knex.Client, cls: object, ref: string, needed: readonly string[] = []): Knex.Raw | null {
  const names = declaredColumns(cls)
  if (!names || !needed.every((name) => names.includes(name))) return null
  const ofClient = memoize(lists, client, () => new WeakMap())
  const ofClass = memoize(ofClient, cls, () => new Map<string, Knex.Raw>())
  const known = ofClass.get(ref)
  if (known) return known
  const made = fragment(client, { sql: names.map(() => '??').join(', '), bindings: names.map((name) => `${ref}.${name}`) })
  // An alias may be anybody's, and new each time.
  if (ofClass.size < 100) ofClass.set(ref, made)
  return made
}
