import { BaseModel } from '../record/base-model.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'
import { PermsMixin } from './perms-mixin.js'

/**
 * A record with permissions. Without a `static policy` it is closed to everybody but admins.
 *
 * @example
 * class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
 *   static override policy = { read: owner(), create: authenticated(), update: owner() }
 * }
 */
export class BasePermsModel extends PermsMixin(BaseModel) {}
markIntermediate(BasePermsModel)
declareColumns(BasePermsModel, {})
