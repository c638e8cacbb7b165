import { decodeId } from '../../../schema/ids.js'
import { identifiersOf } from '../../../users/account/identifiers.js'
import type { User } from '../../../users/user.js'
import type { Application } from '../../application/application.js'

/** The registered user model. It may be a class that does not extend User, but it has the same members. */
export function userModelOf({ perms }: Application): typeof User {
  return perms.models.user as typeof User
}

/** The argument of commands that work on one user. */
export const userArgument = { name: 'USER', summary: 'The e-mail address or another identifier of the user, or the id.' } as const

/** Returns the user with an identifier, such as the e-mail address, or an id. Returns null if there is none. */
export async function findUser(app: Application, given: string): Promise<User | null> {
  const model = userModelOf(app)
  return await app.run(async () => {
    for (const name of identifiersOf(model)) {
      const user = await model.getBy({ [name]: given })
      if (user) return user
    }
    const id = decodeId(model, given)
    return id === undefined ? null : await model.get(String(id))
  })
}

/** The result of a command that finds no user. */
export const noSuchUser = (given: string) => ({
  lines: [`There is no user '${given}'. \`npx objection-perms users list\` shows the users.`],
  json: { user: null },
  isNegative: true,
})

/** Returns the name of a user for messages: the first identifier that the user has, or the id. */
export function nameOf(user: User): string {
  for (const name of identifiersOf(user.constructor)) {
    const value: unknown = Reflect.get(user, name)
    if (typeof value === 'string' && value !== '') return value
  }
  return String(user.id)
}
