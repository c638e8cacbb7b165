import { InvalidTokenError } from '../../core/errors.js'
import { type Message, message } from '../../core/messages/message.js'
import { definitionOf } from '../../schema/definition/definition.js'
import { hasPassword, noPassword } from '../../users/account/stored-password.js'
import { skipCallerChange } from '../../users/caller/caller-changes.js'
import { Identity } from '../../users/identity.js'
import { Invitation } from '../../users/invitation.js'
import { endLegacyTokens, LEGACY } from '../../users/legacy-tokens.js'
import { Passkey } from '../../users/passkey.js'
import { ProviderSignIn } from '../../users/provider-sign-in.js'
import { SecondFactor } from '../../users/second-factor.js'
import { hashToken, PLACE, PROVEN_ADDRESS, REGISTRATION, randomToken } from '../../users/token.js'
import { TrustedDevice } from '../../users/trusted-device.js'
import type { User } from '../../users/user.js'
import type { OptionalTables } from '../optional-tables.js'
import { tokens } from '../tokens/token-updates.js'
import { userClass } from './credentials.js'

/** The flow with which a user proved to own a mailbox. 'provider': an identity provider that is trusted for the address. */
export type Proof = 'magicLink' | 'code' | 'passwordReset' | 'invitation' | 'provider'

/** The numbers of sessions, keys and other access that a proof ended. */
export interface EndedAccess {
  /** Whether a password was removed or replaced. */
  readonly password: boolean
  readonly sessions: number
  readonly apiKeys: number
  /** The application's own tokens, mailed links and recovery codes. */
  readonly otherTokens: number
  readonly secondFactor: boolean
  readonly passkeys: number
  /** Accounts at identity providers that were linked. */
  readonly identities: number
  /** Open invitations that the account had sent. */
  readonly invitations: number
}

export interface ProofResult {
  readonly isFirstProof: boolean
  readonly ended: EndedAccess
}

export interface ProofOptions {
  /** The optional tables that exist: a database of an earlier version lacks some. */
  readonly tables: OptionalTables
  /** The proved address. The proof is void when the account has another address by now. */
  readonly email: string
  /** The session that presents the proof. It stays active. */
  readonly keepSession?: string | null | undefined
  /** Whether the proof is a password reset. It replaces the password, and ends API keys even if it is not the first proof. */
  readonly isReset?: boolean | undefined
}

const sessionKinds = ['refresh', 'access', LEGACY]

/**
 * Records that the owner of the mailbox proved the address. Before the first proof, someone else may have created the account
 * in the owner's name. So the first proof removes the password and ends the existing sessions, keys, passkeys and factors. Call it as the
 * system, inside a transaction that has locked the user's row (lockRow).
 *
 * @param user receives the new values
 * @returns the access that ended, or null when nothing ended
 * @throws InvalidTokenError when the account has another address by now
 */
export async function proveAddress(
  user: User,
  { email, tables, keepSession = null, isReset = false }: ProofOptions,
): Promise<ProofResult | null> {
  const cls = userClass()
  const hasColumn = 'emailVerifiedAt' in definitionOf(cls).specs
  const columns = ['id', 'email', 'passwordHash', ...(hasColumn ? ['emailVerifiedAt'] : [])]
  // The given object may have been loaded before the lock. Read the row again.
  const stored = (await cls.query().findById(user.id).select(columns)) as
    | { email: string; passwordHash: string | null; emailVerifiedAt?: Date | null }
    | undefined
  if (stored?.email !== email) throw new InvalidTokenError()
  const isFirst = hasColumn ? !stored.emailVerifiedAt : !(await isProven(user.id, email))
  if (!isFirst) {
    if (!isReset) return null
    const apiKeys = await endTokens(user.id, (kind) => kind === 'api')
    return apiKeys.api ? { isFirstProof: false, ended: { ...nothing, apiKeys: apiKeys.api } } : null
  }
  const now = new Date()
  const ended = await endTokens(user.id, () => true, keepSession)
  await endLegacyTokens(user.id)
  // Sign-ins from the places of the other person would count as known.
  await skipCallerChange(tokens().query()).delete().where({ userId: user.id, kind: PLACE })
  // Also ends impersonations that this user started as a superadmin.
  await tokens().query().patch({ revoked: true, revokedAt: now }).where({ impersonatorId: user.id, revoked: false })
  const factors = tables.factors ? await SecondFactor.query().delete().where('userId', user.id) : 0
  if (tables.trustedDevices) await TrustedDevice.query().delete().where('userId', user.id)
  const passkeys = tables.passkeys ? await Passkey.query().delete().where('userId', user.id) : 0
  const invitations = tables.invitations
    ? await Invitation.query().patch({ revoked: true }).where({ invitedById: user.id, revoked: false }).whereNull('acceptedAt')
    : 0
  const identities = tables.identities ? await endIdentities(user.id) : 0
  const changes = { ...(isReset ? {} : { passwordHash: noPassword(cls) }), ...(hasColumn ? { emailVerifiedAt: now } : {}) }
  if (Object.keys(changes).length > 0) {
    await cls.query().findById(user.id).patch(changes)
    Object.assign(user, changes)
  }
  if (!hasColumn) await recordProof(user.id, email)
  const { api = 0, ...others } = ended
  const count = (isCounted: (kind: string) => boolean) =>
    Object.entries(others).reduce((sum, [kind, number]) => (isCounted(kind) ? sum + number : sum), 0)
  const all: EndedAccess = {
    password: hasPassword(stored.passwordHash),
    sessions: count((kind) => sessionKinds.includes(kind)),
    apiKeys: api,
    otherTokens: count((kind) => !sessionKinds.includes(kind)),
    secondFactor: factors > 0,
    passkeys,
    identities,
    invitations,
  }
  return Object.values(all).some(Boolean) ? { isFirstProof: true, ended: all } : null
}

const nothing: EndedAccess = {
  password: false,
  sessions: 0,
  apiKeys: 0,
  otherTokens: 0,
  secondFactor: false,
  passkeys: 0,
  identities: 0,
  invitations: 0,
}

/** Describes the ended access in words, for a list: `the password`, `2 sessions`, `1 API key`. */
export function describeEnded(ended: EndedAccess): readonly Message[] {
  const counted = (id: 'sessions' | 'apiKeys' | 'otherTokens' | 'passkeys' | 'identities' | 'invitations') =>
    ended[id] === 0 ? [] : [message(`ended.${id}`, { count: ended[id] })]
  return [
    ...(ended.password ? [message('ended.password')] : []),
    ...counted('sessions'),
    ...counted('apiKeys'),
    ...counted('otherTokens'),
    ...(ended.secondFactor ? [message('ended.secondFactor')] : []),
    ...counted('passkeys'),
    ...counted('identities'),
    ...counted('invitations'),
  ]
}

/** Revokes the usable tokens of a user. @returns the number of revoked tokens of each kind */
async function endTokens(userId: string, isWanted: (kind: string) => boolean, keep: string | null = null): Promise<Record<string, number>> {
  const now = new Date()
  const rows = await tokens()
    .query()
    .select('id', 'kind')
    .where({ userId, revoked: false })
    .where((still) => still.whereNull('expiresAt').orWhere('expiresAt', '>', now))
  const wanted = rows.filter(({ id, kind }) => id !== keep && kind !== PROVEN_ADDRESS && isWanted(kind))
  const counts: Record<string, number> = {}
  for (const { kind } of wanted) counts[kind] = (counts[kind] ?? 0) + 1
  for (let i = 0; i < wanted.length; i += chunk)
    // The accessRevoked event names the user.
    await skipCallerChange(tokens().query())
      .patch({ revoked: true, revokedAt: now })
      .whereIn(
        'id',
        wanted.slice(i, i + chunk).map(({ id }) => id),
      )
  return counts
}

/** Deletes the linked accounts of a user, and the sign-ins with them that wait for their exchange. @returns the number of accounts */
async function endIdentities(userId: string): Promise<number> {
  await ProviderSignIn.query().delete().where({ userId })
  return await Identity.query().delete().where({ userId })
}

/** Databases limit how many values one statement binds. */
const chunk = 500

/** Records a proved address for user models without `emailVerifiedAt`. */
export async function recordProof(userId: string, email: string): Promise<void> {
  await tokens().create({ userId, kind: PROVEN_ADDRESS, token: hashToken(randomToken()), boundTo: email })
}

async function isProven(userId: string, email: string): Promise<boolean> {
  const found = await tokens().query().findOne({ userId, kind: PROVEN_ADDRESS, boundTo: email, revoked: false })
  return found !== undefined
}

/** Returns when and from which address an account was created, for mails. It always runs two queries. */
export async function originOf(userId: string): Promise<{ createdAt?: Date; createdFrom?: string }> {
  const cls = userClass()
  const columns = ['createdAt'].filter((name) => name in definitionOf(cls).specs)
  const user = await cls
    .query()
    .findById(userId)
    .select('id', ...columns)
  const from = (await tokens().query().findOne({ userId, kind: REGISTRATION }).select('id', 'address')) as
    | { address: string | null }
    | undefined
  return { ...(user?.createdAt && { createdAt: user.createdAt }), ...(from?.address && { createdFrom: from.address }) }
}
