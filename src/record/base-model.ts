import { Model } from 'objection'
import { column } from '../schema/column.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'
import { ActiveRecordMixin } from './active-record.js'

/** The columns that every record of this library has; the id's type stands here and nowhere else. */
export const baseColumns = {
  id: column.uuid(),
  createdAt: column.datetime(),
  updatedAt: column.datetime(),
}

/** A record without permissions: id (UUIDv7), createdAt, updatedAt, and the methods of ActiveRecordMixin. */
export class BaseModel extends ActiveRecordMixin(Model) {
  declare id: string
  declare createdAt: Date
  declare updatedAt: Date
}
markIntermediate(BaseModel)
declareColumns(BaseModel, baseColumns)
