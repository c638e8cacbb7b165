/** Deletes one account: its rows in batches, each in a transaction of its own, and then the user. */
import type { Knex } from 'knex'
import type { Model } from 'objection'
import { transaction } from '../../../database/transaction.js'
import { deletingPermanently, includingDeleted } from '../../../mixins/soft-delete.js'
import { registeredModel } from '../../../policy/registered-models.js'
import { dialectOfClass } from '../../../record/codec.js'
import { tableOf } from '../../../schema/class-statics.js'
import { structureOf } from '../../../schema/definition/definition.js'
import { idSpecOf } from '../../../schema/ids.js'
import { type ModelClass, modelClass, valuesByName } from '../../../schema/model-class.js'
import { encode } from '../../../schema/storage.js'
import { AccountDeletion, type DeletionReport, type ModelReport } from '../../../users/account-deletion.js'
import { applyRule, countKept } from '../../../users/lifecycle/apply-rule.js'
import { existsNow } from '../../../users/lifecycle/existing-tables.js'
import { assertNoSilentLoss, silentLosses } from '../../../users/lifecycle/silent-loss.js'
import { deletionRuleOf, modelsWithUserData } from '../../../users/lifecycle/user-data.js'
import { assertNotLastSuperadmin } from '../../../users/roles/last-superadmin.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import { mailDelivery } from '../mail/mail-delivery.js'

/** Milliseconds for which a process has an account to itself, after each batch. */
export const LEASE = 300_000

/** Another process has taken the account over, because this one was too slow. */
export class LeaseLostError extends Error {}

interface Work {
  readonly core: AuthCore
  readonly claimed: AccountDeletion
  readonly batch: number
  readonly signal: AbortSignal | undefined
}

/**
 * Deletes a claimed account.
 *
 * @returns the report, or null when the signal stopped the work
 * @throws LeaseLostError, ConflictError for the last superadmin and for rows that would be destroyed silently, errors of the database
 */
export async function runDeletion(
  core: AuthCore,
  claimed: AccountDeletion,
  { batch, signal }: Pick<Work, 'batch' | 'signal'>,
): Promise<DeletionReport | null> {
  const work: Work = { core, claimed, batch, signal }
  const user = await closeAccount(work)
  for (const model of modelsWithUserData()) {
    if (isDeletedWithUser(model) || !(await existsNow(core.knex, tableOf(model)))) continue
    while (!signal?.aborted && (await nextBatch(work, model)) === batch) {}
    if (signal?.aborted) return await release(work)
  }
  const report = await deleteUser(work)
  core.emit('accountDeleted', { userId: claimed.userId, report, by: null })
  if (user?.email && core.mailService) {
    const { email } = user
    core.background.run(() => mailDelivery(core).notify('accountDeleted', user, email, {}))
  }
  return report
}

// The check that the last superadmin stays needs the roles until the end.
function isDeletedWithUser(model: ModelClass): boolean {
  return [registeredModel('user'), registeredModel('userRole')].some((cls) => tableOf(cls) === tableOf(model))
}

/** Checks that the account may be deleted, before anything is, and disables it: no one signs in while its rows disappear. */
async function closeAccount({ core, claimed }: Work): Promise<User | undefined> {
  const cls = modelClass(registeredModel('user'))
  const { userId } = claimed
  return await transaction(
    async (trx) => {
      await assertNotLastSuperadmin(userId, trx)
      const user = (await includingDeleted(cls.query(trx)).findById(userId).forUpdate()) as User | undefined
      if (!user) return undefined
      const [id] = idsFor(cls, user)
      await assertNoSilentLoss(trx, [id as Knex.Value], silentLosses())
      if (structureOf(cls).specs.isEnabled && valuesByName(user).isEnabled !== false)
        await includingDeleted(cls.query(trx))
          .findById(userId)
          .patch({ isEnabled: false } as object)
      await renewLease(claimed, claimed.report ?? {}, trx)
      return user
    },
    { knex: core.knex },
  ).then((user) => {
    claimed.report ??= {}
    return user
  })
}

function idsFor(cls: ModelClass, user: Model): unknown[] {
  const spec = idSpecOf(cls)
  return [spec ? encode(spec, user.$id(), dialectOfClass(cls)) : user.$id()]
}

/** Applies the rule of a model to one batch, and records that in the same transaction. @returns the number of rows found */
async function nextBatch({ core, claimed, batch }: Work, model: ModelClass): Promise<number> {
  const { userId } = claimed
  const { found, report } = await transaction(
    async (trx) => {
      const applied = await applyRule({ model, rule: deletionRuleOf(model), userId, limit: batch, trx })
      if (applied.found === 0) return { found: 0, report: claimed.report ?? {} }
      const next = added(claimed.report ?? {}, model, applied.done)
      await renewLease(claimed, next, trx)
      return { found: applied.found, report: next }
    },
    { knex: core.knex },
  )
  claimed.report = report
  return found
}

/** Deletes the user and what is left, and records the result in the same transaction. */
async function deleteUser({ core, claimed }: Work): Promise<DeletionReport> {
  const cls = modelClass(registeredModel('user'))
  const { userId, id, lockedBy } = claimed
  return await transaction(
    async (trx) => {
      let report = claimed.report ?? {}
      const keeping: { model: ModelClass; count: number }[] = []
      for (const model of modelsWithUserData()) {
        const { kind } = deletionRuleOf(model)
        if (tableOf(model) === tableOf(cls) || !(isDeletedWithUser(model) || kind === 'keep')) continue
        if (!(await existsNow(trx, tableOf(model)))) continue
        const count = await countKept(model, userId)
        if (count > 0 && kind === 'keep') keeping.push({ model, count })
        else if (count > 0) report = added(report, model, { deleted: count })
      }
      const deleted = await deletingPermanently(cls.query(trx).findById(userId)).delete()
      // The table may have a foreign key that the model does not declare.
      for (const { model, count } of keeping) {
        const kept = await countKept(model, userId)
        report = added(report, model, { ...(kept > 0 && { kept }), ...(kept < count && { byForeignKey: count - kept }) })
      }
      report = added(report, cls, { deleted: Number(deleted) })
      const done = { state: 'done' as const, report, problem: null, freed: null, lockedBy: null, lockedUntil: null }
      const count = await AccountDeletion.query(trx).where({ id, lockedBy }).patch(done)
      if (count === 0) throw new LeaseLostError()
      return report
    },
    { knex: core.knex },
  )
}

async function renewLease({ id, lockedBy }: AccountDeletion, report: DeletionReport, trx: Knex.Transaction): Promise<void> {
  const lockedUntil = new Date(Date.now() + LEASE)
  const count = await AccountDeletion.query(trx).where({ id, lockedBy }).patch({ report, lockedUntil })
  if (count === 0) throw new LeaseLostError()
}

async function release({ claimed: { id, lockedBy } }: Work): Promise<null> {
  await AccountDeletion.query().where({ id, lockedBy }).patch({ lockedBy: null, lockedUntil: null })
  return null
}

function added(report: DeletionReport, { name }: ModelClass, done: ModelReport): DeletionReport {
  const before: Record<string, number> = { ...report[name] }
  for (const [key, count] of Object.entries(done)) before[key] = (before[key] ?? 0) + count
  return Object.keys(before).length === 0 ? report : { ...report, [name]: before }
}
