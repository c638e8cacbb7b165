import { ConfigurationError } from '../../core/errors.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import type { PasswordHasher } from './password-hasher.js'

/** The hasher and the password policy of a runtime. initPerms sets them. */
export interface Passwords {
  readonly hasher: PasswordHasher
  /** @throws ValidationError for a password that the policy refuses */
  check(password: string, identifiers: Readonly<Record<string, string>>): Promise<void>
}

const passwordsOf = runtimeSlot<Passwords | null>(() => null)

/** Sets the hasher and the password policy of a runtime. */
export function registerPasswords(runtime: Runtime, passwords: Passwords): void {
  passwordsOf.set(runtime, passwords)
}

/** Returns the hasher and the password policy of the runtime. @throws ConfigurationError before initPerms */
export function registeredPasswords(): Passwords {
  const passwords = passwordsOf.get()
  if (!passwords) throw new ConfigurationError('Call initPerms({ knex, ... }) before setting or checking passwords.')
  return passwords
}
