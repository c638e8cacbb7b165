import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'

/**
 * The states of a row: `scheduled` until the delay has passed, `running` while the job deletes the rows of the user, `done` with the report,
 * and `freed` for a soft-deleted user whose address may be used again.
 */
export type DeletionState = 'scheduled' | 'running' | 'done' | 'freed'

/** The numbers of rows of one model that the deletion of a user deleted, anonymised and kept. */
export interface ModelReport {
  readonly deleted?: number
  readonly softDeleted?: number
  readonly anonymised?: number
  readonly kept?: number
  /** Rows that a foreign key of the table deleted or took from the user, although the model declares no such key. */
  readonly byForeignKey?: number
  /** Rows that a function of the application handled. */
  readonly handled?: number
}

/** The effects of a user's deletion, by the name of the model. */
export type DeletionReport = Readonly<Record<string, ModelReport>>

/**
 * The deletion of an account: when it is due, how far it is, and what it did. Only `perms.auth.accountDeletion` and
 * `perms.deleteDueAccounts()` create and change its rows. There is at most one row for each user.
 *
 * @example const reports = await asSystem(() => AccountDeletion.query().where({ state: 'done' }))
 */
export class AccountDeletion extends CheckedWritesMixin(LibraryModel, () => forbidApiKey(message('subject.accounts'))).withColumns({
  /** Kept after the user is deleted. */
  userId: column.uuid().sameTypeAs('user.id').unique(),
  state: column.string({ maxLength: 16 }).index(),
  dueAt: column.datetime().nullable().index(),
  lockedBy: column.string({ maxLength: 36 }).nullable().hidden(),
  lockedUntil: column.datetime().nullable().hidden(),
  attempts: column.integer().nullable(),
  report: column.json<DeletionReport>().nullable(),
  /** Why the last attempt failed. */
  problem: column.string({ maxLength: 255 }).nullable(),
  /** The identifiers that a soft-deleted user had. Only with `static freesEmail = 'recoverable'`. */
  freed: column.json<Readonly<Record<string, unknown>>>().nullable().hidden(),
}) {
  static {
    setClassName(this, 'AccountDeletion')
  }

  declare state: DeletionState
  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = { read: nobody(), create: nobody(), update: nobody(), delete: nobody() }
}
