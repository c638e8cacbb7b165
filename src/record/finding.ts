import type { Model, TransactionOrKnex } from 'objection'
import { NotFoundError } from '../core/errors.js'
import { message } from '../core/messages/message.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { definitionOf, idProperties } from '../schema/definition/definition.js'
import { decodeIdParts } from '../schema/ids.js'
import { lookup } from '../schema/input.js'
import type { SetUpBase } from './model-setup.js'

/** The static methods that FindingMixin adds. */
export interface FindingStatics {
  getBy(where: object, trx?: TransactionOrKnex): Promise<Model | null>
  getByOr404(where: object, trx?: TransactionOrKnex): Promise<Model>
  get(id: unknown, trx?: TransactionOrKnex): Promise<Model | null>
  getOr404(id: unknown, trx?: TransactionOrKnex): Promise<Model>
  afterGet(rows: readonly Model[], trx?: TransactionOrKnex): Promise<void>
}

/** A class with the static methods of FindingMixin. */
export type FindingBase = SetUpBase & FindingStatics

/** Adds the static methods that find one row: get() and getBy(), which return null, and their variants that throw. */
export function FindingMixin(Base: SetUpBase): FindingBase {
  class Finding extends Base {
    static async getBy(where: object, trx?: TransactionOrKnex): Promise<Model | null> {
      const values = lookup(definitionOf(this), where)
      if (values === null) return null
      const row = await this.query(trx).findOne(values)
      if (!row) return null
      await this.afterGet([row], trx)
      return row
    }

    static async getByOr404(where: object, trx?: TransactionOrKnex): Promise<Model> {
      const row = await this.getBy(where, trx)
      if (!row) throw new NotFoundError(message('row.noMatch', { model: this.name }))
      return row
    }

    static async get(id: unknown, trx?: TransactionOrKnex): Promise<Model | null> {
      const key = decodeIdParts(this, id)
      if (key === undefined) return null
      return await this.getBy(Object.fromEntries(idProperties(this).map((name, i) => [name, key[i]])), trx)
    }

    static async getOr404(id: unknown, trx?: TransactionOrKnex): Promise<Model> {
      const row = await this.get(id, trx)
      if (!row) throw new NotFoundError(message('row.noneWithId', { model: this.name }))
      return row
    }

    static async afterGet(_rows: readonly Model[], _trx?: TransactionOrKnex): Promise<void> {}
  }
  markIntermediate(Finding)
  return Finding
}
