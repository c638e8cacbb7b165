import { ConfigurationError } from '../core/errors.js'
import { snakeCase } from '../core/names.js'
import { modelSlot } from '../runtime.js'
import { tableOf } from '../schema/class-statics.js'

/** The table of a registered model. */
export interface UserTable {
  readonly table: string
  /** Returns the database column of a property. */
  column(property: string): string
}

/** The tables of users, roles, domains and sessions. initPerms sets them. */
export interface UserTables {
  readonly user: UserTable & {
    readonly hasDeletedAt: boolean
    /** Whether users can be disabled. Without the column `isEnabled`, every user is enabled. */
    readonly hasIsEnabled: boolean
  }
  readonly userRole: UserTable
  readonly domain: UserTable
  readonly token: UserTable
}

const registered = modelSlot<UserTables | null>(() => null)

/** Sets the tables of the registered models. */
export function registerUserTables(tables: UserTables): void {
  registered.set(tables)
}

/** Returns the tables; before initPerms, with their default names. */
export function userTables(): UserTables {
  return (
    registered.get() ?? {
      user: { table: 'user', hasDeletedAt: false, hasIsEnabled: true, column: snakeCase },
      userRole: { table: 'user_role', column: snakeCase },
      domain: { table: 'domain', column: snakeCase },
      token: { table: 'token', column: snakeCase },
    }
  )
}

/**
 * Returns whether a user is enabled and not soft-deleted. A row that was loaded without the column `isEnabled` is not active. Models
 * without that column have no disabled users.
 */
export function isActiveUser(user: object): boolean {
  const { isEnabled, deletedAt } = user as { isEnabled?: unknown; deletedAt?: unknown }
  if (isEnabled !== undefined && !userTables().user.hasIsEnabled && Object.hasOwn(user, 'isEnabled'))
    throw new ConfigurationError(
      `${user.constructor.name}: its table has a column for isEnabled, which the model does not declare. Add isEnabled: { type: 'boolean', default: true } to its jsonSchema.`,
    )
  const isOn = isEnabled === true || (isEnabled === undefined && !userTables().user.hasIsEnabled)
  return isOn && (deletedAt === undefined || deletedAt === null)
}

/**
 * Returns whether the rows of a class are in the table of the registered user model. Users of other tables may have the ids of
 * registered users, but not their roles and sessions.
 */
export function holdsUsers(cls: object): boolean {
  return tableOf(cls) === userTables().user.table
}

/** Returns whether a table holds users, roles, domains or sessions. */
export function isUserTable(table: string): boolean {
  return Object.values(userTables()).some((one: { table: string }) => one.table === table)
}

/** The roles with a built-in meaning. */
export const SUPERADMIN = 'superadmin'
export const ADMIN = 'admin'

/** Returns the roles that satisfy a rule for the given roles: a superadmin is also an admin. */
export function rolesSatisfying(asked: readonly string[]): string[] {
  return asked.includes(ADMIN) && !asked.includes(SUPERADMIN) ? [...asked, SUPERADMIN] : [...asked]
}
