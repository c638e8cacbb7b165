import { ConfigurationError, type FieldError, ForbiddenError, UnauthorizedError } from '../../../core/errors.js'
import { assertKnownOptions } from '../../../core/known-options.js'
import { message } from '../../../core/messages/message.js'
import { authorityFor, bypassPerms } from '../../../policy/context.js'
import type { RoleName } from '../../../policy/registered-types.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import type { DomainRef } from '../../../users/roles/has-roles-mixin.js'
import { isSuperadmin } from '../../../users/roles/roles.js'
import type { AuthCore } from '../../core.js'
import { userClass } from '../credentials.js'
import { UserBatches } from './import-batches.js'

/** A user to import: values of columns of the user model, also further ones, the stored hash of the password, and roles. */
export interface ImportedUser {
  /** Default: made as for every new user. */
  readonly id?: string | number | undefined
  readonly email?: string | undefined
  /** A hash of the current hasher, a bcrypt hash, or a hash of a scheme in `passwords.legacy`; null for a user without a password. */
  readonly passwordHash?: string | null | undefined
  readonly roles?: readonly ImportedRole[] | undefined
}

/** A role, or a role in one domain. */
export type ImportedRole = RoleName | { readonly role: RoleName; readonly domain?: DomainRef | undefined }

export interface ImportOptions {
  /**
   * Users in one transaction, 1 to 1000.
   *
   * @defaultValue 500
   */
  readonly batchSize?: number | undefined
  /**
   * Whether to hash the digests of fast schemes, such as saltedDigest(), with the current hasher before they are stored. It takes the
   * time of one new hash for each of these users.
   *
   * @defaultValue false
   */
  readonly wrap?: boolean | undefined
  /** Called after each batch. The import waits for a returned promise. */
  readonly onProgress?: ((progress: ImportProgress) => unknown) | undefined
}

/** Numbers of users up to now. */
export interface ImportProgress {
  readonly read: number
  readonly imported: number
  /** Users who existed already. */
  readonly skipped: number
  readonly refused: number
}

export interface ImportResult extends Omit<ImportProgress, 'refused'> {
  readonly refused: readonly RefusedUser[]
}

/** A user who was not imported, and why. No value of the user is part of it. */
export interface RefusedUser {
  /** The position in the iterable, from 0. */
  readonly index: number
  readonly errors: readonly FieldError[]
}

export type ImportUsers = <U extends ImportedUser>(
  users: Iterable<U> | AsyncIterable<U>,
  options?: ImportOptions | undefined,
) => Promise<ImportResult>

const DEFAULT_BATCH = 500
const MAX_BATCH = 1000

/** Returns the function `perms.auth.importUsers`. */
export function importUsers(core: AuthCore): ImportUsers {
  return async (users, options = {}) => {
    assertKnownOptions(options, { batchSize: true, wrap: true, onProgress: true }, 'importUsers(users, ...)')
    const { batchSize = DEFAULT_BATCH, wrap = false, onProgress } = options
    core.assertNoTransaction('importUsers')
    if (!Number.isInteger(batchSize) || batchSize < 1 || batchSize > MAX_BATCH)
      throw new ConfigurationError(
        `importUsers(users, { batchSize: ${batchSize} }): batchSize must be a whole number from 1 to ${MAX_BATCH}.`,
      )
    assertIterable(users)
    assertMayImport()
    const batches = new UserBatches(core, wrap)
    const progress = { read: 0, imported: 0, skipped: 0 }
    const refused: RefusedUser[] = []
    let waiting: { index: number; user: unknown }[] = []
    const importWaiting = async () => {
      const batch = waiting
      waiting = []
      // The iterable and onProgress run as the caller; only the statements of a batch bypass the policies.
      const result = await bypassPerms(async () => await batches.import(batch))
      refused.push(...result.refused)
      progress.imported += result.imported
      progress.skipped += result.skipped
      await onProgress?.({ ...progress, refused: refused.length })
    }
    for await (const user of users) {
      waiting.push({ index: progress.read, user })
      progress.read += 1
      if (waiting.length >= batchSize) await importWaiting()
    }
    if (waiting.length > 0) await importWaiting()
    return { ...progress, refused }
  }
}

/** @throws UnauthorizedError for an anonymous caller, ForbiddenError for a caller who is no global superadmin */
function assertMayImport(): void {
  forbidApiKey(message('subject.userAccounts'))
  const authority = authorityFor(userClass())
  if (authority === null) throw new UnauthorizedError()
  if (authority !== 'free' && !isSuperadmin(authority)) throw new ForbiddenError(message('role.onlySuperadminImports'))
}

function assertIterable(users: unknown): void {
  const given = users as Partial<Iterable<unknown> & AsyncIterable<unknown>> | null | undefined
  if (typeof given === 'object' && given !== null && (given[Symbol.iterator] ?? given[Symbol.asyncIterator])) return
  throw new ConfigurationError('importUsers(users): pass an array, or another iterable or async iterable of objects.')
}
