import type { Model, RelationMappings } from 'objection'
import { memoize } from '../core/memoize.js'
import { nameLinksExactly } from '../query/execution/links.js'
import { hasModel } from '../query/inspection/protected-tables.js'
import { createRelation, forgetRelationsOf, type ObjectionRelation, relationCacheOf } from '../query/objection-internals.js'
import { enforcingQueryBuilder, isEnforcingBuilder } from '../query/query-builder.js'
import { modelSlot } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import type { ModelBase } from './record-types.js'
import { mergedRelationMappings } from './relations.js'

const relations = modelSlot(() => new WeakMap<object, RelationMappings>())
const relationNames = new WeakMap<object, string[]>()

/** Clears the cached relations, after other classes were registered as user model, role model and so on. */
export function forgetRelations(): void {
  relations.set(new WeakMap())
}

/** Adds the static methods through which Objection finds the relations of a model class. */
export function ModelRelationsMixin(Base: ModelBase): ModelBase {
  class ModelRelations extends Base {
    static getRelationMappings(): RelationMappings {
      return memoize(relations.get(), this, () => {
        // Objection cached the relations of the earlier mappings.
        forgetRelationsOf(this)
        return mergedRelationMappings(this)
      })
    }

    // Objection caches a relation before its setup is complete. If the setup failed or was re-entered, every later query would use
    // the incomplete relation.
    static getRelationUnsafe(name: string): unknown {
      const mapping = this.getRelationMappings()[name]
      if (!mapping) return null
      const cache = relationCacheOf(this)
      let relation = cache[name]
      if (!relation) {
        const made = createRelation(this, name, mapping)
        relation = cache[name] ??= made
      }
      protectPlainEnds(relation)
      nameLinksExactly(relation)
      return relation
    }

    // Objection caches the names forever, but relations may be added later.
    static getRelationNames(): string[] {
      const mappings = this.getRelationMappings()
      return memoize(relationNames, mappings, () => Object.keys(mappings))
    }
  }
  markIntermediate(ModelRelations)
  return ModelRelations
}

// A plain Objection class over the table of a model with a policy gets a query builder that refuses its queries.
function protectPlainEnds(relation: ObjectionRelation): void {
  relation.relatedModelClass = protectedIfPlain(relation.relatedModelClass)
  if (relation.joinTableModelClass) relation.joinTableModelClass = protectedIfPlain(relation.joinTableModelClass)
}

function protectedIfPlain(cls: typeof Model): typeof Model {
  if (isEnforcingBuilder(cls.QueryBuilder) || !hasModel(tableOf(cls))) return cls
  const Protected = class extends cls {}
  for (const [name, value] of Object.entries({ name: cls.name, QueryBuilder: enforcingQueryBuilder(cls.QueryBuilder) }))
    Object.defineProperty(Protected, name, { value, writable: true, configurable: true })
  return Protected
}
