import { Model, type RelationMappings } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { currentUserId } from '../policy/context.js'
import { isUserModel } from '../policy/policy.js'
import { registeredModel } from '../policy/registered-models.js'
import { type AbstractConstructor, forgetRelations } from '../record/active-record.js'
import { onRelations } from '../record/relations.js'
import { modelSlot } from '../runtime.js'
import { column, type OnDelete } from '../schema/column.js'
import {
  afterDefinition,
  declareColumns,
  lineage,
  markIntermediate,
  onDefinition,
  ownStatic,
  type RecordClass,
  structureOf,
} from '../schema/definition.js'

/** What HasUserMixin gives to each row. */
export interface Owned {
  /** The owner's id: the caller's unless given. */
  userId: string
}

/** What HasUserMixin gives to each class. */
export interface OwnedStatics {
  /** The column with the owner's id; 'userId' when not said. */
  userField: string
  /** The relation to the owner; 'user' when not said. */
  userRelation: string
  /** What deleting the owner does to the row; 'cascade' when not said. */
  userOnDelete: OnDelete
  /** Whether a row may be nobody's. */
  userIdNullable: boolean
  /**
   * The name of a relation back from the user to these rows, if one is wanted. The user model has it once this class was
   * used, or given to `initPerms({ models })`.
   */
  userBackref: string | null
  /** Whether all actions ask the owning user's update rule instead of a rule of the row's own. */
  delegateToUser: boolean
}

type Statics = RecordClass & OwnedStatics

const backrefs = modelSlot(() => new Map<string, Statics>())

/** The class that gives users a relation: of classes over one table the one that says it, since its rows are all of theirs. */
function backrefOf(cls: object): { name: string; source: Statics } | null {
  const { userBackref: name } = cls as Partial<Statics>
  if (typeof name !== 'string') return null
  const said = lineage(cls).findLast((c) => typeof ownStatic(c, 'userBackref') === 'string') as Statics
  return { name, source: said.getTableName() === (cls as Statics).getTableName() ? said : (cls as Statics) }
}

onDefinition((cls) => {
  const { name, source } = backrefOf(cls) ?? {}
  if (name === undefined || source === undefined) return
  const known = backrefs.get().get(name)
  if (known && known.getTableName() !== source.getTableName()) {
    throw new ConfigurationError(
      `${source.name}.userBackref: ${known.name} already gives users the relation '${name}'; take another name (null: none).`,
    )
  }
  const user = registeredModel('user') as unknown as RecordClass & { getRelationNames(): string[] }
  if (!known && (user.getRelationNames().includes(name) || structureOf(user).specs[name] || name in user.prototype))
    throw new ConfigurationError(`${source.name}.userBackref: ${user.name} has '${name}' already; take another name (null: none).`)
})

afterDefinition((cls) => {
  const { name, source } = backrefOf(cls) ?? {}
  if (name === undefined || source === undefined || backrefs.get().get(name) === source) return
  backrefs.get().set(name, source)
  forgetRelations()
})

onRelations((cls) => {
  if (cls.getTableName() !== (registeredModel('user') as unknown as RecordClass).getTableName()) return {}
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
 * Gives a model an owner: `userId` (the caller unless given), the relation `user`.
 *
 * @example class Note extends HasUserMixin(BasePermsModel).withColumns({ text: column.text() }) {}
 */
export function HasUserMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Owned> & OwnedStatics {
  abstract class HasUser extends (Base as unknown as AbstractConstructor<Model>) {
    static userField = 'userId'
    static userRelation = 'user'
    static userOnDelete: OnDelete = 'cascade'
    static userIdNullable = false
    static userBackref: string | null = null
    static delegateToUser = false
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
    // A user who belongs to a user need not: the first one could not be made.
    const isNullable = userIdNullable || userOnDelete === 'set null' || isUserModel(cls)
    const owned = column
      .uuid()
      .references('user.id', { onDelete: userOnDelete })
      .index()
      .default((() => currentUserId() ?? undefined) as () => string)
    return { [userField]: isNullable ? owned.nullable() : owned }
  })
  return HasUser as unknown as T & AbstractConstructor<Owned> & OwnedStatics
}
