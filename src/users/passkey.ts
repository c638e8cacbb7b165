import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { HasUserMixin } from '../mixins/has-user.js'
import { declareWriteLimits } from '../policy/policy.js'
import { OUTRANKS, outranks } from '../policy/rank.js'
import { nobody, owner, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'

/** The most characters of a credential id: 1023 bytes (WebAuthn level 3, 7.1 step 25) in base64url. */
export const MAX_CREDENTIAL_ID_LENGTH = 1364
/** The most characters of a public key in base64url: enough for RSA with 4096 bits. */
export const MAX_PUBLIC_KEY_LENGTH = 2048
/** The most characters of a passkey's name. */
export const MAX_PASSKEY_NAME_LENGTH = 100

/**
 * A passkey of a user (WebAuthn). Only `perms.auth.passkeys` creates and changes its rows.
 *
 * @example const count = await asSystem(() => Passkey.query().where('userId', user.id).resultSize())
 */
export class Passkey extends CheckedWritesMixin(HasUserMixin(LibraryModel), () => forbidApiKey(message('subject.passkeys'))).withColumns({
  /** The id that the authenticator gave the credential, in base64url. */
  credentialId: column.string({ maxLength: MAX_CREDENTIAL_ID_LENGTH }).hidden(),
  /** The hash of the credential id. It is unique: ids are too long for an index of MariaDB. */
  credentialHash: column.string({ maxLength: 64 }).unique().hidden(),
  /** The random name of the user in authenticators. All passkeys of a user have the same one. */
  userHandle: column.string({ maxLength: 86 }).hidden(),
  /** The COSE key in base64url. */
  publicKey: column.string({ maxLength: MAX_PUBLIC_KEY_LENGTH }).hidden(),
  /** The signature counter of the last use; '0' for authenticators that do not count. */
  counter: column.bigint().hidden(),
  /** How a browser may reach the authenticator, such as `['internal', 'hybrid']`. */
  transports: column
    .json<readonly string[]>({ type: 'array', items: { type: 'string' } })
    .nullable()
    .readOnly(),
  /** `'multiDevice'` for a passkey that may be copied to other devices, else `'singleDevice'`. */
  deviceType: column.string({ maxLength: 16 }).readOnly(),
  /** Whether the passkey is backed up, such as in the user's account at a vendor. */
  backedUp: column.boolean().readOnly(),
  name: column.string({ maxLength: MAX_PASSKEY_NAME_LENGTH }),
  /** The model of the authenticator (AAGUID), which nobody attested; zeros if it is not told. */
  aaguid: column.string({ maxLength: 36 }).readOnly(),
  lastUsedAt: column.datetime().nullable().readOnly(),
}) {
  static {
    setClassName(this, 'Passkey')
  }

  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: owner(), create: nobody(), update: nobody(), delete: nobody() }
}
declareWriteLimits(Passkey, { on: ['create', 'update', 'delete'], reads: ['userId'], takes: OUTRANKS, condition: outranks })
