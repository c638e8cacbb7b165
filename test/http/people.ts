import { Api } from '../../src/http/serve/api.js'
import type { UserResourceOptions } from '../../src/http/users/user-options.js'
import { UserResource } from '../../src/http/users/user-resource.js'
import { TimestampMixin } from '../../src/mixins/timestamps.js'
import { anyOf, authenticated, self } from '../../src/policy/rules.js'
import { column } from '../../src/schema/column.js'
import { User } from '../../src/users/user.js'
import { type FullZoo, openFullZoo } from '../conformance/full-zoo.js'
import type { DatabaseName } from '../helpers/databases.js'
import { type Client, clientOf } from './client.js'

/** A user model with columns that a directory should not show. */
export class Person extends TimestampMixin(User).withColumns({
  nickname: column.string({ maxLength: 40 }).nullable(),
  plan: column.string({ maxLength: 20 }).default('free'),
  pin: column.string({ maxLength: 40 }).nullable(),
}) {
  static override tableName = 'user'
  static override policy = { read: anyOf(self(), authenticated()), update: self() }
}

/** The same users; anybody may register. */
export class OpenPerson extends Person {
  static override publicRegistration = true
}

export function openPeople(database: DatabaseName): Promise<FullZoo> {
  return openFullZoo(database, { user: Person as never })
}

/** Serves a UserResource alone. */
export function servePeople(zoo: FullZoo, options: UserResourceOptions): Client {
  return clientOf(new Api({ resources: [new UserResource(options)] }), zoo.perms)
}
