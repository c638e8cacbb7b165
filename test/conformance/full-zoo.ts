import type { UserFeatures } from '../../src/http/users/user-resource.js'
import type { PermsOptions } from '../../src/init.js'
import { TimestampMixin } from '../../src/mixins/timestamps.js'
import { type CapturedMailer, capturedMailer } from '../../src/testing/index.js'
import { User } from '../../src/users/user.js'
import type { DatabaseName } from '../helpers/databases.js'
import { openZoo, type Zoo } from './zoo.js'

/** The user model of a zoo with every feature: in the library's own table, with a place for verified addresses. */
export class Keeper extends TimestampMixin(User) {
  static override tableName = 'user'
}

export const allFeatures = {
  apiKeys: true,
  verifyEmail: true,
  resetPassword: true,
  changeEmail: true,
  magicLink: true,
  totp: true,
  invitations: true,
  impersonation: true,
} as const satisfies UserFeatures

export interface FullZoo extends Zoo {
  readonly mailer: CapturedMailer
}

/** A zoo in which every feature of UserResource can be switched on; its mail is kept, and nothing is limited. */
export async function openFullZoo(name: DatabaseName = 'better-sqlite3', options: Partial<PermsOptions> = {}): Promise<FullZoo> {
  const mailer = capturedMailer()
  const mail = { mailer, baseUrl: 'https://app.example.com' }
  const zoo = await openZoo(name, { user: Keeper as never, mail, secondFactor: { issuer: 'Zoo' }, throttle: false, ...options })
  return { ...zoo, mailer }
}
