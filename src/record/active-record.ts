import type { Model, TransactionOrKnex } from 'objection'
import { NotFoundError, ValidationError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { queryNamesOf } from '../query/objection-internals.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { assertNoUndefined, fromClient } from '../schema/input.js'
import { FindingMixin } from './finding.js'
import { ModelRelationsMixin } from './model-relations.js'
import { ModelSetupMixin } from './model-setup.js'
import { type AbstractConstructor, type ActiveRecord, type ActiveRecordStatics, classOf, type ModelBase } from './record-types.js'
import { changedValues, markBuilt, RowStateMixin, type StatefulBase, takeBuilt } from './row-state.js'
import { type FromJsonOptions, RowValuesMixin } from './row-values.js'

/**
 * Adds active-record methods to an Objection model class (build, create, get, save, update, delete), declared columns, and
 * property names in queries.
 *
 * @param Base Objection's Model or the application's base class
 * @returns a subclass of Base
 * @example class AppModel extends ActiveRecordMixin(Model) {}
 */
export function ActiveRecordMixin<T extends AbstractConstructor<Model>>(
  Base: T,
): T & AbstractConstructor<ActiveRecord> & ActiveRecordStatics {
  const Values = RowValuesMixin(ModelRelationsMixin(Base as AbstractConstructor<Model> as ModelBase))
  return SavingMixin(RowStateMixin(FindingMixin(ModelSetupMixin(Values)))) as AbstractConstructor<Model> as T &
    AbstractConstructor<ActiveRecord> &
    ActiveRecordStatics
}

// Adds the methods that write rows.
function SavingMixin(Base: StatefulBase): ModelBase {
  class Saving extends Base implements ActiveRecord {
    static build(values: object): Saving {
      assertNoUndefined(values)
      const options: FromJsonOptions = { active: true }
      const row = this.fromJson(values, options)
      if (row instanceof Saving) row[markBuilt]()
      return row
    }

    static async create(values: object, trx?: TransactionOrKnex): Promise<Saving> {
      const row = await this.build(values).save(trx)
      await this.afterGet([row], trx)
      return row
    }

    static async createFrom(input: unknown, trx?: TransactionOrKnex): Promise<Saving> {
      return await this.create(fromClient(this, input, 'create'), trx)
    }

    async save(trx?: TransactionOrKnex): Promise<this> {
      await this.$settle(trx)
      if (this.isNew) {
        // Values that have not changed since build() need no second validation.
        if (!this[takeBuilt]()) this.$validate()
        await this.$orAsBefore(() => classOf(this).query(trx).insert(this), trx)
        return this
      }
      const changes = this[changedValues]()
      if (Object.keys(changes).length > 0) await this.#patch(changes, trx)
      return this
    }

    async update(values: object, trx?: TransactionOrKnex): Promise<this> {
      if (this.isNew) throw new ValidationError(message('row.updateUnsaved'))
      assertNoUndefined(values)
      const patch = classOf(this).fromJson(values, { patch: true, active: true, old: this })
      await patch.$settle(trx)
      if (Object.keys(patch).length + queryNamesOf(patch).length > 0) await this.#patch(patch, trx)
      return this
    }

    async updateFrom(input: unknown, trx?: TransactionOrKnex): Promise<this> {
      return await this.update(fromClient(classOf(this), input, 'update'), trx)
    }

    async delete(trx?: TransactionOrKnex): Promise<void> {
      if (this.isNew) throw new ValidationError(message('row.deleteUnsaved'))
      const count: unknown = await this.$query(trx).delete()
      if (count === 0) throw notFound(this)
    }

    async $settle(_trx?: TransactionOrKnex): Promise<void> {}

    async $around(write: () => Promise<void>, _changes: object, _trx?: TransactionOrKnex): Promise<void> {
      await write()
    }

    async #patch(changes: object, trx?: TransactionOrKnex): Promise<void> {
      const write = async () => {
        const count = await this.$orAsBefore(() => patchRow(this, changes, trx), trx)
        if (count === 0) throw notFound(this)
      }
      await this.$around(write, changes, trx)
    }
  }
  markIntermediate(Saving)
  return Saving
}

function patchRow(row: Model, changes: object, trx: TransactionOrKnex | undefined): PromiseLike<number> {
  return row.$query(trx).patch(changes)
}

function notFound(row: object): NotFoundError {
  return new NotFoundError(message('row.noneWithId', { model: row.constructor.name }))
}
