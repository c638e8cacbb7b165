import type { Model } from 'objection'
import { ConfigurationError } from '../core/errors.js'
import { forgetRelations } from '../record/active-record.js'
import { modelSlot, runtimeCount } from '../runtime.js'
import { aliasTable, definitionOf } from '../schema/definition.js'
import { registerUserTables } from './user-tables.js'

/** The models that an application may replace by its own. */
export type ModelKind = 'user' | 'userRole' | 'domain' | 'token' | 'userSetting'

type Models = Readonly<Record<ModelKind, typeof Model>>

// Set once, when the package is loaded: see users/defaults.
const defaults: { models: Models | null } = { models: null }
const registered = modelSlot<Models | null>(() => null)

/** The library's own models; the users' floor says them. */
export function setDefaultModels(models: Models): void {
  defaults.models = models
}

const defaultTables: Readonly<Record<ModelKind, string>> = {
  user: 'user',
  userRole: 'user_role',
  domain: 'domain',
  token: 'token',
  userSetting: 'user_setting',
}

/**
 * Sets which classes stand for users, roles and so on.
 *
 * @param given the application's classes; the library's own stand for the others
 * @throws ConfigurationError when another runtime is alive with other classes
 */
export function registerModels(given: Partial<Models>): Models {
  if (!defaults.models) throw new ConfigurationError('Import objection-perms from its root: the models are not loaded.')
  const models: Models = { ...defaults.models, ...given }
  const before = registered.get()
  if (before && runtimeCount() > 1) {
    const other = (Object.keys(models) as ModelKind[]).find((kind) => before[kind] !== models[kind])
    if (other !== undefined) {
      throw new ConfigurationError(
        `initPerms({ ${other}: ${models[other].name} }): the runtime that is alive uses ${before[other].name}. Use the same classes, or close it first.`,
      )
    }
    return before
  }
  registered.set(models)
  forgetRelations()
  const table = (kind: ModelKind) => (models[kind] as unknown as { getTableName(): string }).getTableName()
  for (const kind of Object.keys(defaultTables) as ModelKind[])
    aliasTable(defaultTables[kind], table(kind) === defaultTables[kind] ? null : table(kind))
  registerUserTables({
    user: { table: table('user'), hasDeletedAt: definitionOf(models.user).specs.deletedAt !== undefined },
    userRole: { table: table('userRole') },
    domain: { table: table('domain') },
    token: { table: table('token') },
  })
  return models
}

/** The class that stands for users, roles and so on. */
export function registeredModel(kind: ModelKind): typeof Model {
  const models = registered.get() ?? defaults.models
  if (!models) throw new ConfigurationError('Import objection-perms from its root: the models are not loaded.')
  return models[kind]
}
