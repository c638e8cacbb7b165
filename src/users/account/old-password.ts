import type { Model, TransactionOrKnex } from 'objection'
import type { ValidationError } from '../../core/errors.js'
import { message } from '../../core/messages/message.js'
import { authorityFor } from '../../policy/context.js'
import { holdsUsers } from '../../policy/user-tables.js'
import { type Runtime, runtimeSlot } from '../../runtime.js'
import { invalidField } from '../../schema/text-input.js'
import { forbidApiKey } from '../caller/caller-restrictions.js'
import { changedIdentifiers, credentialsInWords } from './identifiers.js'
import { registeredPasswords } from './passwords.js'
import { storedCredentials, storedHash } from './stored-password.js'

/** A password that the caller proved to know. It counts only while the stored hash still matches it. */
export interface Proven {
  readonly password: string
  readonly hash: string | null
}

/** Returns whether the row is the calling user. */
export function isCaller(row: Model): boolean {
  if (!holdsUsers(row.constructor)) return false
  const authority = authorityFor(row.constructor)
  return authority !== 'free' && authority !== null && authority.id === row.$id()
}

/** The subject of errors of forbidApiKey(). */
export const CREDENTIALS = message('subject.credentials')

const requiredFor = (row: Model) => message('field.requiredToChange', { credentials: credentialsInWords(row.constructor) })

/**
 * Checks the old password for a change of a password or an identifier. Users need it for their own row: a session may be left open on
 * a shared computer.
 *
 * @param isChange whether the row gets a new password or identifier
 * @returns the proof; null when none is needed
 * @throws ValidationError for a missing or wrong old password, ForbiddenError with an API key
 */
export async function proveOldPassword(
  row: Model,
  old: string | undefined,
  isChange: boolean,
  trx?: TransactionOrKnex,
): Promise<Proven | null> {
  if (!isChange) {
    if (old !== undefined)
      throw invalidField('oldPassword', message('field.onlyForNew', { credentials: credentialsInWords(row.constructor) }))
    return null
  }
  // Checked before the old password, so that an API key cannot be used to guess it.
  forbidApiKey(CREDENTIALS)
  if (!isCaller(row)) return null
  if (old === undefined) throw invalidField('oldPassword', requiredFor(row))
  const { hasher } = registeredPasswords()
  const hash = await storedHash(row, trx)
  await oldPasswordCheck.get()(row, () => hasher.verify(old, hash))
  return { password: old, hash }
}

/** Throws unless the proof covers a change. The row may be stale, so it compares with the stored values. @throws ValidationError */
export async function assertProof(
  row: Model,
  changed: Record<string, unknown>,
  proven: Proven | null,
  trx?: TransactionOrKnex,
): Promise<void> {
  const stored = await storedCredentials(row, trx)
  if (proven && proven.hash === stored?.passwordHash) return
  if (changed.passwordHash === undefined && changedIdentifiers(row.constructor, changed, stored).length === 0) return
  // A concurrent sign-in may have rehashed the same password.
  if (proven && (await registeredPasswords().hasher.verify(proven.password, stored?.passwordHash))) return
  if (proven) throw wrongOldPassword()
  throw invalidField('oldPassword', message('field.requiredToUpdate', { credentials: credentialsInWords(row.constructor) }))
}

type OldPasswordCheck = (row: Model, verify: () => Promise<boolean>) => Promise<void>

const oldPasswordCheck = runtimeSlot<OldPasswordCheck>(() => verifyOnly)

async function verifyOnly(_row: Model, verify: () => Promise<boolean>): Promise<void> {
  if (!(await verify())) throw invalidField('oldPassword', message('field.wrong'))
}

/** Sets the function that checks old passwords, so that the throttle counts wrong ones. */
export function registerOldPasswordCheck(runtime: Runtime, check: OldPasswordCheck): void {
  oldPasswordCheck.set(runtime, check)
}

/** Returns the error for a wrong old password. */
export function wrongOldPassword(): ValidationError {
  return invalidField('oldPassword', message('field.wrong'))
}
