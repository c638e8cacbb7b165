import type { Model } from 'objection'
import { forgetRelations } from '../model/active-record.js'
import { aliasTable, definitionOf } from '../model/definition.js'
import { ConfigurationError } from '../model/errors.js'
import { registerUserTables } from './tables.js'

/** The models that an application may replace by its own. */
export type ModelKind = 'user' | 'userRole' | 'domain' | 'token' | 'userSetting'

type Models = Readonly<Record<ModelKind, typeof Model>>

let defaults: Models | null = null
let registered: Models | null = null

/** The library's own models; the users' floor says them. */
export function setDefaultModels(models: Models): void {
  defaults = models
}

const defaultTables: Readonly<Record<ModelKind, string>> = {
  user: 'user',
  userRole: 'user_role',
  domain: 'domain',
  token: 'token',
  userSetting: 'user_setting',
}

/** Which classes stand for users, roles and so on; what is not given is the library's own. null: as before initPerms. */
export function registerModels(given: Partial<Models> | null): Models {
  if (!defaults) throw new ConfigurationError('Import objection-perms from its root: the models are not loaded.')
  const models: Models = { ...defaults, ...given }
  registered = models
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
  const models = registered ?? defaults
  if (!models) throw new ConfigurationError('Import objection-perms from its root: the models are not loaded.')
  return models[kind]
}
