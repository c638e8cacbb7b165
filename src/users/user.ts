import { setClassName } from '../core/names.js'
import { BasePermsModelWithoutId, type LibraryRow } from '../enforce/base-perms-model.js'
import type { UserId } from '../policy/registered-types.js'
import { nobody, type Policy, role, self } from '../policy/rules.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { EMAIL_PATTERN, MAX_EMAIL_LENGTH } from '../schema/email.js'
import { PasswordMixin } from './account/password-mixin.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'
import { HasRolesMixin } from './roles/has-roles-mixin.js'
import { Role } from './roles/roles.js'

/**
 * User without its id, which withColumns() may declare with another type.
 *
 * @example class Employee extends User.withColumns({ id: column.integer() }) {} // a UserWithoutId with a number as id
 */
export class UserWithoutId extends ReplaceableMixin(HasRolesMixin(PasswordMixin(BasePermsModelWithoutId)), 'user').withColumns({
  email: column.string({ maxLength: MAX_EMAIL_LENGTH, pattern: EMAIL_PATTERN }).unique(),
  isEnabled: column.boolean().default(true).writableBy(role(Role.ADMIN)),
}) {
  static {
    setClassName(this, 'User')
  }

  /** Whether an anonymous caller may create a user. */
  static publicRegistration = false
  /**
   * Whether soft-deleting a user frees the e-mail address and the other `identifiers` for new accounts, and ends all credentials of the user.
   * With 'recoverable', restore() gives them back, or fails if another account has one of them by then. Needs SoftDeleteMixin.
   *
   * @defaultValue false: the address stays taken
   */
  static freesEmail: boolean | 'recoverable' = false
  static override policy: Policy = { read: self(), update: self(), delete: nobody() }
}
redirectToRegistered(UserWithoutId, 'user')

/**
 * A user with an e-mail address, a password and roles. Extend it with mixins and columns of your own.
 *
 * @example class Employee extends ProfileMixin(TimestampMixin(User)).withColumns({ department: column.string() }) {}
 */
export const User: typeof UserWithoutId & AbstractConstructor<LibraryRow> = UserWithoutId as never
export interface User extends UserWithoutId {
  /** A string, unless the application declares `Register`. */
  id: UserId
}
