import type { Model, QueryBuilder, TransactionOrKnex } from 'objection'
import { declareGlobalScope } from '../policy/policy.js'
import { where } from '../policy/rules.js'
import type { Execution } from '../query/policy-enforcer.js'
import type { AbstractConstructor, ActiveRecord, Constructor } from '../record/active-record.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'

/** What SoftDeleteMixin gives to each row. */
export interface SoftDelete {
  deletedAt: Date | null
  readonly isDeleted: boolean
  /** Marks the row as deleted; asks the delete rule. delete() does the same. */
  softDelete(trx?: TransactionOrKnex): Promise<this>
  /** Brings the row back; asks the delete rule. */
  restore(trx?: TransactionOrKnex): Promise<this>
  /** Removes the row for good. */
  hardDelete(trx?: TransactionOrKnex): Promise<void>
}

/** What SoftDeleteMixin gives to each class. */
export interface SoftDeleteStatics {
  /** A query that finds deleted rows too; the policy stays. */
  withDeleted<M extends Model>(this: Constructor<M>, trx?: TransactionOrKnex): QueryBuilder<M>
}

interface Open {
  deletedToo: boolean
  isHard: boolean
  execution: Execution | undefined
  patch(values: object): unknown
  delete(...args: unknown[]): unknown
  clone(): Open
}

function softDeletingBuilder(Base: typeof QueryBuilder): typeof QueryBuilder {
  class SoftDeleting extends (Base as unknown as new () => Open) {
    override isHard = false

    override clone(): Open {
      const copy = super.clone()
      copy.isHard = this.isHard
      return copy
    }

    // Whatever path a delete takes, it marks the rows, under the delete rule.
    override delete(...args: unknown[]): unknown {
      if (this.isHard || args.length > 0) return super.delete(...args)
      asDelete(this)
      return this.patch({ deletedAt: new Date() })
    }

    del(...args: unknown[]): unknown {
      return this.delete(...args)
    }
  }
  return SoftDeleting as unknown as typeof QueryBuilder
}

function asDelete(builder: Open): void {
  builder.execution = { ids: undefined, action: 'delete', session: undefined }
}

/**
 * Deleted rows stay in the table, out of every query that does not ask for them.
 *
 * @example class Post extends SoftDeleteMixin(BasePermsModel).withColumns({ title: column.string() }) {}
 */
export function SoftDeleteMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<SoftDelete> & SoftDeleteStatics {
  const OpenBase = Base as unknown as AbstractConstructor<Model> & typeof Model
  abstract class WithSoftDelete extends OpenBase {
    declare deletedAt: Date | null

    static override QueryBuilder = softDeletingBuilder(OpenBase.QueryBuilder)

    static withDeleted(trx?: TransactionOrKnex): unknown {
      const query = (this as unknown as { query(trx?: TransactionOrKnex): unknown }).query(trx) as Open
      query.deletedToo = true
      return query
    }

    get isDeleted(): boolean {
      return this.deletedAt !== null && this.deletedAt !== undefined
    }

    async delete(trx?: TransactionOrKnex): Promise<void> {
      await this.softDelete(trx)
    }

    softDelete(trx?: TransactionOrKnex): Promise<this> {
      return this.#mark(new Date(), trx)
    }

    restore(trx?: TransactionOrKnex): Promise<this> {
      return this.#mark(null, trx)
    }

    async hardDelete(trx?: TransactionOrKnex): Promise<void> {
      const query = this.$query(trx) as unknown as Open
      query.isHard = true
      query.deletedToo = true
      await query.delete()
    }

    async #mark(deletedAt: Date | null, trx?: TransactionOrKnex): Promise<this> {
      const query = this.$query(trx) as unknown as Open
      query.deletedToo = deletedAt === null
      asDelete(query)
      await (this as unknown as ActiveRecord).$orAsBefore(() => query.patch({ deletedAt }) as PromiseLike<unknown>, trx)
      return this
    }
  }
  markIntermediate(WithSoftDelete)
  declareColumns(WithSoftDelete, { deletedAt: column.datetime().nullable().readOnly().index() })
  declareGlobalScope(WithSoftDelete, { name: 'softDelete', rule: where({ deletedAt: null }), liftedFor: 'nobody' })
  return WithSoftDelete as unknown as T & AbstractConstructor<SoftDelete> & SoftDeleteStatics
}
