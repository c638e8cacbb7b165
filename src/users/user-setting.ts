import { setClassName } from '../core/names.js'
import { BasePermsModelWithoutId, type LibraryRow } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { UserOwnershipMixin } from '../mixins/user-ownership.js'
import type { AbstractConstructor } from '../record/record-types.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'

/**
 * UserSetting without its id, which withColumns() may declare with another type.
 *
 * @example class Setting extends UserSetting.withColumns({ id: column.integer() }) {} // a UserSettingWithoutId with a number as id
 */
export class UserSettingWithoutId extends ReplaceableMixin(
  UserOwnershipMixin(HasUserMixin(BasePermsModelWithoutId)),
  'userSetting',
).withColumns({
  key: column.string({ maxLength: 100, minLength: 1 }),
  value: column.json().nullable(),
}) {
  static {
    setClassName(this, 'UserSetting')
  }
}
declareColumns(UserSettingWithoutId, {}, { uniques: [['userId', 'key']] })
redirectToRegistered(UserSettingWithoutId, 'userSetting')

/**
 * One setting of a user: any JSON value under a key.
 *
 * @example await UserSetting.create({ userId: user.id, key: 'theme', value: 'dark' })
 */
export const UserSetting: typeof UserSettingWithoutId & AbstractConstructor<LibraryRow> = UserSettingWithoutId as never
export interface UserSetting extends UserSettingWithoutId, LibraryRow {}
