import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { anyOf, member, nobody, owner, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { EMAIL_PATTERN, MAX_EMAIL_LENGTH } from '../schema/email.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'
import { Role } from './roles/roles.js'

/**
 * An invitation of an e-mail address to a domain. Only `perms.auth.invitations` creates and uses its rows.
 *
 * @example new CrudResource({ model: Invitation, path: 'invitations', methods: ['list'] })
 */
export class Invitation extends CheckedWritesMixin(LibraryModel, () => forbidApiKey(message('subject.invitations'))).withColumns({
  email: column.string({ maxLength: MAX_EMAIL_LENGTH, pattern: EMAIL_PATTERN }).index(),
  role: column.string({ maxLength: 100 }),
  domainId: column.uuid().references('domain.id', { onDelete: 'cascade' }).index(),
  invitedById: column.uuid().references('user.id', { onDelete: 'cascade' }).index(),
  /** The hash of the token. The token itself is only in the mail. */
  token: column.string({ maxLength: 64 }).unique().hidden(),
  expiresAt: column.datetime(),
  acceptedAt: column.datetime().nullable(),
  revoked: column.boolean().default(false),
}) {
  static {
    setClassName(this, 'Invitation')
  }

  static ownerFields: readonly string[] = ['invitedById']
  /** API keys cannot access this model, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = {
    read: anyOf(owner('invitedById'), member('domainId', [Role.ADMIN])),
    create: nobody(),
    update: nobody(),
    delete: nobody(),
  }
}
