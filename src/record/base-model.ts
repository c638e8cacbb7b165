import { Model } from 'objection'
import { setClassName } from '../core/names.js'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition/declarations.js'
import { ActiveRecordMixin } from './active-record.js'
import type { AbstractConstructor, StringId } from './record-types.js'

/** The columns of every model of this library. Only this file sets the default type of ids. */
export const baseColumns = {
  id: column.uuid(),
  createdAt: column.datetime(),
  updatedAt: column.datetime(),
}

/**
 * BaseModel without its id, which withColumns() may declare with another type.
 *
 * @example class Country extends BaseModel.withColumns({ id: column.integer() }) {} // a BaseModelWithoutId with a number as id
 */
export class BaseModelWithoutId extends ActiveRecordMixin(Model) {
  static {
    setClassName(this, 'BaseModel')
  }

  declare createdAt: Date
  declare updatedAt: Date
}
markIntermediate(BaseModelWithoutId)
declareColumns(BaseModelWithoutId, baseColumns, { isDefaultId: true, isWhole: true })

/**
 * A base class without permissions: id (UUIDv7), createdAt, updatedAt, and the methods of ActiveRecordMixin.
 *
 * @example class Country extends BaseModel.withColumns({ name: column.string() }) {}
 */
export const BaseModel = BaseModelWithoutId as typeof BaseModelWithoutId & AbstractConstructor<StringId>
export interface BaseModel extends BaseModelWithoutId, StringId {}
