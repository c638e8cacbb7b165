/** Why a passkey was refused, for the events of the application. The client sees one message for all reasons. */
import { createHash } from 'node:crypto'
import { currentAddress } from '../../../policy/context.js'
import type { UserId } from '../../../policy/registered-types.js'
import type { AuthCore } from '../../core.js'
import type { Ceremony } from './ceremonies.js'
import type { ClientData } from './responses.js'
import type { PasskeySettings } from './settings.js'

/** The check that a response failed. */
export type PasskeyFlaw =
  | 'clientData'
  | 'crossOrigin'
  | 'challenge'
  | 'origin'
  | 'rpId'
  | 'userVerification'
  | 'response'
  | 'unknownPasskey'
  | 'otherUser'
  | 'userHandle'

/** The event of a refused passkey. */
export interface PasskeyRefusal {
  /** The user of the session or of the first factor. Null at a sign-in. */
  readonly userId: UserId | null
  readonly ceremony: Ceremony['ceremony']
  readonly reason: PasskeyFlaw
  /** For the reason `origin`: the origin of the page. */
  readonly origin?: string
  readonly address: string | undefined
}

const RP_ID_HASH_BYTES = 32
const USER_VERIFIED = 0x04
const MAX_ORIGIN = 300

/** Returns the flaw of a response that the package refused. The package tells it only in texts. */
export function flawOf({ rpId, origins }: PasskeySettings, data: ClientData, authenticatorData: Uint8Array | undefined): PasskeyFlaw {
  if (!origins.includes(data.origin)) return 'origin'
  if (!authenticatorData || authenticatorData.length <= RP_ID_HASH_BYTES) return 'response'
  const expected = createHash('sha256').update(rpId).digest()
  if (!expected.equals(authenticatorData.subarray(0, RP_ID_HASH_BYTES))) return 'rpId'
  return ((authenticatorData[RP_ID_HASH_BYTES] as number) & USER_VERIFIED) === 0 ? 'userVerification' : 'response'
}

/** Tells listeners and the audit log why a passkey was refused. */
export function emitRefusal({ emit }: AuthCore, { ceremony, userId }: Ceremony, reason: PasskeyFlaw, data?: ClientData | null): void {
  const origin = reason === 'origin' && data ? { origin: data.origin.slice(0, MAX_ORIGIN).replaceAll(/[^\x21-\x7e]/g, '?') } : {}
  emit('passkeyRefused', { userId, ceremony, reason, ...origin, address: currentAddress() })
}
