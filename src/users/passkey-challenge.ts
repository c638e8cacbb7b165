import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'

/** A challenge of a ceremony with passkeys. The library's flows read and write it as the system. */
export class PasskeyChallenge extends LibraryModel.withColumns({
  /** The user who registers or confirms; null for a sign-in, which names no user. */
  userId: column.uuid().references('user.id', { onDelete: 'cascade' }).nullable().index().hidden(),
  /** The hash of the challenge. The challenge itself is only in the browser. */
  challenge: column.string({ maxLength: 64 }).unique().hidden(),
  ceremony: column.string({ maxLength: 32 }).hidden(),
  /** The id of the session, or of the challenge for a second factor, that the answer must come with. */
  boundTo: column.string({ maxLength: 64 }).nullable().hidden(),
  /** The user handle of a new passkey. */
  userHandle: column.string({ maxLength: 86 }).nullable().hidden(),
  expiresAt: column.datetime().index(),
  usedAt: column.datetime().nullable(),
}) {
  static {
    setClassName(this, 'PasskeyChallenge')
  }

  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: nobody(), create: nobody(), update: nobody(), delete: nobody() }
}
