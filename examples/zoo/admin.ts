import { randomBytes } from 'node:crypto'
import { asSystem, Role, transaction, UniqueViolationError, UserRole, ValidationError } from 'objection-perms'
import { User } from './models.js'
import { SettingsError } from './settings.js'

export interface FirstAdmin {
  readonly email: string
  /** undefined where the admin was there before: nobody can tell it. */
  readonly password: string | undefined
  readonly isNew: boolean
  /** Whether the password was made here, and has to be told to somebody. */
  readonly isGenerated: boolean
}

/** Makes a superadmin where there is none. @throws SettingsError where the address belongs to a user who is none, or will not do */
export async function ensureAdmin(email: string, given: string | undefined): Promise<FirstAdmin> {
  return await asSystem(async () => {
    const grant = await UserRole.query().findOne({ role: Role.SUPERADMIN, domainId: null }).withGraphFetched('user')
    if (grant?.user) return { email: grant.user.email, password: undefined, isNew: false, isGenerated: false }
    if (await User.getBy({ email })) {
      throw new SettingsError(`There is no superadmin yet, and ${email} is a user without that role: set another ADMIN_EMAIL.`)
    }
    const password = given ?? randomBytes(12).toString('base64url')
    const draft = await draftOf(email, password)
    try {
      await transaction(async () => {
        const user = await draft.getClone().save()
        await UserRole.create({ user, role: Role.SUPERADMIN })
      })
    } catch (error) {
      // Another process that started at the same time was faster.
      if (error instanceof UniqueViolationError) return { email: draft.email, password: undefined, isNew: false, isGenerated: false }
      throw error
    }
    return { email: draft.email, password, isNew: true, isGenerated: given === undefined }
  })
}

async function draftOf(email: string, password: string): Promise<User> {
  try {
    const draft = User.build({ email })
    await draft.setPassword(password)
    return draft
  } catch (error) {
    if (!(error instanceof ValidationError)) throw error
    throw new SettingsError(`ADMIN_EMAIL and ADMIN_PASSWORD make no user: ${error.message}`)
  }
}
