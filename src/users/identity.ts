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

/** The longest issuer and subject. OpenID Connect limits a subject to 255 characters. */
export const MAX_SUBJECT_LENGTH = 255

/**
 * A user's account at an identity provider, such as Google or GitHub. Issuer and subject identify it: the address may change, and may
 * belong to another person later. Only `perms.auth.providers` creates and uses its rows.
 *
 * @example const linked = await asSystem(() => Identity.query().where('userId', user.id).resultSize())
 */
export class Identity extends CheckedWritesMixin(HasUserMixin(LibraryModel), () =>
  forbidApiKey(message('subject.linkedAccounts')),
).withColumns({
  /** The name of the provider in `initPerms({ providers })`. */
  provider: column.string({ maxLength: 64 }),
  issuer: column.string({ maxLength: MAX_SUBJECT_LENGTH }),
  subject: column.string({ maxLength: MAX_SUBJECT_LENGTH }).hidden(),
  /** A name of the account for lists, such as its address. It identifies nobody. */
  label: column.string({ maxLength: 320 }).nullable(),
  lastUsedAt: column.datetime().nullable(),
  /** The tokens of the provider, encrypted with a server key. Null without `storeTokens`. */
  tokens: column.text().nullable().hidden(),
}) {
  static {
    setClassName(this, 'Identity')
  }

  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: owner(), create: nobody(), update: nobody(), delete: nobody() }
}
declareColumns(Identity, {}, { uniques: [['issuer', 'subject']] })
declareWriteLimits(Identity, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })
