import { BasePermsModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { nobody, owner, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { declareColumns } from '../schema/definition.js'
import { forbidApiKey, WriteGuardMixin } from './caller-restrictions.js'

/** That a user proves themselves by an authenticator app (TOTP, RFC 6238) too. Made and used by `perms.auth.secondFactors` alone. */
export class SecondFactor extends WriteGuardMixin(HasUserMixin(BasePermsModel), () => forbidApiKey('Second factors')).withColumns({
  /** The shared secret, encrypted with a key of the server's: whoever reads the database can make no codes. */
  secret: column.string({ maxLength: 255 }).hidden(),
  /** null: begun, and not proved yet. */
  confirmedAt: column.datetime().nullable(),
  /** The time step of the last code that was taken: none is taken twice. */
  lastStep: column.integer().nullable().hidden(),
}) {
  /** Out of reach of API keys, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: owner(), create: nobody(), update: nobody(), delete: nobody() }
}
declareColumns(SecondFactor, {}, { uniques: [['userId']] })
declareWriteLimits(SecondFactor, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })
