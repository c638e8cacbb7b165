/** The relations in which the rows of a model may be shared. */
import { ConfigurationError } from '../core/errors.js'
import { memoize } from '../core/memoize.js'
import { nearestNames } from '../core/nearest-names.js'
import { lineage } from '../schema/class-statics.js'

/** The relations of models without `static shareRelations`. */
export const defaultShareRelations: readonly string[] = Object.freeze(['viewer', 'editor'])

const shareable = new WeakSet<object>()

/** Marks a class and its subclasses as models whose rows may be shared. */
export function markShareable(cls: object): void {
  shareable.add(cls)
}

const answers = new WeakMap<object, boolean>()

/** Returns whether the rows of a class may be shared. Every insert and delete asks. */
export function isShareable(cls: object): boolean {
  return memoize(answers, cls, () => lineage(cls).some((c) => shareable.has(c)))
}

/** Returns the relations of a class in ascending order: each includes those before it. */
export function shareRelationsOf(cls: object): readonly string[] {
  return (cls as { readonly shareRelations?: readonly string[] }).shareRelations ?? defaultShareRelations
}

/** Returns a relation and those that include it. */
export function relationsIncluding(cls: object, relation: string): readonly string[] {
  const relations = shareRelationsOf(cls)
  const first = relations.indexOf(relation)
  return first === -1 ? [] : relations.slice(first)
}

/**
 * Checks a rule shared().
 *
 * @param at the location of the rule, for the message
 * @throws ConfigurationError for a model without ShareableMixin, and for a relation that it does not have
 */
export function assertShareRelation(at: string, cls: { readonly name: string }, relation: string): void {
  if (!isShareable(cls))
    throw new ConfigurationError(`${at}: shared('${relation}') needs a model whose rows can be shared. Add ShareableMixin to ${cls.name}.`)
  const relations = shareRelationsOf(cls)
  if (relations.includes(relation)) return
  throw new ConfigurationError(
    `${at}: ${cls.name} has no relation '${relation}'. ${nearestNames(relation, relations, 'Its relations')} Add it to static shareRelations, or correct the name.`,
  )
}
