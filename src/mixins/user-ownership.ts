import type { Model } from 'objection'
import { authenticated, owner, type Policy } from '../policy/rules.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { markIntermediate } from '../schema/definition/declarations.js'
import { HasUserMixin, type Owned, type OwnedStatics } from './has-user.js'

/**
 * Adds a policy under which users access only their own rows, in lists, counts, relations and writes; admins access all rows. Adds
 * HasUserMixin if it is missing. The class's own policy replaces these rules action by action.
 *
 * @example class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({ title: column.string() }) {}
 */
export function UserOwnershipMixin<T extends AbstractConstructor<Model>>(Base: T): T & AbstractConstructor<Owned> & OwnedStatics
export function UserOwnershipMixin(Base: AbstractConstructor<Model>): AbstractConstructor<Model> {
  const Owning = 'userField' in Base ? Base : HasUserMixin(Base)
  abstract class UserOwnership extends Owning {
    static policy: Policy = { read: owner(), create: authenticated(), update: owner(), delete: owner() }
  }
  markIntermediate(UserOwnership)
  return UserOwnership
}
