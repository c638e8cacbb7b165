import { type ObjectionRelation, relationNamesOf, relationOf } from './objection-internals.js'

/**
 * Returns the relations of a class that can be created. A broken relation is left out here and throws its error where it is used.
 */
export function usableRelations(cls: object): { isWhole: boolean; relations: ObjectionRelation[] } {
  const relations: ObjectionRelation[] = []
  let isWhole = true
  try {
    for (const name of relationNamesOf(cls)) {
      try {
        relations.push(relationOf(cls, name))
      } catch {
        isWhole = false
      }
    }
  } catch {
    isWhole = false
  }
  return { isWhole, relations }
}
