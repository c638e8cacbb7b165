import type { Knex } from 'knex'
import { Model, type RelationMappings } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { currentUserId } from '../policy/context.js'
import { isUserModel } from '../policy/policy.js'
import { registeredModel } from '../policy/registered-models.js'
import type { UserId } from '../policy/registered-types.js'
import { forgetRelations } from '../record/model-relations.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { onRelations } from '../record/relations.js'
import { modelSlot } from '../runtime.js'
import { lineage, ownStatic, tableOf } from '../schema/class-statics.js'
import { column, type OnDelete } from '../schema/column.js'
import { declareColumns, markIntermediate, type RecordClass } from '../schema/definition/declarations.js'
import { afterDefinition, onDefinition, structureOf } from '../schema/definition/definition.js'
import { libraryDefault } from '../schema/definition/library-defaults.js'
import { modelClass } from '../schema/model-class.js'

/** The instance members that HasUserMixin adds. */
export interface Owned {
  /** The owner's id. Default: the caller's id. */
  userId: UserId
}

/** The argument of a function of `onUserDeleted`. */
export interface UserDeletion {
  /** The user who is deleted. */
  readonly userId: UserId
  /** The transaction of this batch. Queries of models join it by themselves. */
  readonly trx: Knex.Transaction
}

interface UserDeletionHandler {
  handle(rows: readonly Model[], deletion: UserDeletion): unknown
}

/**
 * The effect on rows when the user whom they belong to is deleted permanently:
 *
 * - `'delete'`: the rows are deleted permanently, also those of SoftDeleteMixin
 * - `'softDelete'`: the rows are marked as deleted and lose their owner. Only with SoftDeleteMixin
 * - `'anonymise'`: the rows lose their owner
 * - `{ anonymise: { authorName: 'deleted user', note: null } }`: the rows lose their owner, and these columns get these values
 * - `'keep'`: the rows stay as they are. Only without a foreign key that deletes them
 * - a function: handles a batch of rows, which must not belong to the user afterwards. It runs again for the same rows after a crash
 *
 * @example
 * class Comment extends HasUserMixin(BasePermsModel).withColumns({ authorName: column.string() }) {
 *   static override userIdNullable = true
 *   static override onUserDeleted: OnUserDeleted = { anonymise: { authorName: 'deleted user' } }
 * }
 */
export type OnUserDeleted =
  | 'delete'
  | 'softDelete'
  | 'anonymise'
  | 'keep'
  | { readonly anonymise: Readonly<Record<string, unknown>> }
  | UserDeletionHandler['handle']

/** The static members that HasUserMixin adds. */
export interface OwnedStatics {
  /** The column with the owner's id. @defaultValue 'userId' */
  userField: string
  /** The relation to the owner. @defaultValue 'user' */
  userRelation: string
  /** The action on the row when its owner is deleted. @defaultValue 'cascade' */
  userOnDelete: OnDelete
  /** Whether a row may have no owner. @defaultValue false */
  userIdNullable: boolean
  /**
   * The name of a relation from the user model to these rows, or null for none. The user model gets it when this class is first used
   * or given to `initPerms({ models })`.
   */
  userBackref: string | null
  /** Whether the right to update the owner decides about all actions, instead of this model's policy. @defaultValue false */
  delegateToUser: boolean
  /**
   * The effect on the rows when their owner is deleted permanently. Deleting a user who owns rows of SoftDeleteMixin is refused unless their
   * model says it.
   *
   * @defaultValue what the foreign key does: `userOnDelete`
   */
  onUserDeleted: OnUserDeleted | undefined
  /** Whether `perms.auth.exportData()` and `GET me/export/` contain the rows of their owner. @defaultValue true */
  exported: boolean
}

type Statics = RecordClass & OwnedStatics

const backrefs = modelSlot(() => new Map<string, Statics>())

/** Returns the relation of `userBackref` and its model: the class that sets it if that has the table of `cls`, otherwise `cls`. */
function backrefOf(cls: object): { name: string; source: Statics } | null {
  const { userBackref: name } = cls as Partial<Statics>
  if (typeof name !== 'string') return null
  const declaring = lineage(cls).findLast((c) => typeof ownStatic(c, 'userBackref') === 'string') as Statics
  return { name, source: declaring.getTableName() === (cls as Statics).getTableName() ? declaring : (cls as Statics) }
}

onDefinition((cls) => {
  const { name, source } = backrefOf(cls) ?? {}
  if (name === undefined || source === undefined) return
  const known = backrefs.get().get(name)
  if (known && known.getTableName() !== source.getTableName()) {
    throw new ConfigurationError(
      `${source.name}.userBackref: ${known.name} already adds the relation '${name}' to users. Use another name, or null for none.`,
    )
  }
  const user = modelClass(registeredModel('user'))
  if (!known && (user.getRelationNames().includes(name) || structureOf(user).specs[name] || name in user.prototype))
    throw new ConfigurationError(
      `${source.name}.userBackref: ${user.name} already has a member '${name}'. Use another name, or null for none.`,
    )
})

afterDefinition((cls) => {
  const { name, source } = backrefOf(cls) ?? {}
  if (name === undefined || source === undefined || backrefs.get().get(name) === source) return
  backrefs.get().set(name, source)
  forgetRelations()
})

onRelations((cls) => {
  if (cls.getTableName() !== tableOf(registeredModel('user'))) return {}
  const relations: RelationMappings = {}
  for (const [name, source] of backrefs.get()) {
    relations[name] = {
      relation: Model.HasManyRelation,
      modelClass: source,
      join: { from: `${cls.getTableName()}.id`, to: `${source.getTableName()}.${source.userField}` },
    }
  }
  return relations
})

/**
 * Adds an owner to a model: the column `userId` (default: the caller) and the relation `user`.
 *
 * @example class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {}
 */
export function HasUserMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Owned> & OwnedStatics
export function HasUserMixin(Base: AbstractConstructor<Model>): AbstractConstructor<Model> & OwnedStatics {
  abstract class HasUser extends Base {
    static userField = 'userId'
    static userRelation = 'user'
    static userOnDelete: OnDelete = 'cascade'
    static userIdNullable = false
    static userBackref: string | null = null
    static delegateToUser = false
    static onUserDeleted: OnUserDeleted | undefined = (Base as Partial<Statics>).onUserDeleted
    static exported = (Base as Partial<Statics>).exported ?? true
    static relationMappings(this: Statics): RelationMappings {
      return {
        [this.userRelation]: {
          relation: Model.BelongsToOneRelation,
          modelClass: registeredModel('user'),
          join: { from: `${this.getTableName()}.${this.userField}`, to: 'user.id' },
        },
      }
    }
  }
  markIntermediate(HasUser)
  declareColumns(HasUser, (cls) => {
    const { userField, userOnDelete, userIdNullable } = cls as Statics
    // Users may have an owner, but the first user cannot have one.
    const isNullable = userIdNullable || userOnDelete === 'set null' || isUserModel(cls)
    const owned = column
      .uuid()
      .references('user.id', { onDelete: userOnDelete })
      .index()
      .default(libraryDefault(() => currentUserId() ?? undefined) as () => string)
    return { [userField]: isNullable ? owned.nullable() : owned }
  })
  return HasUser
}
