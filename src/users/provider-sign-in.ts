import { message } from '../core/messages/message.js'
import { setClassName } from '../core/names.js'
import { LibraryModel } from '../enforce/base-perms-model.js'
import { nobody, type Policy } from '../policy/rules.js'
import { column } from '../schema/column.js'
import { CheckedWritesMixin, forbidApiKey } from './caller/caller-restrictions.js'

/**
 * A sign-in with an identity provider that has begun. Only `perms.auth.providers` creates and uses its rows, each once.
 *
 * @example const waiting = await asSystem(() => ProviderSignIn.query().whereNull('usedAt').resultSize())
 */
export class ProviderSignIn extends CheckedWritesMixin(LibraryModel, () => forbidApiKey(message('subject.linkedAccounts'))).withColumns({
  provider: column.string({ maxLength: 64 }),
  /** The hash of the state that the provider returns. */
  state: column.string({ maxLength: 64 }).unique().hidden(),
  /** The hash of the browser's cookie. Null for native apps. */
  binding: column.string({ maxLength: 64 }).nullable().hidden(),
  /** The hash of the native app's verifier (RFC 7636, S256). Null for browsers. */
  challenge: column.string({ maxLength: 64 }).nullable().hidden(),
  /** Nonce, PKCE verifier, redirect and so on, encrypted with a server key. */
  details: column.text().hidden(),
  /** The user whom the provider proved. */
  userId: column.uuid().references('user.id', { onDelete: 'cascade' }).nullable().index(),
  /** The hash of the one-time code that is exchanged for tokens. */
  code: column.string({ maxLength: 64 }).nullable().unique().hidden(),
  expiresAt: column.datetime().index(),
  /** When the provider's response was used. */
  usedAt: column.datetime().nullable(),
  /** When the one-time code was exchanged. */
  exchangedAt: column.datetime().nullable(),
}) {
  static {
    setClassName(this, 'ProviderSignIn')
  }

  /** API keys cannot reach it, whatever their abilities. */
  static isCredential = true
  static override adminBypass: boolean | 'read' = false
  static override policy: Policy = { read: nobody(), create: nobody(), update: nobody(), delete: nobody() }
}
