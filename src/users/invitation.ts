import { BasePermsModel } from '../enforce/base-perms-model.js'
import { anyOf, member, nobody, owner, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { EMAIL_PATTERN, MAX_EMAIL_LENGTH } from '../schema/email.js'
import { forbidApiKey, WriteGuardMixin } from './caller-restrictions.js'
import { Role } from './roles.js'

/** That somebody is asked into a domain, by the address they have. Made and used by `perms.auth.invitations` alone. */
export class Invitation extends WriteGuardMixin(BasePermsModel, () => forbidApiKey('Invitations')).withColumns({
  email: column.string({ maxLength: MAX_EMAIL_LENGTH, pattern: EMAIL_PATTERN }).index(),
  role: column.string({ maxLength: 100 }),
  domainId: column.uuid().references('domain.id', { onDelete: 'cascade' }).index(),
  invitedById: column.uuid().references('user.id', { onDelete: 'cascade' }).index(),
  /** A hash: the token itself is in the mail alone. */
  token: column.string({ maxLength: 64 }).unique().hidden(),
  expiresAt: column.datetime(),
  acceptedAt: column.datetime().nullable(),
  revoked: column.boolean().default(false),
}) {
  /** Out of reach of API keys, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = 'read'
  static override policy: Policy = {
    read: anyOf(owner('invitedById'), member('domainId', [Role.ADMIN])),
    create: nobody(),
    update: nobody(),
    delete: nobody(),
  }
}
