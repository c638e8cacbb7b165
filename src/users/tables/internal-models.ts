import { type ModelClass, modelClass } from '../../schema/model-class.js'
import { AccountDeletion } from '../account-deletion.js'
import { AuditLog } from '../audit-log.js'
import { Identity } from '../identity.js'
import { Invitation } from '../invitation.js'
import { Passkey } from '../passkey.js'
import { PasskeyChallenge } from '../passkey-challenge.js'
import { ProviderSignIn } from '../provider-sign-in.js'
import { RowShare } from '../row-share.js'
import { SecondFactor } from '../second-factor.js'
import { TrustedDevice } from '../trusted-device.js'

/** Models that the library owns and applications cannot replace. createTables() creates their tables too. */
export const internalModels: readonly ModelClass[] = [
  SecondFactor,
  Invitation,
  AuditLog,
  Passkey,
  PasskeyChallenge,
  Identity,
  ProviderSignIn,
  TrustedDevice,
  AccountDeletion,
  RowShare,
].map(modelClass)
