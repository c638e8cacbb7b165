import { onCommit } from '../database/transaction.js'
import { currentImpersonatorId } from '../policy/context.js'
import type { DomainId, LibraryId, UserId } from '../policy/registered-types.js'
import type { DeletionReport } from '../users/account-deletion.js'
import type { UserEvents } from '../users/events.js'
import type { CodePurpose } from './flows/codes/code-options.js'
import type { EndedAccess, Proof } from './flows/first-proof.js'
import type { MailKind } from './flows/mail/mail-service.js'
import type { PasskeyRefusal } from './flows/passkeys/refusals.js'
import type { BreachCheckFailure } from './passwords/breached-range.js'
import type { ThrottledAction } from './throttle/throttle.js'

/**
 * Events of sign-in and of users, for logs and alerts. They contain no secrets. During impersonation each event also has
 * `impersonatorId`.
 */
export interface AuthEvents extends UserEvents {
  signIn: { userId: UserId; sessionId: string; address: string | undefined }
  /** A sign-in from a network and program that the user has not used before. `device`: such as 'Firefox, Windows'; '' if unknown. */
  signInFromNewPlace: { userId: UserId; sessionId: string; network: string | undefined; device: string; address: string | undefined }
  /** The place of a sign-in could not be looked up. The sign-in succeeded. */
  newPlaceCheckFailed: { userId: UserId; sessionId: string }
  /** `userId` is null for an unknown address. Do not show `reason` to the caller. */
  signInFailed: {
    userId: UserId | null
    /** The address; empty when the user signed in with another identifier. */
    email: string
    /** The address, or the identifier with its column: `'username:ada'`. */
    account: string
    reason: 'credentials' | 'disabled' | 'secondFactor' | 'confirm' | 'code' | 'passkey'
    address: string | undefined
  }
  /**
   * A sign-in with an identity provider failed. `reason` names the check, or why the user was not let in. Do not show it to the caller.
   * `fields`: with the reason `invalid`, the columns of the new user that are missing or not valid, without their values.
   */
  providerSignInFailed: { provider: string; reason: string; fields?: readonly string[]; address: string | undefined }
  /** `how`: the user linked it, the provider proved the address of the account, or the user is new. */
  identityLinked: { userId: UserId; identityId: LibraryId; provider: string; how: 'user' | 'email' | 'signUp' }
  identityUnlinked: { userId: UserId; identityId: LibraryId; provider: string }
  signOut: { userId: UserId; sessionIds: readonly string[] | 'all' }
  refresh: { userId: UserId; sessionId: string }
  /** The user of a session proved again to be present. `amr`: how, in names of RFC 8176 */
  sessionConfirmed: { userId: UserId; sessionId: string; amr: readonly string[]; address: string | undefined }
  /** A refresh token was used a second time, so a copy of it may be in other hands. The session has ended. */
  tokenReused: { userId: UserId; sessionId: string; address: string | undefined }
  /** A limit was reached. Further attempts return 429 until its window ends. */
  locked: {
    action: ThrottledAction
    by: 'pair' | 'address' | 'account' | 'caller'
    account: string | undefined
    address: string | undefined
  }
  registered: { userId: UserId }
  /** A private registration failed for a reason other than a taken address. */
  registrationFailed: object
  /** The user proved to own the address with a link that was sent to it. */
  emailVerified: { userId: UserId }
  /** `userId` is null for an unknown address. */
  passwordResetRequested: { userId: UserId | null }
  passwordReset: { userId: UserId }
  /**
   * The owner of the mailbox proved the address, and earlier access to the account was ended. `isFirstProof`: the address had never
   * been proved, so all earlier access ended. Otherwise a password reset ended the API keys.
   */
  accessRevoked: { userId: UserId; by: Proof; isFirstProof: boolean; ended: EndedAccess; address: string | undefined }
  /** A private registration used the address of this user. */
  alreadyRegistered: { userId: UserId }
  emailChanged: { userId: UserId }
  /** The mailer threw. The caller who requested the mail does not learn this. `userId` is null for an unknown address. */
  mailFailed: { userId: UserId | null; kind: MailKind }
  /** The application's sender of codes threw. The caller who requested the code does not learn this. */
  codeFailed: { userId: UserId; purpose: CodePurpose; address: string | undefined }
  /** The list of leaked passwords gave no valid answer. `isAccepted`: whether the new password was accepted (`onOutage`). */
  breachCheckFailed: { reason: BreachCheckFailure; isAccepted: boolean; address: string | undefined }
  impersonationStarted: { userId: UserId; by: UserId; sessionId: string; reason: string | null }
  impersonationStopped: { userId: UserId; by: UserId; sessionId: string }
  invited: { email: string; role: string; domainId: DomainId; by: UserId }
  invitationAccepted: { userId: UserId; role: string; domainId: DomainId }
  invitationRevoked: { email: string; role: string; domainId: DomainId }
  factorAdded: { userId: UserId }
  factorRemoved: { userId: UserId }
  passkeyAdded: { userId: UserId; passkeyId: LibraryId; address: string | undefined }
  passkeyRemoved: { userId: UserId; passkeyId: LibraryId; address: string | undefined }
  /** The signature counter of a passkey went back, so its key may have been copied. The sign-in was refused. */
  passkeyCounterRegressed: { userId: UserId; passkeyId: LibraryId; address: string | undefined }
  /** A passkey was refused. `reason`: the check that failed; do not show it to the caller. `origin`: that of the page, if it is not in `passkeys.origins`. */
  passkeyRefused: PasskeyRefusal
  /** A device need not show the second factor again for a while. */
  deviceTrusted: { userId: UserId; address: string | undefined }
  /** Devices have to show the second factor again. */
  deviceRevoked: { userId: UserId; deviceIds: readonly string[] | 'all' }
  recoveryCodeUsed: { userId: UserId }
  apiKeyCreated: { userId: UserId; keyId: string; abilities: readonly string[] }
  apiKeyRevoked: { userId: UserId; keyId: string }
  /** An export of the user's data has begun. */
  dataExported: { userId: UserId; by: UserId | null }
  /** The account will be deleted at `deletionAt`, unless that is undone. */
  accountDeletionScheduled: { userId: UserId; deletionAt: Date; by: UserId | null }
  accountDeletionUndone: { userId: UserId; by: UserId | null }
  /** The job has deleted the account. `report`: the numbers of rows, by model. */
  accountDeleted: { userId: UserId; report: DeletionReport; by: null }
  /** The job could not delete the account, and tries again later. */
  accountDeletionFailed: { userId: UserId; problem: string; by: null }
}

export type AuthEventName = keyof AuthEvents

/** A listener of events. The library ignores what it returns, throws or rejects with. */
export type OnEvent = <K extends AuthEventName>(name: K, payload: AuthEvents[K]) => unknown

/** Returns a function that calls the listener after the commit of the open transaction, or at once. It does not wait for the listener. */
export function emitter(listener: OnEvent | undefined): <K extends AuthEventName>(name: K, payload: AuthEvents[K]) => void {
  return (name, payload) => {
    if (!listener) return
    const impersonatorId = currentImpersonatorId()
    onCommit(undefined, () => {
      try {
        Promise.resolve(listener(name, impersonatorId === null ? payload : { ...payload, impersonatorId })).catch(() => {})
      } catch {
        // An error in a listener must not fail the sign-in.
      }
    })
  }
}

export type Emit = ReturnType<typeof emitter>
