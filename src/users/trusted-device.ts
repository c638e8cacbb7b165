import type { TransactionOrKnex } from 'objection'
import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { tableExists } from '../database/tables/existing-tables.js'
import { joinAmbient, registeredKnex } from '../database/transaction.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { asSystem } from '../policy/context.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { nobody, owner, type Policy } from '../policy/rules.js'
import { tableOf } from '../schema/class-statics.js'
import { column } from '../schema/column.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'

/**
 * A device on which a user need not show the second factor again. Only `perms.auth.devices` and the library's flows write its rows.
 *
 * @example const count = await asSystem(() => TrustedDevice.query().where('userId', user.id).resultSize())
 */
export class TrustedDevice extends CheckedWritesMixin(HasUserMixin(LibraryModel), () =>
  forbidApiKey(message('subject.trustedDevices')),
).withColumns({
  /** The hash of the token that the device keeps. */
  token: column.string({ maxLength: 64 }).unique().hidden(),
  /** A keyed hash of the password's hash. Another password makes the token worthless, also if an earlier version changed it. */
  passwordMark: column.string({ maxLength: 64 }).hidden(),
  /** The User-Agent when the device became trusted. */
  description: column.string({ maxLength: 255 }).nullable().readOnly(),
  /** The client address when the device became trusted. */
  address: column.string({ maxLength: 64 }).nullable().readOnly(),
  /** The last sign-in that needed no second factor. */
  lastUsedAt: column.datetime().nullable().readOnly(),
  /** When the device has to show the second factor again. Use does not extend it. */
  expiresAt: column.datetime().readOnly().index(),
}) {
  static {
    setClassName(this, 'TrustedDevice')
  }

  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: owner(), create: nobody(), update: nobody(), delete: nobody() }
}
declareWriteLimits(TrustedDevice, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })

/**
 * Ends the trust in all devices of a user. Joins the open transaction. A database of an earlier version has no such table, and no
 * trusted device.
 *
 * @returns the number of devices
 */
export async function endTrustedDevices(userId: string, trx?: TransactionOrKnex): Promise<number> {
  const knex = trx ?? registeredKnex()
  if (!knex || !(await tableExists(joinAmbient(knex), tableOf(TrustedDevice)))) return 0
  return await asSystem(() => TrustedDevice.query(trx).delete().where('userId', userId))
}
