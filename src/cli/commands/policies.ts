/** The models that commands about policies examine. */
import { type ModelClass, modelClass } from '../../schema/model-class.js'
import { Domain } from '../../users/domain.js'
import { Token } from '../../users/token.js'
import { User } from '../../users/user.js'
import { UserRole } from '../../users/user-role.js'
import { UserSetting } from '../../users/user-setting.js'
import type { Application } from '../application/application.js'
import { CliError } from '../failure.js'

/**
 * Returns the models of the application: those of `initPerms({ models })`, and the registered ones that it replaced.
 *
 * @param all whether the library's own models are among them
 * @throws CliError if there are none
 */
export function modelsOf({ perms, file }: Application, all: boolean): readonly ModelClass[] {
  const registered = Object.values(perms.models).map((cls) => modelClass(cls))
  const own = registered.filter((cls) => all || !libraryModels.has(cls))
  const models = [...new Set([...perms.options.models.map((cls) => modelClass(cls)), ...own])]
  if (models.length > 0) return models
  throw new CliError(`${file} names no models. Add them to initPerms({ models: [...] }), or include the library's own with --all.`)
}

const libraryModels = new Set<object>([User, UserRole, Domain, Token, UserSetting])
