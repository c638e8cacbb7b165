import { BaseModel } from '../record/base-model.js'
import { declareColumns, markIntermediate } from '../schema/definition.js'
import { PermsMixin } from './perms-mixin.js'

/**
 * Base class of models with permissions. Without a `static policy`, only admins may access its rows.
 *
 * @example
 * class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
 *   static override policy = { read: owner(), create: authenticated(), update: owner() }
 * }
 */
export class BasePermsModel extends PermsMixin(BaseModel) {}
markIntermediate(BasePermsModel)
declareColumns(BasePermsModel, {})
