import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { nobody, owner, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition/declarations.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'

/**
 * The second factor of a user: an authenticator app (TOTP, RFC 6238). Only `perms.auth.secondFactors` creates and uses its rows.
 *
 * @example const enabled = await asSystem(() => SecondFactor.query().whereNotNull('confirmedAt').resultSize())
 */
export class SecondFactor extends CheckedWritesMixin(HasUserMixin(LibraryModel), () =>
  forbidApiKey(message('subject.factors')),
).withColumns({
  /** The shared secret, encrypted with a server key: read access to the database is not enough to generate codes. */
  secret: column.string({ maxLength: 255 }).hidden(),
  /** When the user confirmed the factor with a code; null until then. */
  confirmedAt: column.datetime().nullable(),
  /** The time step of the last accepted code. No code is accepted twice. */
  lastStep: column.integer().nullable().hidden(),
}) {
  static {
    setClassName(this, 'SecondFactor')
  }

  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: owner(), create: nobody(), update: nobody(), delete: nobody() }
}
declareColumns(SecondFactor, {}, { uniques: [['userId']] })
declareWriteLimits(SecondFactor, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })
