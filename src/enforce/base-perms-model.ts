import { setClassName } from '../core/names.js'
import type { LibraryId } from '../policy/registered-types.js'
import { BaseModelWithoutId } from '../record/base-model.js'
import type { AbstractConstructor, StringId } from '../record/record-types.js'
import { declareColumns, markIntermediate } from '../schema/definition/declarations.js'
import { PermsMixin } from './perms-mixin.js'

/**
 * BasePermsModel without its id, which withColumns() may declare with another type.
 *
 * @example class Ticket extends BasePermsModel.withColumns({ id: column.integer() }) {} // a BasePermsModelWithoutId with a number as id
 */
export class BasePermsModelWithoutId extends PermsMixin(BaseModelWithoutId) {
  static {
    setClassName(this, 'BasePermsModel')
  }
}
markIntermediate(BasePermsModelWithoutId)
declareColumns(BasePermsModelWithoutId, {})

/**
 * Base class of models with permissions. Without a `static policy`, only admins may access its rows.
 *
 * @example
 * class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {
 *   static override policy = { read: owner(), create: authenticated(), update: owner() }
 * }
 */
export const BasePermsModel = BasePermsModelWithoutId as typeof BasePermsModelWithoutId & AbstractConstructor<StringId>
export interface BasePermsModel extends BasePermsModelWithoutId, StringId {}

/** A row of a table of the library. */
export interface LibraryRow {
  /** A string, or a number with `initPerms({ ids: 'integer' })`. */
  id: LibraryId
}

/**
 * Base class of the library's own models. Declarations of an application's subclasses name it.
 *
 * @example class Team extends Domain.withColumns({ note: column.string().nullable() }) {} // Domain extends LibraryModel
 */
export const LibraryModel: typeof BasePermsModelWithoutId & AbstractConstructor<LibraryRow> = BasePermsModelWithoutId as never
export interface LibraryModel extends BasePermsModelWithoutId, LibraryRow {}
