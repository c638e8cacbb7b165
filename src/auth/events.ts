import { onCommit } from '../database/transaction.js'
import { currentImpersonatorId } from '../policy/context.js'
import type { UserEvents } from '../users/events.js'
import type { EndedAccess, Proof } from './flows/first-proof.js'
import type { MailKind } from './flows/mail-service.js'
import type { ThrottledAction } from './throttle/throttle.js'

/**
 * What happens at the doors, and to users, for logs and alarms. Nothing here is a secret. Each says `impersonatorId` too where a
 * superadmin acts in a user's place.
 */
export interface AuthEvents extends UserEvents {
  signIn: { userId: string; sessionId: string; address: string | undefined }
  /** `userId` is null where nobody has the address; `reason` is not for the one who tried. */
  signInFailed: { userId: string | null; email: string; reason: 'credentials' | 'disabled' | 'secondFactor'; address: string | undefined }
  signOut: { userId: string; sessionIds: readonly string[] | 'all' }
  refresh: { userId: string; sessionId: string }
  /** A refresh token came a second time: somebody else has it, or had it. The session has ended. */
  tokenReused: { userId: string; sessionId: string; address: string | undefined }
  /** A limit is reached: further tries answer 429 until its window is over. */
  locked: {
    action: ThrottledAction
    by: 'pair' | 'address' | 'account' | 'caller'
    account: string | undefined
    address: string | undefined
  }
  registered: { userId: string }
  /** By a private registration, for a reason other than a taken address. */
  registrationFailed: object
  /** The user's address is theirs: a link sent to it came back. */
  emailVerified: { userId: string }
  /** `userId` is null if no user has the address. */
  passwordResetRequested: { userId: string | null }
  passwordReset: { userId: string }
  /**
   * The owner of the mailbox proved to be its owner, and access to the account that existed before was ended: all of it if nobody had
   * proved the address before (`isFirstProof`), the API keys if a password was reset.
   */
  accessRevoked: { userId: string; by: Proof; isFirstProof: boolean; ended: EndedAccess; address: string | undefined }
  /** By a private registration: the address is this user's. */
  alreadyRegistered: { userId: string }
  emailChanged: { userId: string }
  /** The mailer threw; who asked for the mail was told nothing. `userId` is null where it was for nobody known. */
  mailFailed: { userId: string | null; kind: MailKind }
  impersonationStarted: { userId: string; by: string; sessionId: string; reason: string | null }
  impersonationStopped: { userId: string; by: string; sessionId: string }
  invited: { email: string; role: string; domainId: string; by: string }
  invitationAccepted: { userId: string; role: string; domainId: string }
  invitationRevoked: { email: string; role: string; domainId: string }
  factorAdded: { userId: string }
  factorRemoved: { userId: string }
  recoveryCodeUsed: { userId: string }
  apiKeyCreated: { userId: string; keyId: string; abilities: readonly string[] }
  apiKeyRevoked: { userId: string; keyId: string }
}

export type AuthEventName = keyof AuthEvents

/** Whom to tell; what it throws, or rejects with, changes nothing. */
export type OnEvent = <K extends AuthEventName>(name: K, payload: AuthEvents[K]) => unknown

/** Tells a listener, without waiting for it, once the open transaction is committed, if there is one. */
export function emitter(listener: OnEvent | undefined): <K extends AuthEventName>(name: K, payload: AuthEvents[K]) => void {
  return (name, payload) => {
    if (!listener) return
    const impersonatorId = currentImpersonatorId()
    onCommit(undefined, () => {
      try {
        Promise.resolve(listener(name, impersonatorId === null ? payload : { ...payload, impersonatorId })).catch(() => {})
      } catch {
        // A listener that fails breaks no sign-in.
      }
    })
  }
}

export type Emit = ReturnType<typeof emitter>
