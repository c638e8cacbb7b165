import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { UserOwnershipMixin } from '../mixins/user-ownership.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { ReplaceableMixin, redirectToRegistered } from './replaceable.js'

/**
 * One setting of a user: any JSON value under a key.
 *
 * @example await UserSetting.create({ userId: user.id, key: 'theme', value: 'dark' })
 */
export class UserSetting extends ReplaceableMixin(UserOwnershipMixin(HasUserMixin(LibraryModel)), 'userSetting').withColumns({
  key: column.string({ maxLength: 100, minLength: 1 }),
  value: column.json().nullable(),
}) {
  static {
    setClassName(this, 'UserSetting')
  }
}
declareColumns(UserSetting, {}, { uniques: [['userId', 'key']] })
redirectToRegistered(UserSetting, 'userSetting')
