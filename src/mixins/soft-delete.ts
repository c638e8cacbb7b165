import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import { declareGlobalScope, policyOf, restoreAction } from '../policy/policy.js'
import { where } from '../policy/rules.js'
import type { Execution } from '../query/policy-enforcer.js'
import { noteDerivedCode } from '../query/query-builder.js'
import type { AbstractConstructor, ActiveRecord, Constructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition/declarations.js'
import { classOf, modelClass } from '../schema/model-class.js'

/** The instance members that SoftDeleteMixin adds. */
export interface SoftDelete {
  deletedAt: Date | null
  readonly isDeleted: boolean
  /** Marks the row as deleted, like delete(). Needs the delete rule. */
  softDelete(trx?: TransactionOrKnex): Promise<this>
  /** Restores the row. Needs the rule `restore` of the policy, or the delete rule if there is none. */
  restore(trx?: TransactionOrKnex): Promise<this>
  /** Deletes the row permanently. */
  hardDelete(trx?: TransactionOrKnex): Promise<void>
}

/** The static members that SoftDeleteMixin adds. */
export interface SoftDeleteStatics {
  /** Returns a query that includes deleted rows. The policy still applies. */
  withDeleted<M extends Model>(this: Constructor<M>, trx?: TransactionOrKnex): QueryBuilder<M>
}

/** The members of a query builder that soft deletion uses. */
interface Open {
  deletedToo?: boolean
  isHard?: boolean
  execution?: Execution | undefined
  patch(values: object): unknown
  delete(...args: unknown[]): unknown
  clone(): Open
}

function softDeletingBuilder(Base: typeof QueryBuilder): typeof QueryBuilder
function softDeletingBuilder(Base: Constructor<Open>): Constructor<Open> {
  class SoftDeleting extends Base {
    override isHard = false

    override clone(): Open {
      const copy = super.clone()
      copy.isHard = this.isHard
      return copy
    }

    // Every delete marks the rows instead, under the delete rule.
    override delete(...args: unknown[]): unknown {
      if (this.isHard || args.length > 0) return super.delete(...args)
      asDelete(this)
      return this.patch({ deletedAt: new Date() })
    }

    del(...args: unknown[]): unknown {
      return this.delete(...args)
    }
  }
  noteDerivedCode(Base, SoftDeleting)
  return SoftDeleting
}

/** Returns whether deleted rows of a model stay in its table. */
export function isSoftDeletable(cls: object): boolean {
  return 'withDeleted' in cls && typeof cls.withDeleted === 'function'
}

/** Makes a query include deleted rows. The policy still applies. */
export function includingDeleted<Q extends QueryBuilder<Model, unknown>>(query: Q): Q {
  return Object.assign(query, { deletedToo: true })
}

/** Makes a query that includes deleted rows delete its rows permanently. */
export function deletingPermanently<Q extends QueryBuilder<Model, unknown>>(query: Q): Q {
  return Object.assign(query, { deletedToo: true, isHard: true })
}

function asDelete(builder: Open): void {
  builder.execution = { ids: undefined, action: 'delete', session: undefined }
}

// A model without PermsMixin has no policy.
function restoring(cls: typeof Model): Execution {
  const action = 'policy' in cls ? restoreAction(policyOf(cls)) : 'delete'
  return { ids: undefined, action, session: undefined }
}

/** Makes a query find the rows that the caller may restore: deleted ones, and those that are not deleted. */
export function findingRestorable<Q extends QueryBuilder<Model, unknown>>(query: Q): Q {
  return Object.assign(query, { deletedToo: true, execution: restoring(modelClass(query.modelClass())) })
}

/**
 * Keeps deleted rows in the table. Queries omit them unless they ask for them with withDeleted().
 *
 * @example class Post extends SoftDeleteMixin(BasePermsModel).withColumns({ title: column.string() }) {}
 */
export function SoftDeleteMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<SoftDelete> & SoftDeleteStatics
export function SoftDeleteMixin(Base: typeof Model & AbstractConstructor<ActiveRecord>): typeof Model {
  class WithSoftDelete extends Base {
    declare deletedAt: Date | null

    static override QueryBuilder = softDeletingBuilder(Base.QueryBuilder)

    static withDeleted(trx?: TransactionOrKnex): unknown {
      const query: Open = this.query(trx)
      query.deletedToo = true
      return query
    }

    get isDeleted(): boolean {
      return this.deletedAt !== null && this.deletedAt !== undefined
    }

    override async delete(trx?: TransactionOrKnex): Promise<void> {
      await this.softDelete(trx)
    }

    softDelete(trx?: TransactionOrKnex): Promise<this> {
      return this.#mark(new Date(), trx)
    }

    restore(trx?: TransactionOrKnex): Promise<this> {
      return this.#mark(null, trx)
    }

    async hardDelete(trx?: TransactionOrKnex): Promise<void> {
      const query: Open = this.$query(trx)
      query.isHard = true
      query.deletedToo = true
      await query.delete()
    }

    async #mark(deletedAt: Date | null, trx?: TransactionOrKnex): Promise<this> {
      const query: Open = this.$query(trx)
      query.deletedToo = deletedAt === null
      if (deletedAt === null) query.execution = restoring(classOf(this))
      else asDelete(query)
      await this.$orAsBefore(() => query.patch({ deletedAt }) as PromiseLike<unknown>, trx)
      return this
    }
  }
  markIntermediate(WithSoftDelete)
  declareColumns(WithSoftDelete, { deletedAt: column.datetime().nullable().readOnly().index() })
  declareGlobalScope(WithSoftDelete, { name: 'softDelete', rule: where({ deletedAt: null }), liftedFor: 'nobody' })
  return WithSoftDelete
}
