import { Model } from 'objection'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'
import { ActiveRecordMixin } from './active-record.js'

/** The columns of every model of this library. Only this file sets the type of ids. */
export const baseColumns = {
  id: column.uuid(),
  createdAt: column.datetime(),
  updatedAt: column.datetime(),
}

/**
 * A base class without permissions: id (UUIDv7), createdAt, updatedAt, and the methods of ActiveRecordMixin.
 *
 * @example class Country extends BaseModel.withColumns({ name: column.string() }) {}
 */
export class BaseModel extends ActiveRecordMixin(Model) {
  declare id: string
  declare createdAt: Date
  declare updatedAt: Date
}
markIntermediate(BaseModel)
declareColumns(BaseModel, baseColumns)
