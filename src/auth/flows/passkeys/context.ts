import { randomBytes } from 'node:crypto'
import { ConfigurationError, InvalidCredentialsError, UnauthorizedError } from '../../../core/errors.js'
import { message } from '../../../core/messages/message.js'
import { type Actor, asSystem, currentActor } from '../../../policy/context.js'
import { forbidApiKey } from '../../../users/caller/caller-restrictions.js'
import { Passkey } from '../../../users/passkey.js'
import { hashToken } from '../../../users/token.js'
import type { User } from '../../../users/user.js'
import type { AuthCore } from '../../core.js'
import type { MailDelivery } from '../mail/mail-delivery.js'
import type { PasskeySettings } from './settings.js'

/** The objects that each function of passkeys uses. */
export interface PasskeyContext {
  readonly core: AuthCore
  readonly delivery: MailDelivery
  /** @throws ConfigurationError without `initPerms({ passkeys })` */
  settings(): PasskeySettings
}

/** Returns the settings outside the application's transaction. @throws ConfigurationError inside it, and without the option */
export function begin({ core, settings }: PasskeyContext, name: string): PasskeySettings {
  core.assertNoTransaction(`passkeys.${name}`)
  return settings()
}

/** The caller with a session of its own, to which challenges are bound. */
export interface SessionCaller {
  readonly actor: Actor
  readonly sessionId: string
}

/** @throws UnauthorizedError for an anonymous caller, ForbiddenError for an API key and an impersonation, ConfigurationError in runAs() */
export function requireSessionCaller(): SessionCaller {
  const actor = currentActor()
  if (!actor) throw new UnauthorizedError()
  forbidApiKey(message('subject.passkeys'))
  const { sessionId } = actor
  if (!sessionId)
    throw new ConfigurationError(
      'Passkeys belong to the user of a session, and runAs() has no session: call this in a request with an access token.',
    )
  return { actor, sessionId }
}

/** Returns the passkeys of a user, the oldest first. */
export async function passkeysOf(userId: string): Promise<Passkey[]> {
  return await asSystem(() => Passkey.query().where('userId', userId).orderBy(['createdAt', 'id']))
}

export const hashOfCredential = (credentialId: string): string => hashToken(`credential ${credentialId}`)

/** Returns a random name of a user for authenticators (WebAuthn level 3, 14.6.1). */
export const newUserHandle = (): string => randomBytes(32).toString('base64url')

/** Returns the names of RFC 8176 for a passkey: it is something that the user has, and it has verified the user. */
export function methodsOfPasskey({ deviceType }: Pick<Passkey, 'deviceType'>): readonly string[] {
  return [deviceType === 'multiDevice' ? 'swk' : 'hwk', 'user', 'mfa']
}

/** Mails the user that a passkey was added or removed, after the response. */
export function sendNotice({ core, delivery }: PasskeyContext, kind: 'passkeyAdded' | 'passkeyRemoved', user: User): void {
  const { email } = user
  // A user model may have no addresses.
  if (typeof email === 'string' && email !== '') core.background.run(() => delivery.notify(kind, user, email, {}))
}

/** Returns the error of a sign-in or confirmation that is refused, whatever the reason. */
export const refusedPasskey = () => new InvalidCredentialsError(message('passkey.refused'))

/** Returns how a browser finds the passkeys of a user. */
export function descriptorsOf(passkeys: readonly Passkey[]) {
  return passkeys.map(({ credentialId, transports }) => ({ id: credentialId, ...(transports?.length ? { transports } : {}) }))
}
