/** The model, row and user that commands with questions about permissions name. */
import type { Model } from 'objection'
import { decodeId } from '../../../schema/ids.js'
import type { ModelClass } from '../../../schema/model-class.js'
import type { User } from '../../../users/user.js'
import type { Application } from '../../application/application.js'
import { CliError } from '../../failure.js'
import { modelsOf } from '../policies.js'
import { findUser } from '../users/find-user.js'

export const actionArgument = { name: 'ACTION', summary: "read, update, delete, or a key of the model's policy such as publish." } as const
export const modelArgument = { name: 'MODEL', summary: 'The name of the model, such as Post.' } as const
export const idArgument = { name: 'ID', summary: 'The id of the row.' } as const
export const callerArgument = {
  name: 'USER',
  summary: "The e-mail address or another identifier of the user, or the id; 'anonymous' for a caller who is not signed in.",
} as const

/** Returns the model with a name. @throws CliError */
function modelNamed(app: Application, name: string): ModelClass {
  const models = modelsOf(app, true)
  const found = models.find((cls) => cls.name === name)
  if (found) return found
  throw new CliError(
    `There is no model '${name}'. The models are ${models.map((cls) => cls.name).join(', ')}. Add others to initPerms({ models }).`,
  )
}

/** Returns a row of a model by its id. @throws CliError */
export async function rowNamed(app: Application, name: string, given: string): Promise<Model> {
  const cls = modelNamed(app, name)
  const id = decodeId(cls, given)
  const row = id === undefined ? undefined : await app.run(() => cls.query().findById(id as string))
  if (row) return row
  throw new CliError(`There is no ${name} with the id ${given}.`)
}

/** Returns the user with an identifier or id, with roles; null for 'anonymous'. @throws CliError */
export async function callerNamed(app: Application, given: string): Promise<User | null> {
  if (given === 'anonymous') return null
  const user = await findUser(app, given)
  if (!user) throw new CliError(`There is no user '${given}'. \`npx objection-perms users list\` shows the users.`)
  await app.run(() => user.loadRoles())
  return user
}
