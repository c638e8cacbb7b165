import { ConflictError, InvalidCredentialsError, UnauthorizedError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { lockRow } from '../../../database/lock-row.js'
import { transaction } from '../../../database/transaction.js'
import { asSystem, authorityFor, currentActor, currentAddress, currentUserId, runsForCaller } from '../../../policy/context.js'
import { assertSession, type StepUpRule } from '../../../policy/fresh-session.js'
import { registeredModel } from '../../../policy/registered-models.js'
import type { UserId } from '../../../policy/registered-types.js'
import { tableOf } from '../../../schema/class-statics.js'
import { requireText } from '../../../schema/text-input.js'
import { accountNameOf } from '../../../users/account/identifiers.js'
import { storedHash } from '../../../users/account/stored-password.js'
import { AccountDeletion } from '../../../users/account-deletion.js'
import { requireRankOver } from '../../../users/caller/account-rank.js'
import { type UserRow, userIdOf } from '../../../users/caller/actor.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { existsNow } from '../../../users/lifecycle/existing-tables.js'
import { assertNotLastSuperadmin } from '../../../users/roles/last-superadmin.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { forActiveCaller } from '../active-caller.js'
import { userClass } from '../credentials.js'
import { mailDelivery } from '../mail/mail-delivery.js'
import { formatDateTime } from '../mail/mail-text.js'
import { beginAttempt } from '../second-factor/factors.js'
import { type DueAccountsOptions, type DueAccountsReport, deleteDueAccounts } from './delete-due.js'

/** How accounts are deleted, as the flows use it. */
export interface LifecycleOptions {
  /** Seconds between the request and the deletion. */
  readonly delay: number
  /** The session with which users ask for the deletion without their password. */
  readonly proof: StepUpRule
}

/** Two weeks, in seconds. */
export const DEFAULT_DELAY = 14 * 86_400

/** A deletion that is scheduled or has begun. */
export interface PendingDeletion {
  readonly deletionAt: Date
  /** Whether it can no longer be undone. */
  readonly hasBegun: boolean
}

/** `perms.auth.accountDeletion` */
export interface AccountDeletions {
  /**
   * Schedules the deletion of an account after the delay of `initPerms({ accountDeletion })`, ends the other sessions of the user, and sends a
   * mail with the date. The user can sign in until then. A second call changes nothing.
   *
   * @param options `password`: the caller's password. Users who delete their own account need it, or a session that is recent.
   * @throws InvalidCredentialsError for a wrong password, InsufficientUserAuthenticationError without password and recent session
   * @throws ConflictError for the last superadmin, and for a deletion that has begun
   * @throws ForbiddenError for an API key, an impersonation, and a caller whose rank is not higher than the user's
   * @example const { deletionAt } = await perms.auth.accountDeletion.schedule(user, { password })
   */
  schedule(user: UserRow | UserId, options?: { password?: string | undefined }): Promise<PendingDeletion>
  /**
   * Undoes a scheduled deletion.
   *
   * @returns false when none was scheduled
   * @throws ConflictError for a deletion that has begun, ForbiddenError like schedule()
   */
  undo(user: UserRow | UserId): Promise<boolean>
  /** Returns the scheduled deletion of an account, or null. It does not check who the caller is. */
  status(user: UserRow | UserId): Promise<PendingDeletion | null>
  /** Deletes the accounts that are due: `perms.deleteDueAccounts()`. */
  deleteDue(options?: DueAccountsOptions): Promise<DueAccountsReport>
}

export function accountDeletions(core: AuthCore): AccountDeletions {
  return {
    async schedule(given, { password } = {}) {
      const userId = await assertMayChange(core, 'schedule', given)
      await prove(core, userId, password)
      return await schedule(core, userId)
    },

    async undo(given) {
      const userId = await assertMayChange(core, 'undo', given)
      return await undo(core, userId)
    },

    async status(given) {
      const userId = userIdOf(given)
      if (!(await existsNow(core.knex, tableOf(AccountDeletion)))) return null
      return pendingOf(await asSystem(() => AccountDeletion.query().findOne({ userId })))
    },

    deleteDue: (options) => deleteDueAccounts(core, options),
  }
}

function pendingOf(found: AccountDeletion | undefined): PendingDeletion | null {
  if (!found?.dueAt || (found.state !== 'scheduled' && found.state !== 'running')) return null
  return { deletionAt: found.dueAt, hasBegun: found.state === 'running' }
}

async function assertMayChange(core: AuthCore, name: string, user: UserRow | UserId): Promise<UserId> {
  core.assertNoTransaction(`accountDeletion.${name}`)
  forbidApiKey(message('subject.accounts'))
  const userId = userIdOf(user)
  await requireRankOver(userId)
  return userId
}

/** Requires the password or a recent session of users who delete their own account. Code without a caller needs none. */
async function prove(core: AuthCore, userId: UserId, password: string | undefined): Promise<void> {
  const actor = currentActor()
  if (!runsForCaller() || authorityFor(registeredModel('user')) === 'free') return
  if (actor === null) throw new UnauthorizedError()
  if (actor.id !== userId || password === undefined) return assertSession(actor, core.lifecycle.proof)
  const user = actor.user as User
  const attempt = await beginAttempt(core, user)
  const text = requireText(password, 'password')
  // Does the work of a hash for users without a password too.
  if (!(await core.hasher.verify(text, await storedHash(user)))) {
    const account = accountNameOf(user)
    core.emit('signInFailed', { userId, email: user.email ?? '', account, reason: 'confirm', address: currentAddress() })
    throw new InvalidCredentialsError(message('accountDeletion.wrongPassword'))
  }
  await attempt.succeeded()
}

async function schedule(core: AuthCore, userId: UserId): Promise<PendingDeletion> {
  const { deletion, isNew } = await forActiveCaller(core.knex, userId, async (trx) => {
    const found = await AccountDeletion.query(trx).findOne({ userId })
    const pending = pendingOf(found)
    if (pending?.hasBegun) throw hasBegun()
    if (pending) return { deletion: pending, isNew: false }
    await assertNotLastSuperadmin(userId, trx)
    const dueAt = new Date(Date.now() + core.lifecycle.delay * 1000)
    const values = { state: 'scheduled' as const, dueAt, report: null, problem: null, attempts: null }
    if (found) await AccountDeletion.query(trx).findById(found.id).patch(values)
    else await AccountDeletion.create({ userId, ...values }, trx)
    return { deletion: { deletionAt: dueAt, hasBegun: false }, isNew: true }
  })
  if (!isNew) return deletion
  const actor = currentActor()
  await core.sessions.end({ userId, except: actor?.id === userId ? actor.sessionId : undefined })
  core.emit('signOut', { userId, sessionIds: 'all' })
  core.emit('accountDeletionScheduled', { userId, deletionAt: deletion.deletionAt, by: currentUserId() })
  notify(core, userId, 'accountDeletionScheduled', { deletionAt: formatDateTime(deletion.deletionAt) })
  return deletion
}

async function undo(core: AuthCore, userId: UserId): Promise<boolean> {
  const isUndone = await transaction(
    (trx) =>
      asSystem(async () => {
        await lockRow(trx, registeredModel('user'), userId)
        const found = await AccountDeletion.query(trx).findOne({ userId })
        if (!pendingOf(found) || !found) return false
        // One statement checks and removes it: the job claims it in the same way.
        const open = AccountDeletion.query(trx).where({ id: found.id, state: 'scheduled' })
        const count = found.freed ? await open.patch({ state: 'freed', dueAt: null }) : await open.delete()
        if (count === 0) throw hasBegun()
        return true
      }),
    { knex: core.knex },
  )
  if (!isUndone) return false
  core.emit('accountDeletionUndone', { userId, by: currentUserId() })
  notify(core, userId, 'accountDeletionUndone', {})
  return true
}

function notify(
  core: AuthCore,
  userId: UserId,
  kind: 'accountDeletionScheduled' | 'accountDeletionUndone',
  details: Record<string, string>,
): void {
  if (!core.mailService) return
  core.background.run(async () => {
    const user = await asSystem(() => userClass().get(userId))
    if (user?.email) await mailDelivery(core).notify(kind, user, user.email, details)
  })
}

const hasBegun = () => new ConflictError(message('accountDeletion.hasBegun'))
