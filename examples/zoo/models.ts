import {
  allOf,
  anyOf,
  authenticated,
  BasePermsModel,
  column,
  HasUserMixin,
  User as LibraryUser,
  not,
  owner,
  Role,
  role,
  TimestampMixin,
  UserOwnershipMixin,
  where,
} from 'objection-perms'

/** The library's user, and when they last signed in and verified their address. */
export class User extends TimestampMixin(LibraryUser) {}

/** Users reach their own documents only, admins all. */
export class UserDocument extends UserOwnershipMixin(HasUserMixin(BasePermsModel)).withColumns({
  title: column.string({ maxLength: 200 }),
  content: column.text(),
}) {}

/** Everyone sees the animals that can be adopted, and whoever brought one in sees it anyway. */
export class Critter extends HasUserMixin(BasePermsModel).withColumns({
  name: column.string({ maxLength: 100 }),
  species: column.string({ maxLength: 50 }),
  isAdoptable: column.boolean().default(true),
}) {
  static override policy = {
    read: anyOf(where({ isAdoptable: true }), owner()),
    create: authenticated(),
    update: owner(),
    delete: role(Role.ADMIN),
    adopt: allOf(authenticated(), where({ isAdoptable: true }), not(owner())),
  }
}
