import type { Model } from 'objection'

/**
 * Returns the relations of a class that can be created. A broken relation is left out here and throws its error where it is used.
 */
export function usableRelations<R>(cls: typeof Model): { isWhole: boolean; relations: R[] } {
  const relations: R[] = []
  let isWhole = true
  try {
    for (const name of (cls as unknown as { getRelationNames(): string[] }).getRelationNames()) {
      try {
        relations.push(cls.getRelation(name) as unknown as R)
      } catch {
        isWhole = false
      }
    }
  } catch {
    isWhole = false
  }
  return { isWhole, relations }
}
