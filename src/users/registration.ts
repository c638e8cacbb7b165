/** The models and names of tables that an application registers, with initPerms() or for migrations without it. */
import { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { assertRegistered, type LibraryIds, registerModels, type TableOptions } from '../policy/registered-models.js'
import { forgetModelsUnlessUsed, runtimeCount } from '../runtime.js'
import type { UserClass } from './caller/actor.js'
import { Domain, type DomainWithoutId } from './domain.js'
import { Token } from './token.js'
import { User } from './user.js'
import { UserRole, type UserRoleWithoutId } from './user-role.js'
import { UserSetting, type UserSettingWithoutId } from './user-setting.js'

/** The options of `initPerms()` that decide about the library's tables. */
export interface Registration {
  /** The application's user model. */
  readonly user?: UserClass | undefined
  /** A subclass of UserRole. @defaultValue UserRole */
  readonly userRole?: typeof UserRoleWithoutId | undefined
  /** A subclass of Token. @defaultValue Token */
  readonly token?: typeof Token | undefined
  /** A subclass of Domain. @defaultValue Domain */
  readonly domain?: typeof DomainWithoutId | undefined
  /** A subclass of UserSetting. @defaultValue UserSetting */
  readonly userSetting?: typeof UserSettingWithoutId | undefined
  /** The names of the library's tables. @defaultValue the models' names in snake_case */
  readonly tables?: TableOptions | undefined
  /** The ids of the library's own tables. @defaultValue 'uuid' */
  readonly ids?: LibraryIds | undefined
}

/** Returns the classes that replace models of the library. */
export function given({ user, userRole, token, domain, userSetting }: Registration): Record<string, typeof Model> {
  return Object.fromEntries(
    Object.entries({ user, userRole, token, domain, userSetting }).filter(([, cls]) => cls !== undefined),
  ) as Record<string, typeof Model>
}

/**
 * @param caller the function that got the classes, for messages
 * @throws ConfigurationError for a class that extends the wrong base, or the Model of another copy of Objection
 */
export function assertModelClasses(registration: Registration, caller: string): void {
  const bases = { user: User, userRole: UserRole, token: Token, domain: Domain, userSetting: UserSetting }
  for (const [kind, cls] of Object.entries(given(registration))) {
    if (!(cls.prototype instanceof Model)) {
      throw new ConfigurationError(
        `${caller}({ ${kind}: ${cls.name} }): the class extends Model of another copy of Objection than this library uses. Install only one: run \`npm ls objection\`.`,
      )
    }
    const Base = bases[kind as keyof typeof bases]
    if (kind !== 'user' && cls !== Base && !(cls.prototype instanceof Base))
      throw new ConfigurationError(`${caller}({ ${kind}: ${cls.name} }): the class must extend ${Base.name}.`)
  }
}

/**
 * Runs fn with the models of initPerms(), or with the given ones while no initPerms() is in effect.
 *
 * @throws ConfigurationError when nothing is registered, and when initPerms() got other models or tables
 */
export async function withRegistration<T>(registration: Registration, fn: () => Promise<T>): Promise<T> {
  const { tables, ids } = registration
  const models = given(registration)
  const isGiven = Object.keys(models).length > 0 || tables !== undefined || ids !== undefined
  if (isGiven) assertModelClasses(registration, 'permsMigrations')
  if (runtimeCount() > 0) {
    if (isGiven) assertRegistered(models, tables, ids)
    return await fn()
  }
  if (!isGiven) {
    throw new ConfigurationError(
      'permsMigrations(): the models of the application are not known here, so the tables could be wrong. Call initPerms({ knex, user: ... }) in the ' +
        'module that configures Knex, or give permsMigrations() the same options: user, userRole, token, domain, userSetting, tables and ids. ' +
        'An application with the models of the library writes permsMigrations({ user: User }).',
    )
  }
  registerModels(models, tables, ids)
  try {
    return await fn()
  } finally {
    forgetModelsUnlessUsed()
  }
}
